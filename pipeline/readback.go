package pipeline

import (
	"context"
	"fmt"
)

// How records of the target are read where it has no [Visitor]: at first so many
// at once, then as many as are likely to be of so many bytes.
const (
	backRecords = 256
	backBytes   = 4 << 20
)

// visit reads records of the target, and calls f for each that is there, which
// may keep nothing of it. After an error that may pass all keys are asked for
// again. Of a [Visitor] one record is in memory, else backBytes or two times the
// records that were of that size before.
func (s *syncer[T]) visit(ctx context.Context, u Unit, keys []string, f func(key string, r T) error) error {
	err := s.Backoff.Do(ctx, func(int) error {
		if v, ok := s.Target.(Visitor[T]); ok {
			return v.Visit(ctx, u, keys, f)
		}
		return visitByPages(ctx, s.Target, u, keys, f)
	})
	if err != nil {
		return fmt.Errorf("reading %s back: %w", u.ID(), err)
	}
	return nil
}

func visitByPages[T Record](ctx context.Context, target Getter[T], u Unit, keys []string, f func(key string, r T) error) error {
	for n := backRecords; len(keys) > 0; {
		part := keys[:min(n, len(keys))]
		keys = keys[len(part):]
		got, err := target.Get(ctx, u, part)
		if err != nil {
			return err
		}
		size := 0
		for _, key := range part {
			r, ok := got[key]
			if !ok {
				continue
			}
			size += r.Size()
			if err := f(key, r); err != nil {
				return err
			}
		}
		switch {
		case size > backBytes:
			n = max(1, n*backBytes/size)
		case 2*size <= backBytes:
			n *= 2
		}
	}
	return nil
}
