package pipeline

import (
	"context"
	"fmt"
	"slices"
)

// offered is a batch sorted by what is known of its records.
type offered[T Record] struct {
	unit  Unit
	sums  map[string]Sum
	known map[string]Known
	// same are on the target, as they were found out to be just now.
	same map[string]Known
	// fresh are new or were refused before, changed are on the target otherwise.
	fresh, changed []T
	changes        map[string][]Change // what the transforms changed, by key
	count          UnitSync
}

// batch compares one batch with what is known and writes what differs.
func (s *syncer[T]) batch(ctx context.Context, b Batch[T]) error {
	o, err := s.sort(ctx, b)
	if err != nil {
		return err
	}
	if err := s.Digests.Keep(ctx, o.unit.ID(), o.same); err != nil {
		return err
	}
	if err := s.put(ctx, o, o.fresh, false); err != nil {
		return err
	}
	if err := s.put(ctx, o, o.changed, true); err != nil {
		return err
	}
	if err := s.refusals(ctx, o, b.Refused); err != nil {
		return err
	}
	o.count.Read = int64(b.Read)
	if s.repeat { // was counted before
		o.count.Read, o.count.Same = 0, 0
	}
	s.note(o.unit.ID(), o.count)
	return nil
}

func (s *syncer[T]) sort(ctx context.Context, b Batch[T]) (*offered[T], error) {
	o := &offered[T]{unit: b.Part.Unit, sums: map[string]Sum{}, same: map[string]Known{}, changes: map[string][]Change{}}
	keys := make([]string, 0, len(b.Records))
	for _, r := range b.Records {
		sum, err := SumOf(r)
		if err != nil {
			return nil, err
		}
		o.sums[r.Key()] = sum
		keys = append(keys, r.Key())
	}
	var err error
	if o.known, err = s.Digests.Look(ctx, o.unit.ID(), keys); err != nil {
		return nil, err
	}
	var unknown []T
	for _, r := range b.Records {
		known, ok := o.known[r.Key()]
		switch {
		case !ok:
			unknown = append(unknown, r)
		case known.Sum != o.sums[r.Key()]:
			o.changed = append(o.changed, r)
		case known.Refused:
			put, err := WasReplayed(ctx, s.Journal, o.unit.ID(), r.Key())
			if err != nil {
				return nil, err
			}
			if put {
				o.count.Same++
			} else {
				o.fresh = append(o.fresh, r)
			}
		default:
			o.count.Same++
		}
	}
	if err := s.ask(ctx, o, unknown); err != nil {
		return nil, err
	}
	for _, c := range b.Changed {
		o.changes[c.Key] = append(o.changes[c.Key], c)
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
	var got map[string]T
	err := s.Backoff.Do(ctx, func(int) (err error) {
		got, err = s.Target.Get(ctx, o.unit, keys)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading %s back: %w", o.unit.ID(), err)
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
		if len(fields) > 0 {
			o.changed = append(o.changed, r)
			continue
		}
		o.same[r.Key()] = Known{Sum: o.sums[r.Key()]}
		o.count.Same++
	}
	return nil
}

// put writes records, and keeps what became of them.
func (s *syncer[T]) put(ctx context.Context, o *offered[T], records []T, replace bool) error {
	if len(records) == 0 {
		return nil
	}
	if err := s.Rate.Wait(ctx, len(records)); err != nil {
		return err
	}
	var out Outcome
	err := s.Backoff.Do(ctx, func(attempt int) (err error) {
		if attempt > 0 {
			s.Log.Warn("writing again", "unit", o.unit.ID(), "attempt", attempt)
		}
		out, err = s.upsert.Upsert(ctx, o.unit, records, Upsert{Replace: replace, Final: s.final})
		return err
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", o.unit.ID(), err)
	}
	refused := map[string][]Refusal{}
	for _, r := range out.Refused {
		refused[r.Key] = append(refused[r.Key], r)
	}
	keep, lines, taken := map[string]Known{}, out.Changed, []string(nil)
	for _, r := range records {
		key := r.Key()
		if len(refused[key]) > 0 {
			continue
		}
		keep[key] = Known{Sum: o.sums[key]}
		lines = append(lines, o.changes[key]...)
		taken = append(taken, key)
	}
	if err := s.Journal.AddLines(ctx, nil, lines); err != nil {
		return err
	}
	if len(taken) > 0 && s.quarantined(o.unit.ID()) {
		if err := s.Journal.Release(ctx, o.unit.ID(), taken); err != nil {
			return err
		}
	}
	if replace {
		o.count.Changed += int64(len(taken))
	} else {
		o.count.New += int64(len(taken))
	}
	if err := s.Digests.Keep(ctx, o.unit.ID(), keep); err != nil {
		return err
	}
	byKey := map[string][]Refusal{}
	for key, lines := range refused {
		if known, ok := o.known[key]; !s.final && waits(lines) && !(ok && known.Refused && known.Sum == o.sums[key]) {
			s.later(o.unit)
			continue
		}
		byKey[key] = lines
	}
	return s.refuse(ctx, o, byKey, o.sums)
}

// later counts a record that is tried again at the end.
func (s *syncer[T]) later(u Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deferred[u.ID()]++
}

// waits reports whether a refusal may be over once others are there, or gone.
func waits(lines []Refusal) bool {
	return slices.ContainsFunc(lines, func(r Refusal) bool { return r.Reason == Orphan || r.Reason == Duplicate })
}

// refuse puts records into the quarantine: the target keeps nothing older of
// them. What stands there already as it is now is left alone.
func (s *syncer[T]) refuse(ctx context.Context, o *offered[T], refused map[string][]Refusal, sums map[string]Sum) error {
	keep := map[string]Known{}
	var stale, keys []string
	var lines []Refusal
	for key, l := range refused {
		known, ok := o.known[key]
		if ok && known.Refused && known.Sum == sums[key] {
			o.count.Same++
			continue
		}
		if !ok || !known.Refused {
			stale = append(stale, key)
		}
		keys, lines = append(keys, key), append(lines, l...)
		keep[key] = Known{Sum: sums[key], Refused: true}
	}
	if len(keys) == 0 {
		return nil
	}
	if err := s.take(ctx, o.unit, stale, false); err != nil {
		return err
	}
	if s.quarantined(o.unit.ID()) { // lines of what they were before
		if err := s.Journal.Release(ctx, o.unit.ID(), keys); err != nil {
			return err
		}
	}
	if err := s.Journal.AddLines(ctx, lines, nil); err != nil {
		return err
	}
	o.count.Refused += int64(len(keys))
	s.mu.Lock()
	s.lines[o.unit.ID()] = true
	s.mu.Unlock()
	return s.Digests.Keep(ctx, o.unit.ID(), keep)
}

// refusals deals with what reader and transforms refused.
func (s *syncer[T]) refusals(ctx context.Context, o *offered[T], refused []Refusal) error {
	if len(refused) == 0 {
		return nil
	}
	byKey, keys := map[string][]Refusal{}, []string(nil)
	for _, r := range refused {
		if byKey[r.Key] == nil {
			keys = append(keys, r.Key)
		}
		byKey[r.Key] = append(byKey[r.Key], r)
	}
	known, err := s.Digests.Look(ctx, o.unit.ID(), keys)
	if err != nil {
		return err
	}
	o.known = known
	sums, put := map[string]Sum{}, map[string]Known{}
	for _, key := range keys {
		sums[key] = sumOfRefusals(byKey[key])
		if _, ok := known[key]; ok {
			continue
		}
		// Nothing is known of it: somebody may have put it in, repaired.
		in, err := WasReplayed(ctx, s.Journal, o.unit.ID(), key)
		if err != nil {
			return err
		}
		if in {
			put[key] = Known{Sum: sums[key], Refused: true}
			o.count.Same++
			delete(byKey, key)
		}
	}
	if err := s.Digests.Keep(ctx, o.unit.ID(), put); err != nil {
		return err
	}
	return s.refuse(ctx, o, byKey, sums)
}
