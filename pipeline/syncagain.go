package pipeline

import (
	"context"
	"fmt"
	"slices"
)

// again reads the units once more that have records which the target refused
// for the sake of others, until nothing more is taken. Records that hold each
// other's unique values are removed then, once, and written anew with what they
// took along; what is refused after that is refused for good.
func (s *syncer[T]) again(ctx context.Context, levels [][]Unit) error {
	s.repeat = true
	if len(s.deferred) > 0 || s.held && s.acted() {
		for unit, n := range s.waiting {
			s.deferred[unit] += n
		}
	}
	for before, freed, finals := int64(-1), false, 0; ; {
		var left int64
		for _, n := range s.deferred {
			left += n
		}
		if left == 0 {
			return nil
		}
		stuck := left == before
		if stuck && finals > 1 {
			return nil
		}
		s.freeing = stuck && !freed && s.duplicates && finals == 0
		if s.final = finals > 0 || stuck && !s.freeing; s.final {
			finals++
		}
		freed, before = freed || s.freeing, left
		if s.freeing {
			before = -1
		}
		todo := s.deferred
		s.deferred = map[string]int64{}
		for _, units := range levels {
			units = slices.DeleteFunc(slices.Clone(units), func(u Unit) bool { return todo[u.ID()] == 0 })
			if len(units) == 0 {
				continue
			}
			if err := s.scan(ctx, units); err != nil {
				return err
			}
		}
	}
}

// wait counts a record that stands in the quarantine since before this pass. It is
// tried again with others, or when it waits for a value that may be free now.
func (s *syncer[T]) wait(u Unit, duplicate bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[u.ID()]++
	s.held = s.held || duplicate
}

// acted reports whether this pass has changed anything on the target.
func (s *syncer[T]) acted() bool {
	for _, u := range s.units {
		if u.New+u.Changed+u.Deleted+u.Refused > 0 {
			return true
		}
	}
	return false
}

// later counts a record that is tried again at the end.
func (s *syncer[T]) later(u Unit, duplicate bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deferred[u.ID()]++
	s.duplicates = s.duplicates || duplicate
}

// free removes records whose values others wait for, and which wait themselves:
// they are written again later in this pass, and so is what went with them. Until
// then the quarantine has that.
func (s *syncer[T]) free(ctx context.Context, u Unit, keys []string) error {
	for part := range slices.Chunk(keys, page) {
		var out Outcome
		err := s.Backoff.Do(ctx, func(int) (err error) {
			out, err = s.remove(ctx, u, part)
			return err
		})
		if err != nil {
			return fmt.Errorf("removing from %s: %w", u.ID(), err)
		}
		if err := s.Journal.AddLines(ctx, out.Refused, nil); err != nil {
			return err
		}
		gone, cleared := map[string][]string{}, map[string]map[string]Known{}
		for _, r := range out.Refused {
			gone[r.Unit] = append(gone[r.Unit], r.Key)
			s.move(r.Unit, r.Key, true)
		}
		for _, c := range out.Changed {
			if cleared[c.Unit] == nil {
				cleared[c.Unit] = map[string]Known{}
			}
			cleared[c.Unit][c.Key] = Known{Doubt: true}
			s.move(c.Unit, c.Key, false)
		}
		for unit, keys := range gone {
			if err := s.Digests.Refuse(ctx, unit, keys); err != nil {
				return err
			}
		}
		for unit, keep := range cleared {
			if err := s.Digests.Keep(ctx, unit, keep); err != nil {
				return err
			}
		}
	}
	return nil
}

// move notes that a record has to be written again because another was removed
// for a while.
func (s *syncer[T]) move(unit, key string, quarantined bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved[unit] == nil {
		s.moved[unit] = map[string]bool{}
	}
	s.moved[unit][key] = true
	s.deferred[unit]++
	s.lines[unit] = s.lines[unit] || quarantined
}

func (s *syncer[T]) wasMoved(unit, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.moved[unit][key]
}
