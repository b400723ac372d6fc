package objects

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	store "outgrow/mappings/objects"
	"outgrow/pipeline"
)

// stream sends a content that can be read again, without holding it: what is
// digested first is read once more for its request, while that of the next one
// is digested. r and at are the same source.
func (w *writer) stream(ctx context.Context, o *pipeline.Object, parts store.Streamer, r io.Reader, at io.ReaderAt, told store.Sums) (store.Sums, error) {
	h := store.NewHasher(w.digests(told))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(1 + 1)
	g.Go(func() error {
		buf, err := w.scratch.get(ctx, chunk)
		if err != nil {
			return err
		}
		defer w.scratch.put(buf)
		for from := int64(0); from < o.Bytes; from += parts.Span() {
			to := min(from+parts.Span(), o.Bytes)
			if err := skim(ctx, r, to-from, buf, h); err != nil {
				return err
			}
			g.Go(func() error { return w.span(ctx, parts, at, from, to) })
		}
		return end(r)
	})
	if err := g.Wait(); err != nil {
		return store.Sums{}, err
	}
	sums := h.Sums()
	return sums, check(told, sums)
}

// span sends what lies between two offsets. What goes wrong with the source is
// no reason to try again here.
func (w *writer) span(ctx context.Context, parts store.Streamer, at io.ReaderAt, from, to int64) error {
	content := &observed{r: at}
	err := w.retry(ctx, func() error {
		err := lost(damaged(parts.Stream(ctx, content, from, to)))
		if content.failure() != nil {
			return nil
		}
		return err
	})
	if src := content.failure(); src != nil && ctx.Err() == nil {
		return src
	}
	return err
}

// observed remembers why a source could not be read, which the client of the
// store takes for a failure of its own.
type observed struct {
	r   io.ReaderAt
	mu  sync.Mutex
	err error
}

// ReadAt expects that there is as much as is asked for.
func (o *observed) ReadAt(p []byte, at int64) (int, error) {
	n, err := o.r.ReadAt(p, at)
	if n == len(p) {
		return n, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.err != nil:
	case err == nil || errors.Is(err, io.EOF):
		o.err = changed(errChanged)
	default:
		o.err = failed(err)
	}
	return n, o.err
}

func (o *observed) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
