package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
)

// parallel is how many files of one batch are written at a time: waiting for
// the disk is most of the work with small files.
const parallel = 4

// Write copies the batch's files and flushes them and their folders to disk.
// Where a record has a SHA256, the bytes must be those. A record is refused when
// another file has its name (duplicate), when the source cannot give it
// (unreadable) or the target's file system cannot hold its name (invalid,
// too-long).
func (s *Sink) Write(ctx context.Context, b pipeline.Batch[*pipeline.Object]) (pipeline.Outcome, error) {
	return s.write(ctx, b.Part.Unit, b.Records, s.cfg.Replace)
}

func (s *Sink) write(ctx context.Context, unit pipeline.Unit, records []*pipeline.Object, replace bool) (pipeline.Outcome, error) {
	w := &writer{Sink: s, unit: unit, dirs: map[string]bool{}, replace: replace}
	var wg sync.WaitGroup
	next := make(chan *pipeline.Object)
	for range min(parallel, len(records)) {
		wg.Go(func() {
			for o := range next {
				w.one(ctx, o)
			}
		})
	}
	for _, o := range records {
		if w.failed(ctx) != nil {
			break
		}
		next <- o
	}
	close(next)
	wg.Wait()
	if err := w.failed(ctx); err != nil {
		return pipeline.Outcome{}, err
	}
	if err := w.flush(); err != nil {
		return pipeline.Outcome{}, classify("flushing the folders of "+w.unit.Name, err)
	}
	return w.out, nil
}

// writer is one call of Write.
type writer struct {
	*Sink
	unit pipeline.Unit
	mu   sync.Mutex
	dirs map[string]bool // to be flushed
	// replace overwrites files that differ.
	replace bool
	out     pipeline.Outcome
	err     error
}

func (w *writer) failed(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// one writes one file and adds to the outcome.
func (w *writer) one(ctx context.Context, o *pipeline.Object) {
	w.slots <- struct{}{}
	out, err := w.put(ctx, o)
	<-w.slots
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if w.err == nil {
			w.err = err
		}
		return
	}
	w.out.Add(out)
}

func (w *writer) refuse(o *pipeline.Object, reason pipeline.Reason, detail string) pipeline.Outcome {
	return pipeline.Outcome{Refused: []pipeline.Refusal{pipeline.NewRefusal(w.unit, o, "", reason, detail)}}
}

func (w *writer) put(ctx context.Context, o *pipeline.Object) (pipeline.Outcome, error) {
	var out pipeline.Outcome
	name := filepath.FromSlash(o.Name)
	if !filepath.IsLocal(name) || path.Clean(o.Name) != o.Name || o.Name != w.unit.Name && !strings.HasPrefix(o.Name, w.unit.Name+"/") {
		return w.refuse(o, pipeline.Invalid, "the name does not lie in its unit"), nil
	}
	err := w.copy(ctx, o, name, &out)
	switch {
	case err == nil:
		out.Written++
		return out, nil
	case errors.Is(err, errTaken):
		return w.refuse(o, pipeline.Duplicate, "the target has another file of this name; --replace overwrites it"), nil
	case errors.Is(err, errVanished):
		// It is no loss: the source does not have it either.
		out.Changed = append(out.Changed, pipeline.Change{Unit: w.unit.ID(), Key: o.Name, Reason: Vanished, Before: "null", After: "null",
			Note: "removed from the source after it was listed"})
		return out, nil
	}
	var src *sourceError
	if errors.As(err, &src) && !pipeline.IsRetryable(err) && ctx.Err() == nil {
		return w.refuse(o, pipeline.Unreadable, src.Error()), nil
	}
	switch {
	case src != nil:
		return out, err
	case errors.Is(err, syscall.ENAMETOOLONG):
		return w.refuse(o, pipeline.TooLong, "the target's file system does not take so long a name"), nil
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EILSEQ):
		return w.refuse(o, pipeline.Invalid, "the target's file system does not take this name"), nil
	}
	return out, classify("writing "+o.Name, err)
}

var (
	errTaken    = errors.New("another file has this name")
	errVanished = errors.New("removed since it was listed")
	errDigest   = errors.New("the content read is not that of the recorded digest")
)

// sourceError is a failure of the source, not of the target.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// copy brings one file to its place.
func (w *writer) copy(ctx context.Context, o *pipeline.Object, name string, out *pipeline.Outcome) error {
	dir, err := w.folder(filepath.Dir(name))
	if errors.Is(err, syscall.ENOTDIR) {
		return errTaken
	}
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // only read
	if done, err := w.there(ctx, o, name); done || err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(name), fmt.Sprintf("%s%s-%d", layout.PartialPrefix, w.run, w.seq.Add(1)))
	w.before("create", name)
	made, err := w.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	f := w.wrap(made)
	err = w.fill(ctx, o, f, temp, dir, out)
	if cerr := f.Close(); err == nil {
		err = cerr // a full or failing share may say so only now
	}
	if err == nil {
		w.before("rename", name)
		if err = w.rename(dir, temp, name); errors.Is(err, fs.ErrExist) {
			err = errTaken
		}
	}
	if err != nil {
		_ = w.root.Remove(temp)
		return err
	}
	w.before("renamed", name)
	return nil
}

// there reports whether the very file is there already.
func (w *writer) there(ctx context.Context, o *pipeline.Object, name string) (bool, error) {
	info, err := w.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.IsDir() && w.root.Remove(name) == nil {
		return false, nil // nothing was in it
	}
	if !info.Mode().IsRegular() {
		return false, errTaken
	}
	f, err := w.root.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // only read
	have, err := digest(ctx, f, io.Discard)
	if err != nil {
		return false, err
	}
	want, err := w.source(ctx, o, io.Discard)
	if err != nil {
		return false, err
	}
	if have == want {
		// Who wrote it need not have flushed it.
		return true, f.Sync()
	}
	if !w.replace {
		return false, errTaken
	}
	return false, nil
}

// source streams the object's content to dst and gives its digest. Its errors
// are the source's, unless they are dst's.
func (w *writer) source(ctx context.Context, o *pipeline.Object, dst io.Writer) (string, error) {
	r, err := o.Open(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errVanished
	}
	if err != nil {
		return "", &sourceError{err}
	}
	defer r.Close() //nolint:errcheck // only read
	return digest(ctx, &sourceReader{r}, dst)
}

// sourceReader marks a reader's errors as the source's.
type sourceReader struct{ r io.Reader }

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &sourceError{err}
	}
	return n, err
}

// fill copies the content into the temporary file and makes it durable.
func (w *writer) fill(ctx context.Context, o *pipeline.Object, f file, temp string, dir *os.File, out *pipeline.Outcome) error {
	sum, err := w.source(ctx, o, f)
	if err == nil && o.SHA256 != "" && sum != o.SHA256 {
		// What the source knew the content by is not what came.
		err = &sourceError{pipeline.Transient(errDigest)}
	}
	if err != nil {
		return err
	}
	w.before("filled", o.Name)
	// As open as its folder, but not to write for everybody.
	info, err := dir.Stat()
	if err != nil {
		return err
	}
	if err := f.Chmod(info.Mode().Perm()&0o664 | 0o600); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	c, err := w.chown(f, o.Name)
	if err != nil {
		return err
	}
	if c != nil {
		out.Changed = append(out.Changed, *c)
	}
	if !o.ModTime.IsZero() {
		// A zero access time is left alone.
		if err := w.root.Chtimes(temp, time.Time{}, o.ModTime); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return f.Sync()
}

// digest copies and hashes.
func digest(ctx context.Context, r io.Reader, dst io.Writer) (string, error) {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		n, err := r.Read(buf)
		if n > 0 {
			h.Write(buf[:n])
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return "", werr
			}
		}
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}
