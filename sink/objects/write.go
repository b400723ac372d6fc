package objects

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	layout "outgrow/mappings/files"
	store "outgrow/mappings/objects"
	"outgrow/pipeline"
)

// maxKey is the longest key that S3, GCS and Azure take, in bytes.
const maxKey = 1024

// Write stores the batch's objects; when it returns nil all of them were
// acknowledged by the store. A record is refused when another object has its
// name (duplicate), when the source cannot give it (unreadable), or when Open
// WebUI could not read it under this name (invalid, too-long). The first error
// stops the others.
func (s *Sink) Write(ctx context.Context, b pipeline.Batch[*pipeline.Object]) (pipeline.Outcome, error) {
	return s.write(ctx, b.Part.Unit, b.Records, s.cfg.Replace)
}

func (s *Sink) write(ctx context.Context, unit pipeline.Unit, records []*pipeline.Object, replace bool) (pipeline.Outcome, error) {
	var sum pipeline.Outcome
	if ctx.Err() != nil {
		return sum, context.Cause(ctx)
	}
	if err := supported(unit); err != nil {
		return sum, err
	}
	w := &writer{s, unit, replace}
	out := make([]pipeline.Outcome, len(records))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.cfg.Requests)
	for i, o := range records {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() (err error) { out[i], err = w.one(gctx, o); return err })
	}
	err := g.Wait()
	if ctx.Err() != nil {
		return sum, context.Cause(ctx)
	}
	if err != nil {
		return sum, err
	}
	for _, o := range out {
		sum.Add(o)
	}
	return sum, nil
}

// writer is one call of Write.
type writer struct {
	*Sink
	unit pipeline.Unit
	// replace overwrites objects that differ.
	replace bool
}

var (
	errTaken    = errors.New("another object has this name")
	errVanished = errors.New("removed since it was listed")
	errChanged  = errors.New("the source changed while it was read")
	errDigest   = errors.New("the content read is not that of the recorded digest")
)

func (w *writer) refuse(o *pipeline.Object, reason pipeline.Reason, detail string) pipeline.Outcome {
	return pipeline.Outcome{Refused: []pipeline.Refusal{pipeline.NewRefusal(w.unit, o, "", reason, detail)}}
}

// key gives the object's key, or why it can have none.
func (w *writer) key(o *pipeline.Object) (key string, reason pipeline.Reason, detail string) {
	key, inside := strings.CutPrefix(o.Name, w.unit.Name+"/")
	base := key[strings.LastIndexByte(key, '/')+1:]
	switch {
	case !inside || key == "" || path.Clean(o.Name) != o.Name:
		return "", pipeline.Invalid, "the name does not lie in its unit"
	case !utf8.ValidString(key):
		return "", pipeline.Invalid, "the name is not UTF-8"
	case strings.ContainsRune(key, 0):
		return "", pipeline.Invalid, "the name has a NUL"
	case w.cfg.Flat && base != key:
		return "", pipeline.Invalid, "the name has a slash: Open WebUI does not read it back from this store"
	case len(base) > layout.MaxName:
		return "", pipeline.TooLong, fmt.Sprintf("the name has %d bytes, more than %d", len(base), layout.MaxName)
	case len(key) > maxKey:
		return "", pipeline.TooLong, fmt.Sprintf("the key has %d bytes, more than %d", len(key), maxKey)
	}
	if w.cfg.Refuse != nil {
		reason, detail = w.cfg.Refuse(key)
	}
	return key, reason, detail
}

// one writes one object.
func (w *writer) one(ctx context.Context, o *pipeline.Object) (out pipeline.Outcome, err error) {
	key, reason, detail := w.key(o)
	if reason != "" {
		return w.refuse(o, reason, detail), nil
	}
	if part := w.cfg.Uploader.PartSize(o.Bytes); o.Bytes <= part {
		err = w.small(ctx, o, key)
	} else {
		err = w.large(ctx, o, key, part)
	}
	var src *sourceError
	switch {
	case err == nil:
		return pipeline.Outcome{Written: 1}, nil
	case ctx.Err() != nil:
		return out, context.Cause(ctx)
	case errors.Is(err, errTaken):
		return w.refuse(o, pipeline.Duplicate, "the target has another object of this name; --replace overwrites it"), nil
	case errors.Is(err, errVanished):
		// It is no loss: the source does not have it either.
		return pipeline.Outcome{Changed: []pipeline.Change{{Unit: w.unit.ID(), Key: o.Name, Reason: Vanished, Before: "null", After: "null",
			Note: "removed from the source after it was listed"}}}, nil
	case errors.Is(err, store.ErrName) && src == nil:
		return w.refuse(o, pipeline.Invalid, err.Error()), nil
	case errors.As(err, &src) && src.final():
		return w.refuse(o, pipeline.Unreadable, src.Error()), nil
	case src != nil:
		return out, fmt.Errorf("reading %s: %w", o.Name, err)
	}
	return out, fmt.Errorf("writing %s to %s: %w", o.Name, w.cfg.Describe, err)
}

// upload says what is to be stored.
func (w *writer) upload(ctx context.Context, o *pipeline.Object, key string, sums store.Sums) (store.Upload, error) {
	up := store.Upload{Key: key, Bytes: o.Bytes, ModTime: o.ModTime, Replace: w.replace, Sums: sums}
	if w.cfg.Tags == nil {
		return up, nil
	}
	err := w.retry(ctx, func() (err error) { up.Tags, err = w.cfg.Tags(ctx, o.Name); return err })
	if err != nil {
		return up, fmt.Errorf("finding its tags: %w", err)
	}
	return up, nil
}
