package pipeline

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// offered is what a pass has to say of records of one unit.
type offered[T Record] struct {
	unit Unit
	sums map[string]Sum
	// origins are what the records were made of, as far as that is asked.
	origins map[string]Sum
	known   map[string]Known
	// same are on the target, as they were found out to be just now. traced were
	// known to be, and their origin was not.
	same, traced map[string]Known
	// fresh are new or were refused before, changed are on the target otherwise.
	fresh, changed []T
	changes        map[string][]Change // what the transforms changed, by key
	differs        map[string][]int    // columns, as Upsert has them
	bytes          int64               // of fresh and changed
	count          UnitSync
}

func newOffered[T Record](u Unit) *offered[T] {
	return &offered[T]{unit: u, sums: map[string]Sum{}, origins: map[string]Sum{}, known: map[string]Known{}, same: map[string]Known{}, traced: map[string]Known{},
		changes: map[string][]Change{}}
}

// inOrder gives what is known in the order of the records, and then what is not of
// these.
func inOrder[T Record](records []T, known map[string]Known) iter.Seq2[string, Known] {
	return func(yield func(string, Known) bool) {
		left := maps.Clone(known)
		for _, r := range records {
			if len(left) == 0 {
				return
			}
			key := r.Key()
			k, ok := left[key]
			delete(left, key)
			if ok && !yield(key, k) {
				return
			}
		}
		for key, k := range left {
			if !yield(key, k) {
				return
			}
		}
	}
}

// knows is what is known of a record that is on the target as it was read.
func (o *offered[T]) knows(key string) Known { return Known{Sum: o.sums[key], Origin: o.origins[key]} }

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
	maps.Copy(o.traced, o.same)
	if err := s.Digests.Keep(ctx, o.unit.ID(), inOrder(b.Records, o.traced)); err != nil {
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
	o.count.Same = int64(b.Same)
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
	kept := map[string]string{} // the same keys, but in memory of their own
	for i, r := range b.Records {
		k, ok := known[keys[i]]
		if ok && !k.Refused && !k.Doubt && k.Sum == sums[i] {
			o.count.Same++
			if origin := b.origin(i); origin != k.Origin && origin != (Sum{}) {
				o.traced[keys[i]] = Known{Sum: sums[i], Origin: origin}
			}
			continue
		}
		r = detached(r)
		key := r.Key()
		kept[key], o.sums[key], o.origins[key] = key, sums[i], b.origin(i)
		if ok {
			o.known[key] = k
		}
		switch {
		case !ok:
			unknown = append(unknown, r)
		case theirs(o.unit, k) && k.Sum != sums[i]: // no cause to overwrite it
			o.fresh = append(o.fresh, r)
		case k.Doubt || k.Sum != sums[i]:
			o.changed = append(o.changed, r)
		default:
			put, err := WasReplayed(ctx, s.Journal, o.unit.ID(), key)
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
		if key, ok := kept[c.Key]; ok {
			c.Key = key
			o.changes[key] = append(o.changes[key], c)
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
	differs, err := s.compare(ctx, o.unit, unknown, keys)
	if err != nil {
		return err
	}
	whole, err := s.Digests.Completed(ctx, o.unit.ID())
	if err != nil {
		return err
	}
	taken, err := s.othersFiles(ctx, o.unit, differs)
	if err != nil {
		return err
	}
	for i, r := range unknown {
		differs, there := differs[keys[i]]
		switch {
		case !there:
			o.fresh = append(o.fresh, r)
		case differs && whole && s.guards(): // all that was written is known
			s.conflict(o, keys[i])
		case differs && taken[keys[i]]:
			o.known[keys[i]] = Known{Sum: o.sums[keys[i]], Refused: true}
			o.traced[keys[i]] = o.known[keys[i]]
			o.fresh = append(o.fresh, r)
		case differs:
			o.changed = append(o.changed, r)
		default:
			o.same[keys[i]] = o.knows(keys[i])
			o.count.Same++
		}
	}
	return nil
}

// othersFiles are those of differing files that were refused as the target had
// another of their name before: that one is not a run's.
func (s *syncer[T]) othersFiles(ctx context.Context, u Unit, differs map[string]bool) (map[string]bool, error) {
	if u.Lane != Files || !s.quarantined(u.ID()) {
		return nil, nil
	}
	others := map[string]bool{}
	for key, yes := range differs {
		if !yes {
			continue
		}
		lines, err := s.Journal.Refused(ctx, u.ID(), key)
		if err != nil {
			return nil, err
		}
		others[key] = slices.ContainsFunc(lines, func(l Refusal) bool { return l.Reason == Duplicate })
	}
	return others, nil
}

// compare tells of records whether the target holds them otherwise; it knows
// nothing of those that are not there.
func (s *syncer[T]) compare(ctx context.Context, u Unit, records []T, keys []string) (map[string]bool, error) {
	byKey, differs := make(map[string]T, len(records)), make(map[string]bool, len(records))
	for i, r := range records {
		byKey[keys[i]] = r
	}
	err := s.visit(ctx, u, keys, func(key string, got T) error {
		fields, err := s.Equal(ctx, u, byKey[key], got)
		if err != nil {
			return fmt.Errorf("comparing %s: %w", u.ID(), err)
		}
		// What the transforms would change is changed in the record already.
		fields, err = unexplained(ctx, s.Journal, u, key, fields, ParentCleared, Replayed)
		differs[key] = len(fields) > 0
		return err
	})
	return differs, err
}
