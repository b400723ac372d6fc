package pipeline

import (
	"context"
	"strings"
)

// waiting are the records of a unit that the target refused for the sake of others:
// what they refer to is not there (Orphan), or another one has their value
// (Duplicate).
type waiting[T Record] struct {
	records []T
	origins []Sum          // of the records
	index   map[string]int // of records, by key
	changes []Change       // what the transforms changed of them
	bytes   int64
	scan    bool // there are others: the unit is to be read again
}

// waitingBytes is how much of waiting records is kept, of all units; beyond that
// their unit is read again.
const waitingBytes = 8 << 20

// fate is what becomes of a record that was refused in this pass, or left the target
// for the sake of another one, and so how it is counted if it comes back.
type fate byte

const (
	fateNew     fate = iota + 1 // the target had nothing of it
	fateChanged                 // the target had something older of it
	fateCounted                 // it was counted before it left
)

// again tries waiting records again, those of earlier passes included, until a round
// over all of them has changed nothing on the target: then each of them is refused
// for a reason that holds. Where that leaves some that are not in the quarantine
// yet, they go there, what the target has older of them is removed, and others may
// get their values: first those that were refused for a value (so that records
// exchange values in one pass), then all. Each of them is removed once at most, so
// there is an end.
func (s *syncer[T]) again(ctx context.Context, levels [][]Unit) error {
	s.repeat = true
	for len(s.waiting) > 0 {
		s.yield = false
		switch {
		case s.acts != s.tried: // some may have been tried before that
		case s.holders > 0:
			s.yield = true
		case s.open > 0 && !s.final:
			s.final = true
		default:
			return nil
		}
		s.tried = s.acts
		todo := s.waiting
		s.waiting, s.waits, s.open, s.holders = map[string]*waiting[T]{}, 0, 0, 0
		for _, units := range levels {
			if err := s.round(ctx, units, todo); err != nil {
				return err
			}
		}
	}
	return nil
}

// round tries the waiting records of one level again.
func (s *syncer[T]) round(ctx context.Context, units []Unit, todo map[string]*waiting[T]) error {
	var scan []Unit
	for _, u := range units {
		w := todo[u.ID()]
		switch {
		case w == nil:
		case w.scan:
			scan = append(scan, u)
		default:
			for from := 0; from < len(w.records); from += page {
				to := min(from+page, len(w.records))
				if err := s.batch(ctx, Batch[T]{Part: Part{Unit: u}, Records: w.records[from:to], Origins: w.origins[from:to], Changed: w.changes}); err != nil {
					return err
				}
			}
			if err := s.drain(ctx, u); err != nil {
				return err
			}
		}
	}
	if len(scan) == 0 {
		return nil
	}
	return s.scan(ctx, [][]Unit{scan})
}

// wait keeps a record to be tried again.
func (s *syncer[T]) wait(o *offered[T], r T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waitingOf(o.unit.ID())
	key := r.Key()
	if _, ok := w.index[key]; ok || w.scan {
		return
	}
	if s.waits += int64(r.Size()); s.waits > waitingBytes {
		s.readAgain(o.unit.ID())
		return
	}
	w.index[key], w.records, w.bytes = len(w.records), append(w.records, r), w.bytes+int64(r.Size())
	w.origins, w.changes = append(w.origins, o.origins[key]), append(w.changes, o.changes[key]...)
}

// waitingOf is called with the lock held.
func (s *syncer[T]) waitingOf(unit string) *waiting[T] {
	w := s.waiting[unit]
	if w == nil {
		w = &waiting[T]{index: map[string]int{}}
		s.waiting[unit] = w
	}
	return w
}

// readAgain is called with the lock held: the unit is read in the next round.
func (s *syncer[T]) readAgain(unit string) {
	w := s.waitingOf(unit)
	s.waits -= w.bytes
	*w = waiting[T]{scan: true}
}

// undecided counts a record that is neither on the target as it is now nor in the
// quarantine; holder says that it may have a value there that others wait for.
func (s *syncer[T]) undecided(holder bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	if holder {
		s.holders++
	}
}

// acted counts records that were written, or have left the target.
func (s *syncer[T]) acted(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acts += int64(n)
}

// decide sets how a refused record is counted if it comes back, unless that is set.
func (s *syncer[T]) decide(unit, key string, f fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fates[unit] == nil {
		s.fates[unit] = map[string]fate{}
	}
	if s.fates[unit][key] == 0 {
		s.fates[unit][strings.Clone(key)] = f // a key may hold the batch that it comes from
	}
}

// undecide forgets and gives how a record is counted that is not refused any more.
func (s *syncer[T]) undecide(unit, key string) fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fates[unit][key]
	delete(s.fates[unit], key)
	return f
}
