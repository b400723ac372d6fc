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

// current gives the slot of an entry that stands for its key; it is empty for
// any other entry.
func (s *Store) current(e entry) (i uint64, o slot, err error) {
	if !summed(e.kind) || s.byID[e.unit] == nil {
		return 0, slot{}, nil
	}
	return s.index.find(s.hashOf(e), func(o slot) (bool, error) { return o.at() == e.at, nil })
}

// compact writes the log anew, without what does not count any more.
func (s *Store) compact() error {
	head := header(magic, s.run)
	var size int64
	at := map[uint64][]int64{} // the blocks, by unit
	ruledAt := int64(never)
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
				i, o, err := s.current(e)
				if err != nil || o.empty() {
					return err
				}
				if n := at[e.unit]; n[len(n)-1] != size {
					at[e.unit] = append(n, size)
				}
				o.ref = o.ref&(1<<markBits-1) | uint64(size+int64(len(b)))<<markBits
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
	for id, n := range at {
		s.byID[id].blocks = n
	}
	return err
}
