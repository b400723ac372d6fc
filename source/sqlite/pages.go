package sqlite

import (
	"errors"
	"io"
)

// errOdd says that a file is not laid out as expected: SQLite is to read it, and to
// say what is wrong, if anything is.
var errOdd = errors.New("the file is not laid out as expected")

// pages reads single pages of a database that nobody writes to.
type pages struct {
	size  int64 // of a page, in bytes
	count uint32
	file  window
	// Those that the -wal holds newer are there.
	wal    window
	frames map[uint32]uint32
}

// page gives a page, valid until the next call. It may be followed by more bytes that
// will be asked for next.
func (p *pages) page(number uint32, follow int64) ([]byte, error) {
	if number < 1 || number > p.count {
		return nil, errOdd
	}
	if frame, ok := p.frames[number]; ok {
		return p.wal.at(walHeader+int64(frame)*(frameHeader+p.size)+frameHeader, p.size, follow)
	}
	return p.file.at((int64(number)-1)*p.size, p.size, follow)
}

const (
	// stretchMost is how many bytes are read at a time, at the most.
	stretchMost = 256 << 10
	stretches   = 4
)

// window reads pieces of a file. A table's pages mostly come in the order of the file,
// but those of other tables and of indexes lie between: as much is read at a time as
// is then used.
type window struct {
	file  io.ReaderAt
	bytes int64 // of the file
	held  [stretches]stretch
	last  *stretch
	clock int
}

// stretch is what a window holds in memory of one place of the file.
type stretch struct {
	buf     []byte
	base, n int64 // what of the file is in buf
	asked   int64 // bytes of it that were asked for
	want    int64 // how much was to be read
	used    int   // when
}

func (s *stretch) holds(at, n int64) bool { return at >= s.base && at+n <= s.base+s.n }

// at gives n bytes of the file, valid until the next call.
func (w *window) at(at, n, follow int64) ([]byte, error) {
	if at+n > w.bytes {
		return nil, errOdd
	}
	s := w.last
	if s == nil || !s.holds(at, n) {
		var err error
		if s, err = w.find(at, n, follow); err != nil {
			return nil, err
		}
		w.last = s
	}
	s.asked += n
	return s.buf[at-s.base:][:n], nil
}

// find gives the stretch that holds n bytes, and reads it where none does.
func (w *window) find(at, n, follow int64) (*stretch, error) {
	w.clock++
	oldest, before := &w.held[0], (*stretch)(nil)
	for i := range w.held {
		s := &w.held[i]
		if s.holds(at, n) {
			s.used = w.clock
			return s, nil
		}
		if end := s.base + s.n; s.n > 0 && at >= end && at-end <= aheadGap {
			before = s
		}
		if s.used < oldest.used {
			oldest = s
		}
	}
	s := before
	switch {
	case s == nil:
		s = oldest
		s.want = n
	case 4*s.asked >= 3*(at-s.base):
		s.want *= 2
	default:
		s.want /= 2
	}
	s.want = max(min(s.want, stretchMost), n)
	s.used = w.clock
	read := min(max(s.want, min(follow, stretchMost)), w.bytes-at)
	if int64(cap(s.buf)) < read {
		s.buf = make([]byte, max(read, min(4*n, stretchMost)))
	}
	s.base, s.n, s.asked = at, 0, 0
	if _, err := w.file.ReadAt(s.buf[:read], at); err != nil {
		return nil, errOdd
	}
	s.n = read
	return s, nil
}
