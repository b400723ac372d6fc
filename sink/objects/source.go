package objects

import (
	"context"
	"errors"
	"io"
	"io/fs"

	store "outgrow/mappings/objects"
	"outgrow/pipeline"
)

// chunk is how much is read and hashed at a time, in bytes.
const chunk = 64 << 10

// sourceError is a failure of the source, not of the target.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// final reports whether the source will not give this object: no other try
// helps, and it is not that the whole source cannot be reached.
func (e *sourceError) final() bool {
	return !pipeline.IsRetryable(e.err) && pipeline.ExitCode(e.err) != pipeline.ExitEnvironment
}

// failed classifies an error of the source.
func failed(err error) error {
	switch {
	case pipeline.ExitCode(err) == pipeline.ExitEnvironment:
	case errors.Is(err, fs.ErrNotExist):
		return errVanished
	case errors.Is(err, store.ErrChanged), errors.Is(err, store.ErrDigest):
		err = pipeline.Transient(err)
	}
	return &sourceError{err}
}

// changed is the error for a source that is not what it was.
func changed(err error) error { return &sourceError{pipeline.Transient(err)} }

// open opens the object's content.
func open(ctx context.Context, o *pipeline.Object) (io.ReadCloser, error) {
	r, err := o.Open(ctx)
	if err != nil {
		return nil, failed(err)
	}
	return r, nil
}

// fill reads until buf is full, and hands each piece to seen. It is an error
// when the content ends before.
func fill(ctx context.Context, r io.Reader, buf []byte, seen func([]byte)) error {
	for len(buf) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(buf[:min(len(buf), chunk)])
		seen(buf[:n])
		buf = buf[n:]
		switch {
		case err == nil || len(buf) == 0 && errors.Is(err, io.EOF):
		case errors.Is(err, io.EOF):
			return changed(errChanged)
		default:
			return failed(err)
		}
	}
	return nil
}

// skim digests the next n bytes, a buffer of one chunk at a time.
func skim(ctx context.Context, r io.Reader, n int64, buf []byte, h *store.Hasher) error {
	for ; n > 0; n -= chunk {
		if err := fill(ctx, r, buf[:min(n, chunk)], func(p []byte) { _, _ = h.Write(p) }); err != nil {
			return err
		}
	}
	return nil
}

// end expects the end of the content; a reader may say only there that its file
// has changed.
func end(r io.Reader) error {
	var one [1]byte
	for {
		switch n, err := r.Read(one[:]); {
		case n > 0:
			return changed(errChanged)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return failed(err)
		}
	}
}

// check compares what was read with what was said of it before.
func check(told, read store.Sums) error {
	if same, _ := told.Compare(read); !same {
		return changed(errDigest)
	}
	return nil
}

// digest reads the source's content once for these digests, and for those that
// it says of itself.
func (w *writer) digest(ctx context.Context, o *pipeline.Object, want store.Algorithms) (store.Sums, error) {
	var none store.Sums
	buf, err := w.scratch.get(ctx, chunk)
	if err != nil {
		return none, err
	}
	defer w.scratch.put(buf)
	r, err := open(ctx, o)
	if err != nil {
		return none, err
	}
	defer r.Close()
	known := store.SumsOf(o)
	h := store.NewHasher(want | known.Known())
	if err := skim(ctx, r, o.Bytes, buf, h); err != nil {
		return none, err
	}
	if err := end(r); err != nil {
		return none, err
	}
	sums := h.Sums()
	return sums, check(known, sums)
}
