package digests

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"outgrow/pipeline"
)

var _ pipeline.Digests = (*Store)(nil)

// Pass begins a pass: nothing was seen yet.
func (s *Store) Pass() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return // whatever comes next says so
	}
	s.seen.clear()
	for _, u := range s.units {
		s.fold(u)
		u.unseen = u.all
	}
}

// Seed is that of the origins that are kept.
func (s *Store) Seed() uint64 { return s.seed }

// Unchanged gives what reports, for one goroutine, whether the target holds of a key
// what a record of this origin became under the rules of now; then it counts as seen
// in this pass. It is best asked in the order in which records were kept.
func (s *Store) Unchanged(_ context.Context, unit string) pipeline.Same {
	c := &cursor{store: s, unit: unit}
	return func(key string, origin pipeline.Sum) (bool, error) {
		same, err := c.unchanged(key, origin)
		return same, wrap("looking digests up", err)
	}
}

// Look gives what is known of the keys, and counts them as seen in this pass.
func (s *Store) Look(_ context.Context, unit string, keys []string) (map[string]pipeline.Known, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]pipeline.Known, len(keys))
	u := s.units[unit]
	if u == nil || s.broken != nil {
		return out, wrap("looking digests up", s.broken)
	}
	for _, key := range keys {
		e, there, err := s.lookup(u, key, s.read)
		if err != nil {
			return nil, wrap("looking digests up", err)
		}
		if there {
			out[key] = s.known(e)
			s.see(u, e)
		}
	}
	return out, nil
}

// lookup gives the entry that stands for a key. It is valid until the next is read.
func (s *Store) lookup(u *unit, key string, read func(slot) (entry, error)) (e entry, there bool, err error) {
	_, o, err := s.index.find(s.hash(u.id, key), func(o slot) (_ bool, err error) {
		e, err = read(o)
		return err == nil && e.unit == u.id && string(e.key) == key, err
	})
	return e, err == nil && !o.empty(), err
}

// see notes that an entry's key was met in this pass.
func (s *Store) see(u *unit, e entry) {
	if s.seen.add(e.at) {
		u.unseen--
	}
}

// Keep remembers records that the target holds, or has refused, from now on.
func (s *Store) Keep(_ context.Context, unit string, entries iter.Seq2[string, pipeline.Known]) error {
	for range entries {
		s.mu.Lock()
		defer s.mu.Unlock()
		return wrap("keeping digests", s.change(unit, func(b []byte, id uint64) []byte {
			for key, k := range entries {
				b = addKnown(b, id, key, k)
			}
			return b
		}))
	}
	return nil
}

// Refuse notes that the target holds these records no more.
func (s *Store) Refuse(_ context.Context, unit string, keys []string) error {
	return s.each(unit, keys, func(b []byte, e entry) []byte {
		return addKnown(b, e.unit, string(e.key), pipeline.Known{Sum: e.sum, Refused: true, Doubt: e.kind&doubt != 0})
	})
}

// Forget forgets records.
func (s *Store) Forget(_ context.Context, unit string, keys []string) error {
	return s.each(unit, keys, func(b []byte, e entry) []byte { return add(b, forgotten, e.unit, string(e.key)) })
}

// each writes another entry for those of the keys that are known.
func (s *Store) each(unit string, keys []string, another func([]byte, entry) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[unit]
	if u == nil || s.broken != nil {
		return wrap("changing digests", s.broken)
	}
	b := make([]byte, blockHead)
	for _, key := range keys {
		e, there, err := s.lookup(u, key, s.read)
		if err != nil {
			return wrap("changing digests", err)
		}
		if there {
			b = another(b, e)
		}
	}
	if len(b) == blockHead {
		return nil
	}
	return wrap("changing digests", s.append(b, false))
}

// Drop forgets a unit.
func (s *Store) Drop(_ context.Context, unit string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[unit]
	if u == nil || s.broken != nil {
		return wrap("forgetting digests", s.broken)
	}
	return wrap("forgetting digests", s.append(add(make([]byte, blockHead), dropped, u.id, ""), false))
}

// Units lists the units of which anything is known.
func (s *Store) Units() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for name := range s.units {
		out = append(out, name)
	}
	return out
}

// Count counts the records of a unit that the target holds, and those not seen
// in this pass, refused ones included.
func (s *Store) Count(_ context.Context, unit string) (held, unseen int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.units[unit]; u != nil {
		s.fold(u)
		held, unseen = u.held, u.unseen
	}
	return held, unseen, wrap("counting digests", s.broken)
}

// A page of the keys that were not seen ends behind the block of the log, or behind
// the stretch of the index, in which it has so many of them, or so many bytes.
const (
	enough      = 5000
	enoughBytes = 1 << 20
	// seldom is how many times more are seen where the index is looked through for
	// those that are not, instead of the unit's blocks.
	seldom = 16
	// stretch is how many slots are looked at together.
	stretch = 1 << 14
)

// Unseen lists, in pages, the keys of a unit that were not seen in this pass.
// What it has listed may be forgotten meanwhile, and is listed once more if it is
// not, should the index have to grow for what is kept meanwhile.
func (s *Store) Unseen(_ context.Context, unit string) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		bits, few := s.few(unit)
		for next := 0; next >= 0; {
			var page []string
			var err error
			if few {
				page, next, few, err = s.unseenInIndex(unit, next, bits)
			} else {
				page, next, err = s.unseen(unit, next)
			}
			if err != nil {
				yield(nil, wrap("listing digests", err))
				return
			}
			if len(page) > 0 && !yield(page, nil) {
				return
			}
		}
	}
}

// few reports whether most of a unit was seen in this pass, and the size of the
// index.
func (s *Store) few(unit string) (bits uint, few bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[unit]
	if u == nil || s.broken != nil {
		return 0, false
	}
	s.fold(u)
	return s.index.bits, u.unseen*seldom < u.all
}

// unseenInIndex looks through the index, from the slot next on, until there is a
// page; next is -1 at the end. Not same: it has another size by now, so that next
// says nothing of its slots, and it is 0.
func (s *Store) unseenInIndex(unit string, next int, bits uint) (page []string, _ int, same bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[unit]
	if u == nil || s.broken != nil {
		return nil, -1, true, s.broken
	}
	if s.index.bits != bits {
		return nil, 0, false, nil
	}
	slots, size := 1<<bits, 0
	for next < slots && len(page) < enough && size < enoughBytes {
		var found []slot
		for end := min(next+stretch, slots); next < end; next++ {
			o, err := s.index.get(uint64(next))
			if err != nil {
				return nil, -1, true, err
			}
			if !o.empty() && !s.seen.has(o.at()) {
				found = append(found, o)
			}
		}
		slices.SortFunc(found, func(a, b slot) int { return cmp.Compare(a.ref, b.ref) })
		for _, o := range found {
			e, err := s.read(o)
			if err != nil {
				return nil, -1, true, err
			}
			if e.unit == u.id {
				page, size = append(page, string(e.key)), size+len(e.key)
			}
		}
	}
	slices.Sort(page)
	if next == slots {
		next = -1
	}
	return page, next, true, nil
}

// unseen reads blocks of a unit until there is a page; next is -1 at the end.
func (s *Store) unseen(unit string, next int) (page []string, _ int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[unit]
	if u == nil || s.broken != nil {
		return nil, -1, s.broken
	}
	size := 0
	for ; next < len(u.blocks); next++ {
		if len(page) >= enough || size >= enoughBytes {
			slices.Sort(page)
			return page, next, nil
		}
		err := s.block(u.blocks[next], func(e entry) error {
			if s.stands(e) && !s.seen.has(e.at) {
				page, size = append(page, string(e.key)), size+len(e.key)
			}
			return nil
		})
		if err != nil {
			return nil, -1, err
		}
	}
	slices.Sort(page)
	return page, -1, nil
}

// Complete notes that a unit was compared to its end; Completed tells.
func (s *Store) Complete(_ context.Context, unit string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wrap("keeping digests", s.change(unit, func(b []byte, id uint64) []byte { return add(b, whole, id, "") }))
}

// Completed reports whether the unit's digests are those of all that is on the
// target.
func (s *Store) Completed(_ context.Context, unit string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[unit]
	return u != nil && u.whole, wrap("reading digests", s.broken)
}
