package digests

import (
	"encoding/binary"
	"errors"
	"os"
)

// slot says where in the log the entry of a key is. ref is the entry's offset
// and a mark.
type slot struct{ hash, ref uint64 }

const (
	refusedMark uint64 = 1 << iota // the target has nothing of it
	markBits           = iota
	removed            = ^uint64(0) // a slot whose key was forgotten; 0 is a free one
)

func (s slot) at() int64     { return int64(s.ref >> markBits) }
func (s slot) refused() bool { return s.ref&refusedMark != 0 }
func (s slot) empty() bool   { return s.ref == 0 || s.ref == removed }

const (
	slotBytes = 16
	pageBytes = 4096
	firstBits = 12
)

// index finds entries by the hash of their keys: open addressing by the hash's
// first bits, at most three quarters full. Up to limit bytes of it are in memory,
// beyond that it is a file that nobody else sees, of which one page is in memory.
type index struct {
	dir   string
	limit int64
	bits  uint
	used  int64 // slots that are not free
	mem   []slot
	file  *os.File

	page  [pageBytes]byte
	at    int64 // the page's number, -1 for none
	dirty bool
}

func newIndex(dir string, limit int64, bits uint) (*index, error) {
	x := &index{dir: dir, limit: limit, bits: bits, at: -1}
	if slotBytes<<bits <= limit {
		x.mem = make([]slot, 1<<bits)
		clear(x.mem) // memory that is read before it is written is got twice from the system
		return x, nil
	}
	f, err := os.CreateTemp(dir, "index-*")
	if err != nil {
		return nil, err
	}
	x.file = f
	_ = os.Remove(f.Name()) // it is gone with the process; close tries once more
	return x, f.Truncate(slotBytes << bits)
}

func (x *index) close() error {
	if x.file == nil {
		return nil
	}
	err := x.file.Close()
	if rm := os.Remove(x.file.Name()); rm != nil && !errors.Is(rm, os.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	x.file = nil
	return err
}

// memory is how many bytes of slots are held.
func (x *index) memory() int64 { return int64(cap(x.mem)) * slotBytes }

func (x *index) load(page int64) error {
	if x.at == page {
		return nil
	}
	if err := x.save(); err != nil {
		return err
	}
	x.at = -1
	if _, err := x.file.ReadAt(x.page[:], page*pageBytes); err != nil {
		return err
	}
	x.at = page
	return nil
}

func (x *index) save() error {
	if !x.dirty {
		return nil
	}
	_, err := x.file.WriteAt(x.page[:], x.at*pageBytes)
	x.dirty = x.dirty && err != nil
	return err
}

func (x *index) get(i uint64) (slot, error) {
	if x.file == nil {
		return x.mem[i], nil
	}
	if err := x.load(int64(i * slotBytes / pageBytes)); err != nil {
		return slot{}, err
	}
	b := x.page[i*slotBytes%pageBytes:]
	return slot{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}, nil
}

func (x *index) set(i uint64, s slot) error {
	if x.file == nil {
		x.mem[i] = s
		return nil
	}
	if err := x.load(int64(i * slotBytes / pageBytes)); err != nil {
		return err
	}
	b := x.page[i*slotBytes%pageBytes:]
	binary.LittleEndian.PutUint64(b, s.hash)
	binary.LittleEndian.PutUint64(b[8:], s.ref)
	x.dirty = true
	return nil
}

// find gives the slot of the entry that has this hash and is the same as the one
// looked for, or else the free one where it belongs.
func (x *index) find(hash uint64, same func(slot) (bool, error)) (i uint64, s slot, err error) {
	for i = hash >> (64 - x.bits); ; i = (i + 1) & (1<<x.bits - 1) {
		if s, err = x.get(i); err != nil || s.ref == 0 {
			return i, s, err
		}
		if s.hash != hash || s.ref == removed {
			continue
		}
		if ok, err := same(s); err != nil || ok {
			return i, s, err
		}
	}
}

// put adds what is in none of the slots yet; there must be room, in memory.
func (x *index) put(s slot) {
	i := s.hash >> (64 - x.bits)
	for x.mem[i].ref != 0 {
		i = (i + 1) & (1<<x.bits - 1)
	}
	x.mem[i] = s
	x.used++
}

// room makes room for one more key.
func (x *index) room() error {
	if (x.used+1)*4 <= 3<<x.bits {
		return nil
	}
	// In the order of the slots what is written is in order too.
	y, err := newIndex(x.dir, x.limit, x.bits+1)
	if err != nil {
		return err
	}
	err = x.each(func(_ uint64, s slot) error {
		i, _, err := y.find(s.hash, func(slot) (bool, error) { return false, nil })
		y.used++
		return errors.Join(err, y.set(i, s))
	})
	if err != nil {
		return errors.Join(err, y.close())
	}
	err = x.close()
	*x = *y
	return err
}

// each calls f for every slot that holds an entry.
func (x *index) each(f func(uint64, slot) error) error {
	for i := range uint64(1) << x.bits {
		s, err := x.get(i)
		if err == nil && !s.empty() {
			err = f(i, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
