package digests

import (
	"bufio"
	"encoding/binary"
	"errors"
	"os"
)

// block reads the entries of the block at this offset.
func (s *Store) block(at int64, f func(entry) error) error {
	var head [blockHead]byte
	if _, err := s.file.ReadAt(head[:], at); err != nil {
		return err
	}
	end := at + blockHead + int64(binary.LittleEndian.Uint32(head[:]))
	got, err := blocks(s.file, at, min(end, s.size), func(at int64, payload []byte) error { return entries(at, payload, f) })
	if err == nil && got != end {
		err = errDamaged
	}
	return err
}

// stands reports whether an entry stands for its key.
func (s *Store) stands(e entry) bool {
	return summed(e.kind) && s.byID[e.unit] != nil && !s.gone.has(e.at)
}

// orderMost is of how many entries that do not count any more compact remembers where
// they stood, and how many lets it be worth while: about 10 MB.
const orderMost = 100_000

// compacts reports whether the log is to be written anew: it is twice as long as it
// need be, or so much was kept out of order that looking it up takes its time.
func (s *Store) compacts() bool {
	return s.old || s.dead > few && (s.dead > s.live || s.dead > s.live/8 && s.dead <= orderMost)
}

// order tells which entries are to stand where the first of their key was kept, as a
// pass meets them there: those, by the offset of that one, and their offsets.
func (s *Store) order(head int64) (instead map[int64]int64, moved map[int64]bool, err error) {
	if s.dead > orderMost {
		return nil, nil, nil
	}
	instead, moved = map[int64]int64{}, map[int64]bool{}
	_, err = blocks(s.file, head, s.size, func(block int64, payload []byte) error {
		return entries(block, payload, func(e entry) error {
			if !summed(e.kind) || s.byID[e.unit] == nil || !s.gone.has(e.at) {
				return nil
			}
			_, o, err := s.find(e.unit, e.key, s.hashOf(e))
			if err == nil && !o.empty() && !moved[o.at()] {
				instead[e.at], moved[o.at()] = o.at(), true
			}
			return err
		})
	})
	return instead, moved, err
}

// compact writes the log anew, without what does not count any more.
func (s *Store) compact() error {
	s.loading = true
	defer func() { s.loading = false }()
	head := header(magic, s.run)
	var size int64
	at := map[uint64][]int64{} // the blocks, by unit
	ruledAt := int64(never)
	var seen marks
	met := map[uint64]int64{} // by unit
	s.view.Store(nil)         // what a cursor has marked by now is taken over
	instead, moved, err := s.order(int64(len(head)))
	if err != nil {
		return err
	}
	f, err := replace(s.name, func(f *os.File) error {
		w := bufio.NewWriterSize(f, 256<<10)
		put := func(b []byte) error {
			n, err := w.Write(b)
			size += int64(n)
			return err
		}
		if err := put(head); err != nil {
			return err
		}
		if s.ruledAt != never {
			ruledAt = size
			if err := put(seal(s.ruling(make([]byte, blockHead)))); err != nil {
				return err
			}
		}
		for id, u := range s.byID {
			b := add(make([]byte, blockHead), named, id, u.name)
			if u.whole {
				b = add(b, whole, id, "")
			}
			at[id] = []int64{size}
			if err := put(seal(b)); err != nil {
				return err
			}
		}
		b := make([]byte, blockHead)
		_, err := blocks(s.file, int64(len(head)), s.size, func(block int64, payload []byte) error {
			b = b[:blockHead]
			err := entries(block, payload, func(e entry) error {
				var err error
				if at, ok := instead[e.at]; ok {
					e, err = s.windows.single(s.file, s.size, at)
				} else if !s.stands(e) || moved[e.at] {
					return nil
				}
				if err != nil {
					return err
				}
				i, o, err := s.index.find(s.hashOf(e), func(o slot) (bool, error) { return o.at() == e.at, nil })
				if err == nil && o.empty() {
					err = errDamaged
				}
				if err != nil {
					return err
				}
				if n := at[e.unit]; n[len(n)-1] != size {
					at[e.unit] = append(n, size)
				}
				next := size + int64(len(b))
				if s.seen.has(e.at) {
					seen.set(next)
					met[e.unit]++
				}
				o.ref = o.ref&(1<<markBits-1) | uint64(next)<<markBits
				b = addKnown(b, e.unit, string(e.key), s.known(e))
				return s.index.set(i, o)
			})
			if err != nil || len(b) == blockHead {
				return err
			}
			return put(seal(b))
		})
		return errors.Join(err, w.Flush())
	})
	if err != nil {
		s.broken = err
		return err
	}
	err = s.file.Close()
	s.file, s.size, s.dead, s.windows, s.ruledAt, s.old = f, size, 0, windows{}, ruledAt, false
	s.memoAt = 0
	s.gone, s.seen = marks{}, seen
	for id, u := range s.byID {
		u.unseen = u.all - met[id]
	}
	for id, n := range at {
		s.byID[id].blocks = n
	}
	s.look()
	return err
}
