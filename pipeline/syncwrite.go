package pipeline

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// A unit's records are written together, whichever batches they come from, until
// there are so many of them. What is left when the unit was read waits for nobody
// else, so it should not be much.
const (
	togetherRecords = 250
	togetherBytes   = 256 << 10
)

func (o *offered[T]) len() int { return len(o.fresh) + len(o.changed) }

// offer takes records to be written; drain writes those that are left. Objects are
// written at once: each takes its time, and several workers do them.
func (s *syncer[T]) offer(ctx context.Context, o *offered[T]) error {
	if o.len() == 0 {
		return nil
	}
	id := o.unit.ID()
	s.mu.Lock()
	before := s.pending[id]
	now := newOffered[T](o.unit)
	var full []*offered[T]
	if before != nil && before.len()+o.len() <= togetherRecords && before.bytes+o.bytes <= togetherBytes {
		now = before
	} else if before != nil {
		full = append(full, before)
	}
	now.add(o)
	s.pending[id] = now
	if o.unit.Lane == Files || now.len() >= togetherRecords || now.bytes >= togetherBytes {
		delete(s.pending, id)
		full = append(full, now)
	}
	s.mu.Unlock()
	for _, o := range full {
		if err := s.flush(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (o *offered[T]) add(p *offered[T]) {
	maps.Copy(o.sums, p.sums)
	maps.Copy(o.origins, p.origins)
	maps.Copy(o.known, p.known)
	maps.Copy(o.changes, p.changes)
	o.fresh, o.changed, o.bytes = append(o.fresh, p.fresh...), append(o.changed, p.changed...), o.bytes+p.bytes
}

// drain writes what is left of a unit.
func (s *syncer[T]) drain(ctx context.Context, u Unit) error {
	s.mu.Lock()
	o := s.pending[u.ID()]
	delete(s.pending, u.ID())
	s.mu.Unlock()
	if o == nil {
		return nil
	}
	return s.flush(ctx, o)
}

// flush writes records that are not held anywhere else any more.
func (s *syncer[T]) flush(ctx context.Context, o *offered[T]) error {
	var try offered[T]
	err := s.Backoff.Do(ctx, func(int) error {
		try = *o
		return s.write(ctx, &try)
	})
	if err != nil {
		return &settled{err}
	}
	if s.repeat { // was counted before
		try.count.Same = 0
	}
	s.note(o.unit.ID(), try.count)
	return nil
}

// settled is an error that reading a batch again would not mend.
type settled struct{ err error }

func (e *settled) Error() string   { return e.err.Error() }
func (e *settled) Unwrap() error   { return e.err }
func (e *settled) Retryable() bool { return false }

// write writes what is to be written. Should that not come to its end, the digests
// say that it was begun. Unique values that move from a changed record to a new one
// are free when that comes.
func (s *syncer[T]) write(ctx context.Context, o *offered[T]) error {
	if err := s.guard(ctx, o); err != nil {
		return err
	}
	marks := map[string]Known{}
	for _, r := range slices.Concat(o.fresh, o.changed) {
		if key := r.Key(); !s.standing(o, key) && !theirs(o.unit, o.known[key]) {
			known := o.known[key]
			marks[key] = Known{Sum: known.Sum, Refused: known.Refused, Doubt: true}
		}
	}
	if err := s.Digests.Keep(ctx, o.unit.ID(), maps.All(marks)); err != nil {
		return err
	}
	if err := s.put(ctx, o, o.changed, true); err != nil {
		return err
	}
	return s.put(ctx, o, o.fresh, false)
}

// theirs reports whether a file of a refused record's name on the target is somebody
// else's: what is refused of a run's own is gone from there, or in doubt.
func theirs(u Unit, known Known) bool { return u.Lane == Files && known.Refused && !known.Doubt }

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
		s.Meter.Unit(o.unit).again(attempt)
		if attempt > 0 {
			s.Log.Warn("writing again", "unit", o.unit.ID(), "attempt", attempt)
		}
		out, err = s.upsert.Upsert(ctx, o.unit, records, Upsert{Replace: replace, Final: s.final, Differs: o.differs})
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
		keep[key] = o.knows(key)
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
	s.acted(len(taken))
	s.Meter.Unit(o.unit).Stored.Add(int64(len(taken)))
	for _, key := range taken {
		s.taken(o, key, replace)
	}
	if err := s.Digests.Keep(ctx, o.unit.ID(), maps.All(keep)); err != nil {
		return err
	}
	for _, r := range records {
		lines := refused[r.Key()]
		if len(lines) == 0 {
			continue
		}
		if waits(lines) {
			s.wait(o, r)
			duplicate := slices.ContainsFunc(lines, func(l Refusal) bool { return l.Reason == Duplicate })
			if holder := duplicate && replace; !s.standing(o, r.Key()) && !s.final && !(s.yield && holder) {
				s.undecided(holder)
				delete(refused, r.Key())
			}
		}
	}
	return s.refuse(ctx, o, refused)
}

// taken counts a record that the target has taken.
func (s *syncer[T]) taken(o *offered[T], key string, replace bool) {
	known, ok := o.known[key]
	switch f := s.undecide(o.unit.ID(), key); {
	case f == fateCounted:
	case f == fateNew, f == 0 && (!replace || !older(known, ok)):
		o.count.New++
		if f == 0 && s.repeat && s.standing(o, key) {
			o.count.Same-- // it was counted as what stands in the quarantine
		}
	default:
		o.count.Changed++
	}
}

// older reports whether the target has something older of a record that is to be
// changed: of one that was only tried before it has not.
func older(known Known, ok bool) bool {
	return !ok || !known.Refused && !(known.Doubt && known.Sum == Sum{})
}

// standing reports whether a record stands in the quarantine as it is now.
func (s *syncer[T]) standing(o *offered[T], key string) bool {
	known, ok := o.known[key]
	return ok && known.Refused && !known.Doubt && known.Sum == o.sums[key]
}

// waits reports whether a refusal may be over once others are there, or gone.
func waits(lines []Refusal) bool {
	return slices.ContainsFunc(lines, func(r Refusal) bool { return r.Reason == Orphan || r.Reason == Duplicate })
}

// unreadable reports whether the source holds a record and cannot give it.
func unreadable(lines []Refusal) bool {
	return slices.ContainsFunc(lines, func(l Refusal) bool { return l.Reason == Unreadable })
}

// refuse puts records into the quarantine: the target keeps nothing older of
// them, but for files that the source has and cannot give any more, as their older
// copy may be the last one. What stands there already as it is now is left alone.
func (s *syncer[T]) refuse(ctx context.Context, o *offered[T], refused map[string][]Refusal) error {
	keep := map[string]Known{}
	var stale, keys []string
	var lines []Refusal
	why := leaveRefused
	for key, l := range refused {
		known, ok := o.known[key]
		stays := o.unit.Lane == Files && unreadable(l)
		held := ok && (!known.Refused || known.Doubt)
		if s.standing(o, key) || stays && held && known.Refused && known.Sum == o.sums[key] {
			if !s.repeat {
				o.count.Same++
			}
			continue
		}
		if !stays && (!ok || held) {
			stale = append(stale, key)
			if waits(l) {
				why = leaveWaiting
			}
		}
		if ok && older(known, ok) {
			s.decide(o.unit.ID(), key, fateChanged)
		} else {
			s.decide(o.unit.ID(), key, fateNew)
		}
		keys, lines = append(keys, key), append(lines, l...)
		keep[key] = Known{Sum: o.sums[key], Refused: true, Doubt: stays && held}
	}
	if len(keys) == 0 {
		return nil
	}
	if err := s.take(ctx, o.unit, stale, why); err != nil {
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
	s.refused(o.unit.ID(), false)
	return s.Digests.Keep(ctx, o.unit.ID(), maps.All(keep))
}

// removable leaves out the keys of records that would have to leave the target,
// and that somebody else has written there.
func (s *syncer[T]) removable(ctx context.Context, u Unit, keys []string, known map[string]Known) ([]string, error) {
	var there []string
	for _, key := range keys {
		if k, ok := known[key]; ok && !k.Refused {
			there = append(there, key)
		}
	}
	mine, err := s.mine(ctx, u, there)
	if len(mine) == len(there) || err != nil {
		return keys, err
	}
	return slices.DeleteFunc(keys, func(key string) bool { return slices.Contains(there, key) && !slices.Contains(mine, key) }), nil
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
	if keys, err = s.removable(ctx, o.unit, keys, known); err != nil {
		return err
	}
	maps.DeleteFunc(byKey, func(key string, _ []Refusal) bool { return !slices.Contains(keys, key) })
	put := map[string]Known{}
	for _, key := range keys {
		o.sums[key] = sumOfRefusals(byKey[key])
		if _, ok := known[key]; ok {
			continue
		}
		// Nothing is known of it: somebody may have put it in, repaired.
		in, err := WasReplayed(ctx, s.Journal, o.unit.ID(), key)
		if err != nil {
			return err
		}
		if in {
			put[key] = Known{Sum: o.sums[key], Refused: true}
			o.count.Same++
			delete(byKey, key)
		}
	}
	if err := s.Digests.Keep(ctx, o.unit.ID(), maps.All(put)); err != nil {
		return err
	}
	return s.refuse(ctx, o, byKey)
}
