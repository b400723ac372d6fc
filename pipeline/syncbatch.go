package pipeline

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// offered is what a pass has to say of records of one unit.
type offered[T Record] struct {
	unit  Unit
	sums  map[string]Sum
	known map[string]Known
	// same are on the target, as they were found out to be just now.
	same map[string]Known
	// fresh are new or were refused before, changed are on the target otherwise.
	fresh, changed []T
	changes        map[string][]Change // what the transforms changed, by key
	bytes          int64               // of fresh and changed
	count          UnitSync
}

func newOffered[T Record](u Unit) *offered[T] {
	return &offered[T]{unit: u, sums: map[string]Sum{}, known: map[string]Known{}, same: map[string]Known{}, changes: map[string][]Change{}}
}

// batch compares one batch with what is known. What differs is written together
// with that of other batches.
func (s *syncer[T]) batch(ctx context.Context, b Batch[T]) error {
	o, err := s.sort(ctx, b)
	if err != nil {
		return err
	}
	if len(o.same) > 0 && s.quarantined(o.unit.ID()) { // taken by a pass that died then
		if err := s.Journal.Release(ctx, o.unit.ID(), slices.Collect(maps.Keys(o.same))); err != nil {
			return err
		}
	}
	if err := s.Digests.Keep(ctx, o.unit.ID(), o.same); err != nil {
		return err
	}
	r := newOffered[T](o.unit)
	if err := s.refusals(ctx, r, b.Refused); err != nil {
		return err
	}
	if err := s.offer(ctx, o); err != nil {
		return err
	}
	o.count.Add(r.count)
	o.count.Read = int64(b.Read)
	if s.repeat { // was counted before
		o.count.Read, o.count.Same = 0, 0
	}
	s.note(o.unit.ID(), o.count)
	return nil
}

func (s *syncer[T]) sort(ctx context.Context, b Batch[T]) (*offered[T], error) {
	o := newOffered[T](b.Part.Unit)
	keys, sums := make([]string, len(b.Records)), make([]Sum, len(b.Records))
	var of Summer
	for i, r := range b.Records {
		var err error
		if sums[i], err = of.Of(r); err != nil {
			return nil, err
		}
		keys[i] = r.Key()
	}
	known, err := s.Digests.Look(ctx, o.unit.ID(), keys)
	if err != nil {
		return nil, err
	}
	var unknown []T
	for i, r := range b.Records {
		k, ok := known[keys[i]]
		if ok && !k.Refused && !k.Doubt && k.Sum == sums[i] {
			o.count.Same++
			continue
		}
		o.sums[keys[i]] = sums[i]
		if ok {
			o.known[keys[i]] = k
		}
		switch {
		case !ok:
			unknown = append(unknown, r)
		case k.Doubt || k.Sum != sums[i]:
			o.changed = append(o.changed, r)
		default:
			put, err := WasReplayed(ctx, s.Journal, o.unit.ID(), keys[i])
			if err != nil {
				return nil, err
			}
			if put {
				o.count.Same++
			} else {
				o.fresh = append(o.fresh, r)
			}
		}
	}
	if err := s.ask(ctx, o, unknown); err != nil {
		return nil, err
	}
	for _, c := range b.Changed {
		if _, ok := o.sums[c.Key]; ok {
			o.changes[c.Key] = append(o.changes[c.Key], c)
		}
	}
	for _, r := range slices.Concat(o.fresh, o.changed) {
		o.bytes += int64(r.Size())
	}
	if len(b.Records) > 0 {
		s.mu.Lock()
		s.tables[o.unit.ID()] = tableOf(b.Records[0])
		s.mu.Unlock()
	}
	return o, nil
}

// get reads records of the target.
func (s *syncer[T]) get(ctx context.Context, u Unit, keys []string) (got map[string]T, err error) {
	err = s.Backoff.Do(ctx, func(int) (err error) {
		got, err = s.Target.Get(ctx, u, keys)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s back: %w", u.ID(), err)
	}
	return got, nil
}

// ask compares records of which nothing is known with the target.
func (s *syncer[T]) ask(ctx context.Context, o *offered[T], unknown []T) error {
	if s.Target == nil || s.Equal == nil || len(unknown) == 0 {
		o.fresh = append(o.fresh, unknown...)
		return nil
	}
	keys := make([]string, len(unknown))
	for i, r := range unknown {
		keys[i] = r.Key()
	}
	got, err := s.get(ctx, o.unit, keys)
	if err != nil {
		return err
	}
	whole, err := s.Digests.Completed(ctx, o.unit.ID())
	if err != nil {
		return err
	}
	for _, r := range unknown {
		g, ok := got[r.Key()]
		if !ok {
			o.fresh = append(o.fresh, r)
			continue
		}
		fields, err := s.Equal(ctx, o.unit, r, g)
		if err != nil {
			return fmt.Errorf("comparing %s: %w", o.unit.ID(), err)
		}
		if fields, err = unexplained(ctx, s.Journal, o.unit, r.Key(), fields); err != nil {
			return err
		}
		switch {
		case len(fields) > 0 && whole && s.guards(): // all that was written is known
			s.conflict(o, r.Key())
			continue
		case len(fields) > 0:
			o.changed = append(o.changed, r)
			continue
		}
		o.same[r.Key()] = Known{Sum: o.sums[r.Key()]}
		o.count.Same++
	}
	return nil
}
