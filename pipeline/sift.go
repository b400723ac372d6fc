package pipeline

import (
	"context"
	"iter"
)

// Same reports whether a record of this key and origin is known and was not changed
// since. The key is only valid during the call.
type Same func(key string, origin Sum) (bool, error)

// Sifter is a [Source] that looks at records where they lie, and copies those only
// that it hands over.
type Sifter[T Record] interface {
	// Sift is Read without the records that are the same: Batch.Same counts them,
	// and Batch.Origins are those of the others, under this seed. same is called
	// for every record in turn, for one that is not the same perhaps twice, and must
	// not use the source.
	Sift(ctx context.Context, part Part, after Cursor, seed uint64, same Same) iter.Seq2[Batch[T], error]
}

// Sift reads a part without the records that are the same, with any source.
func Sift[T Record](ctx context.Context, src Source[T], part Part, after Cursor, seed uint64, same Same) iter.Seq2[Batch[T], error] {
	if s, ok := src.(Sifter[T]); ok {
		return s.Sift(ctx, part, after, seed, same)
	}
	return func(yield func(Batch[T], error) bool) {
		origins := NewOrigins(seed)
		for b, err := range src.Read(ctx, part, after) {
			if err == nil {
				err = b.sift(origins, same)
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

func (b *Batch[T]) sift(origins *Origins, same Same) error {
	b.trace(origins)
	n := 0
	for i, r := range b.Records {
		ok, err := same(r.Key(), b.Origins[i])
		if err != nil {
			return err
		}
		if ok {
			b.Same++
			continue
		}
		b.Records[n], b.Origins[n] = r, b.Origins[i]
		n++
	}
	clear(b.Records[n:])
	b.Records, b.Origins = b.Records[:n], b.Origins[:n]
	return nil
}

// trace gives the records of a batch, as they were read, their origins.
func (b *Batch[T]) trace(origins *Origins) {
	b.Origins = make([]Sum, len(b.Records))
	for i, r := range b.Records {
		b.Origins[i] = origins.Of(r)
	}
}

// sifting reports whether what a pass knows of a unit's records tells it that they
// have not changed: a record of the same origin becomes the same again.
func (d *Delta[T]) sifting(u Unit) bool { return d.Pure != nil && d.Pure(u) }

// read reads a part for a pass.
func (s *syncer[T]) read(ctx context.Context, part Part, after Cursor) iter.Seq2[Batch[T], error] {
	if !s.sifting(part.Unit) {
		return s.Source.Read(ctx, part, after)
	}
	return Sift(ctx, s.Source, part, after, s.Digests.Seed(), s.Digests.Unchanged(ctx, part.Unit.ID()))
}
