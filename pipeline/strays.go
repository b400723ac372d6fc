package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Kinds of a [Stray].
const (
	StrayNew      = "new"      // the source has got it
	StrayChanged  = "changed"  // the source holds it otherwise
	StrayRemoved  = "removed"  // the source has lost it; never carried over
	StrayConflict = "conflict" // it was changed, or made, on the target too
	StrayRefused  = "refused"  // the target cannot hold it: it is in the quarantine
)

// Stray is a record that was written to the source after the last pass.
type Stray struct {
	Unit string `json:"unit"`
	Key  string `json:"key"`
	Kind string `json:"kind"`
}

// UnitStrays counts the strays of a unit.
type UnitStrays struct {
	Unit      string `json:"unit"`
	New       int64  `json:"new,omitempty"`
	Changed   int64  `json:"changed,omitempty"`
	Removed   int64  `json:"removed,omitempty"`
	Conflicts int64  `json:"conflicts,omitempty"`
	Refused   int64  `json:"refused,omitempty"`
	// Carried are those of the new and changed that the target holds now.
	Carried int64 `json:"carried,omitempty"`
}

// Any reports whether there is a stray at all.
func (u UnitStrays) Any() bool { return u.New+u.Changed+u.Removed+u.Conflicts+u.Refused > 0 }

// Add adds the counts of another unit.
func (u *UnitStrays) Add(o UnitStrays) {
	u.New, u.Changed, u.Removed = u.New+o.New, u.Changed+o.Changed, u.Removed+o.Removed
	u.Conflicts, u.Refused, u.Carried = u.Conflicts+o.Conflicts, u.Refused+o.Refused, u.Carried+o.Carried
}

// ErrUnknown says that nothing is known of what a last pass found.
var ErrUnknown = errors.New("nothing is known of what the last pass found")

// Strays reads the source once and finds what it got after the last pass, which
// the digests tell of. With carry it writes what is new or changed to the target,
// as long as the target has nothing else of the key: what was changed there too is
// a conflict and left alone, and nothing is ever removed. It may be repeated, also
// after a crash. report may be nil; it is called by several goroutines.
func Strays[T Record](ctx context.Context, d Delta[T], carry bool, report func(Stray)) ([]UnitStrays, error) {
	s := &strays[T]{Delta: d, carry: carry, report: report, units: map[string]*UnitStrays{}, ready: map[string]bool{}, both: map[Stray]bool{}}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if len(d.Units) > 0 && len(d.Digests.Units()) == 0 {
		return nil, ErrUnknown
	}
	levels := [][]Unit{d.Units}
	if carry {
		up, ok := d.Sink.(Upserter[T])
		if !ok || d.Target == nil || d.Equal == nil {
			return nil, errors.ErrUnsupported
		}
		s.upsert = up
		if l, ok := d.Sink.(Leveler); ok {
			var err error
			if levels, err = l.Levels(ctx, d.Units); err != nil {
				return nil, err
			}
		}
	}
	err := s.run(ctx, levels)
	return s.counts(), errors.Join(err, d.Digests.Flush(context.WithoutCancel(ctx)))
}

type strays[T Record] struct {
	Delta[T]
	carry  bool
	final  bool // refusals are final
	upsert Upserter[T]
	report func(Stray)

	mu    sync.Mutex
	units map[string]*UnitStrays
	ready map[string]bool // units that the target was prepared for
	again bool            // records wait for others
	both  map[Stray]bool  // conflicts found so far
}

func (s *strays[T]) run(ctx context.Context, levels [][]Unit) error {
	for {
		s.Digests.Pass()
		for _, units := range levels {
			if len(units) == 0 {
				continue
			}
			if err := Scan(ctx, Survey[T]{Source: s.Source, Transforms: s.Transforms, Units: units, Workers: s.Workers, PartBytes: s.PartBytes,
				Meter: s.Meter, Backoff: s.Backoff, Handle: s.batch}); err != nil {
				return err
			}
		}
		if !s.again || s.final {
			return s.removed(ctx)
		}
		s.again, s.final = false, true
	}
}

// removed counts what the source has lost.
func (s *strays[T]) removed(ctx context.Context) error {
	for _, id := range s.Digests.Units() {
		held, unseen, err := s.Digests.Count(ctx, id)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(s.Units, func(u Unit) bool { return u.ID() == id }) {
			unseen = held
		}
		if unseen > 0 {
			s.note(id, func(u *UnitStrays) { u.Removed += unseen })
		}
	}
	return nil
}

func (s *strays[T]) note(unit string, add func(*UnitStrays)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.units[unit] == nil {
		s.units[unit] = &UnitStrays{Unit: unit}
	}
	add(s.units[unit])
}

func (s *strays[T]) tell(unit, key, kind string) {
	if s.report != nil {
		s.report(Stray{Unit: unit, Key: key, Kind: kind})
	}
}

func (s *strays[T]) counts() []UnitStrays {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []UnitStrays
	for _, u := range s.units {
		if u.Any() {
			out = append(out, *u)
		}
	}
	slices.SortFunc(out, func(a, b UnitStrays) int { return strings.Compare(a.Unit, b.Unit) })
	return out
}

// stray is a record beside what was known of it.
type stray[T Record] struct {
	record T
	sum    Sum
	known  Known
	fresh  bool // nothing was known
}

func (s *strays[T]) batch(ctx context.Context, b Batch[T]) error {
	id := b.Part.Unit.ID()
	keys := make([]string, 0, len(b.Records))
	for _, r := range b.Records {
		keys = append(keys, r.Key())
	}
	for _, r := range b.Refused { // seen, and not lost
		keys = append(keys, r.Key)
	}
	known, err := s.Digests.Look(ctx, id, keys)
	if err != nil {
		return err
	}
	var found []stray[T]
	var of Summer
	for _, r := range b.Records {
		sum, err := of.Of(r)
		if err != nil {
			return err
		}
		k, ok := known[r.Key()]
		if ok && k.Sum == sum && !k.Doubt {
			continue
		}
		found = append(found, stray[T]{r, sum, k, !ok})
	}
	if len(found) == 0 {
		return nil
	}
	if !s.carry {
		for _, f := range found {
			s.count(id, f)
		}
		return nil
	}
	return s.settle(ctx, b, found)
}

// conflict counts a conflict, once in two readings.
func (s *strays[T]) conflict(c Stray) {
	s.mu.Lock()
	told := s.both[c]
	s.both[c] = true
	s.mu.Unlock()
	if !told {
		s.tell(c.Unit, c.Key, c.Kind)
		s.note(c.Unit, func(n *UnitStrays) { n.Conflicts++ })
	}
}

// count counts a stray for what it is.
func (s *strays[T]) count(id string, f stray[T]) {
	kind := StrayChanged
	if f.fresh {
		kind = StrayNew
	}
	s.tell(id, f.record.Key(), kind)
	s.note(id, func(u *UnitStrays) {
		if f.fresh {
			u.New++
		} else {
			u.Changed++
		}
	})
}

// settle carries over what the target has nothing else of.
func (s *strays[T]) settle(ctx context.Context, b Batch[T], found []stray[T]) error {
	u := b.Part.Unit
	if err := s.prepare(ctx, u); err != nil {
		return err
	}
	keys := make([]string, len(found))
	for i, f := range found {
		keys[i] = f.record.Key()
	}
	var there map[string]T
	err := s.Backoff.Do(ctx, func(int) (err error) {
		there, err = s.Target.Get(ctx, u, keys)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading %s back: %w", u.ID(), err)
	}
	keep := map[string]Known{}
	var insert, replace []stray[T]
	for _, f := range found {
		key := f.record.Key()
		got, ok := there[key]
		if ok {
			fields, err := s.Equal(ctx, u, f.record, got)
			if err != nil {
				return fmt.Errorf("comparing %s: %w", u.ID(), err)
			}
			if len(fields) == 0 { // an earlier run has carried it
				keep[key] = Known{Sum: f.sum}
				continue
			}
		}
		untouched, err := s.untouched(f, got, ok)
		switch {
		case err != nil:
			return err
		case !untouched:
			s.conflict(Stray{u.ID(), key, StrayConflict})
		case ok:
			replace = append(replace, f)
		default:
			insert = append(insert, f)
		}
	}
	if err := s.Digests.Keep(ctx, u.ID(), maps.All(keep)); err != nil {
		return err
	}
	if err := s.put(ctx, b, insert, false); err != nil {
		return err
	}
	return s.put(ctx, b, replace, true)
}

// untouched reports whether the target holds of a key what the last pass left
// there: nothing, or the record as it was then.
func (s *strays[T]) untouched(f stray[T], got T, there bool) (bool, error) {
	if f.fresh || f.known.Refused || !there {
		return !there && (f.fresh || f.known.Refused), nil
	}
	return leftAlone(new(Summer), got, f.known, tableOf(f.record))
}

func (s *strays[T]) prepare(ctx context.Context, u Unit) error {
	s.mu.Lock()
	done := s.ready[u.ID()]
	s.ready[u.ID()] = true
	s.mu.Unlock()
	if done {
		return nil
	}
	return s.Backoff.Do(ctx, func(int) error { return s.Sink.Prepare(ctx, u) })
}

// put writes strays and keeps what became of them.
func (s *strays[T]) put(ctx context.Context, b Batch[T], list []stray[T], replace bool) error {
	if len(list) == 0 {
		return nil
	}
	u := b.Part.Unit
	records := make([]T, len(list))
	for i, f := range list {
		records[i] = f.record
	}
	var out Outcome
	err := s.Backoff.Do(ctx, func(attempt int) (err error) {
		s.Meter.Unit(u).again(attempt)
		out, err = s.upsert.Upsert(ctx, u, records, Upsert{Replace: replace, Final: s.final})
		return err
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", u.ID(), err)
	}
	refused := map[string][]Refusal{}
	for _, r := range out.Refused {
		refused[r.Key] = append(refused[r.Key], r)
	}
	keep, changed := map[string]Known{}, out.Changed
	var lines []Refusal
	for _, f := range list {
		key := f.record.Key()
		why := refused[key]
		switch {
		case len(why) == 0:
			keep[key] = Known{Sum: f.sum}
			s.count(u.ID(), f)
			s.Meter.Unit(u).Stored.Add(1)
			s.note(u.ID(), func(n *UnitStrays) { n.Carried++ })
			for _, c := range b.Changed {
				if c.Key == key {
					changed = append(changed, c)
				}
			}
		case !s.final && waits(why):
			s.mu.Lock()
			s.again = true
			s.mu.Unlock()
		default:
			lines = append(lines, why...)
			if !replace { // of a replaced one the target keeps what it had
				keep[key] = Known{Sum: f.sum, Refused: true}
			}
			s.tell(u.ID(), key, StrayRefused)
			s.note(u.ID(), func(n *UnitStrays) { n.Refused++ })
		}
	}
	if err := s.Journal.AddLines(ctx, lines, changed); err != nil {
		return err
	}
	return s.Digests.Keep(ctx, u.ID(), maps.All(keep))
}
