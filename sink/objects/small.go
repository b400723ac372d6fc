package objects

import (
	"context"
	"errors"

	store "outgrow/mappings/objects"
	"outgrow/pipeline"
)

// small reads an object whole and stores it in one request.
func (w *writer) small(ctx context.Context, o *pipeline.Object, key string) error {
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-w.slots }()
	body, err := w.buffers.get(ctx, o.Bytes)
	if err != nil {
		return err
	}
	defer w.buffers.put(body)
	sums, err := readAll(ctx, o, body)
	if err != nil {
		return err
	}
	if w.replace {
		info, found, err := w.head(ctx, key)
		if err != nil {
			return err
		}
		if found {
			if same, _, err := w.there(ctx, o, info, sums); err != nil || same {
				return err
			}
		}
	}
	up, err := w.upload(ctx, o, key, sums)
	if err != nil {
		return err
	}
	return w.retry(ctx, func() error {
		err := w.cfg.Uploader.Put(ctx, up, body)
		if errors.Is(err, store.ErrTaken) {
			return w.taken(ctx, o, key, sums)
		}
		return damaged(err)
	})
}

// damaged makes ErrDigest transient: the bytes are in memory, and sent again.
func damaged(err error) error {
	if errors.Is(err, store.ErrDigest) {
		return pipeline.Transient(err)
	}
	return err
}

// readAll reads the content into body, which has its length, and checks it.
func readAll(ctx context.Context, o *pipeline.Object, body []byte) (store.Sums, error) {
	r, err := open(ctx, o)
	if err != nil {
		return store.Sums{}, err
	}
	defer r.Close()
	if err := fill(ctx, r, body, func([]byte) {}); err != nil {
		return store.Sums{}, err
	}
	if err := end(r); err != nil {
		return store.Sums{}, err
	}
	known := store.SumsOf(o)
	sums := store.SumsOfBytes(store.CRC32C|store.MD5|known.Known(), body)
	return sums, check(known, sums)
}
