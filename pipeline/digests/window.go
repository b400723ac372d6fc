package digests

import "os"

// windowBytes is how much of the log is read at a time: passes meet the records
// in the order in which they were kept. An entry that begins in a window mostly
// ends in it or its margin.
const (
	windowBytes  = 16 << 10
	windowMargin = 2 << 10
)

// window is a piece of the log in memory.
type window struct {
	base int64
	data []byte
	used uint64 // when it was last read
}

// windows are the pieces of the log read last, one for every part that is being
// read and some more.
type windows struct {
	list [16]window
	one  []byte
	tick uint64
}

// single gives the entry at this offset without a window, for those that are read
// in no order.
func (l *windows) single(f *os.File, size, at int64) (entry, error) {
	if l.one == nil {
		l.one = make([]byte, 512)
	}
	b := l.one[:min(size-at, int64(len(l.one)))]
	if _, err := f.ReadAt(b, at); err != nil {
		return entry{}, err
	}
	if e, n := decode(b); n > 0 {
		e.at = at
		return e, nil
	}
	return l.read(f, size, at)
}

// read gives the entry at this offset.
func (l *windows) read(f *os.File, size, at int64) (entry, error) {
	base := at &^ (windowBytes - 1)
	whole := min(size-base, windowBytes+windowMargin)
	l.tick++
	w := &l.list[0]
	for i := range l.list {
		c := &l.list[i]
		if c.base == base && int64(len(c.data)) > 0 {
			w = c
			break
		}
		if c.used < w.used {
			w = c
		}
	}
	w.used = l.tick
	if w.base != base || int64(len(w.data)) < whole { // another one, or the log has grown
		if w.data == nil {
			w.data = make([]byte, 0, windowBytes+windowMargin)
		}
		w.base, w.data = base, w.data[:whole]
		if _, err := f.ReadAt(w.data, base); err != nil {
			w.data = w.data[:0]
			return entry{}, err
		}
	}
	e, n := decode(w.data[at-base:])
	for room := int64(64 << 10); n == 0; room *= 8 { // a very long key
		b := make([]byte, min(room, size-at))
		if _, err := f.ReadAt(b, at); err != nil {
			return e, err
		}
		if e, n = decode(b); n == 0 && int64(len(b)) == size-at {
			return e, errDamaged
		}
	}
	e.at = at
	return e, nil
}
