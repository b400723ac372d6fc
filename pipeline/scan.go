package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"golang.org/x/sync/errgroup"
)

// Survey is a lane to be read without being written.
type Survey[T Record] struct {
	Source     Source[T]
	Transforms []Transform[T]
	Units      []Unit // nil means all
	Workers    int    // 0 means 2
	PartBytes  int64  // as in Job
	Meter      *Meter // may be nil
	Backoff    Backoff
	// Read reads a part; nil means the source's own.
	Read func(context.Context, Part, Cursor) iter.Seq2[Batch[T], error]
	// Handle is called with every batch after the transforms, by several
	// workers at a time. It is called again for a batch whose reader failed
	// transiently before the batch's end was reached.
	Handle func(context.Context, Batch[T]) error
	// UnitBegin is called before anything of a unit is read, while those before it
	// may still be; it may be nil.
	UnitBegin func(context.Context, Unit) error
	// UnitDone is called once a unit was read to its end without an error; it
	// may be nil.
	UnitDone func(context.Context, Unit) error
}

// Scan reads the whole lane through its transforms.
func Scan[T Record](ctx context.Context, s Survey[T]) error {
	units := s.Units
	if units == nil {
		var err error
		if units, err = s.Source.Units(ctx); err != nil {
			return fmt.Errorf("listing the source: %w", err)
		}
	}
	if s.PartBytes == 0 {
		s.PartBytes = 64 << 20
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(s.Workers, 2))
	for _, u := range units {
		if s.UnitBegin != nil {
			if err := s.UnitBegin(ctx, u); err != nil {
				if first := g.Wait(); first != nil {
					return first // which ended this, too
				}
				return err
			}
		}
		parts := []Part{{Unit: u}}
		if sp, ok := s.Source.(Splitter); ok && u.Bytes > s.PartBytes {
			cut, err := sp.Split(ctx, u, int(min(u.Bytes/s.PartBytes+1, 64)))
			if err != nil && !errors.Is(err, errors.ErrUnsupported) {
				_ = g.Wait()
				return fmt.Errorf("cutting %s: %w", u.ID(), err)
			}
			if len(cut) > 0 {
				parts = cut
			}
		}
		st := &unitState{unit: u, count: s.Meter.Unit(u)}
		st.left.Store(int64(len(parts)))
		for _, p := range parts {
			g.Go(func() error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				st.count.Begin()
				if err := s.part(ctx, p, st.count); err != nil {
					return err
				}
				if st.left.Add(-1) > 0 {
					return nil
				}
				st.count.End()
				if s.UnitDone != nil {
					return s.UnitDone(ctx, u)
				}
				return nil
			})
		}
	}
	return g.Wait()
}

func (s *Survey[T]) part(ctx context.Context, p Part, count *Count) error {
	at, read := p.From, s.Read
	if read == nil {
		read = s.Source.Read
	}
	return s.Backoff.Do(ctx, func(attempt int) error {
		count.again(attempt)
		for b, err := range read(ctx, p, at) {
			if err != nil {
				return fmt.Errorf("reading %s: %w", p.Unit.ID(), err)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			Apply(&b, s.Transforms, count)
			began := time.Now()
			if err := s.Handle(ctx, b); err != nil {
				return err
			}
			count.batch(time.Since(began))
			count.Read.Add(int64(b.Read))
			count.Written.Add(int64(len(b.Records) + b.Same))
			count.Refused.Add(int64(len(b.Refused)))
			count.Changed.Add(int64(len(b.Changed)))
			count.Bytes.Add(b.Bytes)
			at = b.Next
		}
		return ctx.Err()
	})
}
