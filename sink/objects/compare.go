package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	store "outgrow/mappings/objects"
	"outgrow/pipeline"
)

// head looks what the target has under the key; found is false for nothing.
func (w *writer) head(ctx context.Context, key string) (info store.Info, found bool, err error) {
	err = w.retry(ctx, func() (err error) {
		info, err = w.cfg.Bucket.Head(ctx, key)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return info, false, nil
	}
	return info, err == nil, err
}

// there reports whether the target's object is the source's, of which sums are
// known. The source is read only where size and sums do not tell, the target's
// object only where the store keeps no digest. It gives the sums with what was
// learnt.
func (w *writer) there(ctx context.Context, o *pipeline.Object, info store.Info, sums store.Sums) (bool, store.Sums, error) {
	if info.Bytes != o.Bytes {
		return false, sums, nil
	}
	if same, decided := sums.Compare(info.Sums); decided {
		return same, sums, nil
	}
	want := info.Sums.Known()
	if want == 0 {
		want = store.CRC32C | store.MD5
	}
	if sums.Known()&want == 0 {
		read, err := w.digest(ctx, o, want)
		if err != nil {
			return false, sums, err
		}
		sums = read.Or(sums)
	}
	if same, decided := sums.Compare(info.Sums); decided {
		return same, sums, nil
	}
	have, err := w.readBack(ctx, info, sums.Known())
	if err != nil {
		return false, sums, fmt.Errorf("reading the target's own object: %w", err)
	}
	same, _ := sums.Compare(have)
	return same, sums, nil
}

// readBack digests an object of the target.
func (w *writer) readBack(ctx context.Context, info store.Info, want store.Algorithms) (store.Sums, error) {
	buf, err := w.scratch.get(ctx, chunk)
	if err != nil {
		return store.Sums{}, err
	}
	defer w.scratch.put(buf)
	h := store.NewHasher(want)
	err = w.retry(ctx, func() error {
		h = store.NewHasher(want)
		r, err := w.cfg.Bucket.Open(ctx, info, 0)
		if err != nil {
			return moved(err)
		}
		defer r.Close()
		for {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n, err := r.Read(buf)
			_, _ = h.Write(buf[:n])
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return moved(err)
			}
		}
		if h.Bytes() != info.Bytes {
			return pipeline.Transient(io.ErrUnexpectedEOF)
		}
		return nil
	})
	return h.Sums(), err
}

// taken is asked after the store has said that the key has an object: nil when
// it is the very one (an answer was lost, or another run was here), errTaken
// when it is another, transient when the object is gone again or to be replaced.
func (w *writer) taken(ctx context.Context, o *pipeline.Object, key string, sums store.Sums) error {
	info, err := w.cfg.Bucket.Head(ctx, key)
	if err != nil {
		return moved(err)
	}
	same, _, err := w.there(ctx, o, info, sums)
	switch {
	case err != nil || same:
		return err
	case w.replace:
		return pipeline.Transient(store.ErrTaken)
	}
	return errTaken
}

// moved makes an error transient when it says that the target's object is
// another one by now: it is to be looked at anew.
func moved(err error) error {
	if errors.Is(err, store.ErrChanged) || errors.Is(err, fs.ErrNotExist) {
		return pipeline.Transient(fmt.Errorf("the target's object was replaced meanwhile: %w", err))
	}
	return err
}
