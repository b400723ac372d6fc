package sqlite

import (
	"errors"
	"io"
)

// errOdd says that a file is not laid out as expected: SQLite is to read it, and to
// say what is wrong, if anything is.
var errOdd = errors.New("the file is not laid out as expected")

const (
	// stretchMost is how many bytes are read at a time, at the most.
	stretchMost = 256 << 10
	stretches   = 4
)

// pages reads single pages of a database file that nobody writes to. A table's pages
// mostly come in the order of the file, but those of other tables and of indexes lie
// between: as much is read at a time as is then used.
type pages struct {
	file  io.ReaderAt
	size  int64 // of a page
	bytes int64 // of all pages
	held  [stretches]stretch
	last  *stretch
	clock int
}

// stretch is a piece of the file.
type stretch struct {
	buf     []byte
	base, n int64 // what of the file is in buf
	asked   int64 // bytes of it that were asked for
	want    int64 // how much was to be read
	used    int   // when
}

// page gives a page, valid until the next call. More bytes than its own may follow
// that will be asked for next.
func (p *pages) page(number uint32, follow int64) ([]byte, error) {
	at := (int64(number) - 1) * p.size
	if number < 2 || at+p.size > p.bytes { // the first page is the schema's
		return nil, errOdd
	}
	s := p.last
	if s == nil || !s.holds(at, p.size) {
		var err error
		if s, err = p.find(at, follow); err != nil {
			return nil, err
		}
		p.last = s
	}
	s.asked += p.size
	return s.buf[at-s.base:][:p.size], nil
}

func (s *stretch) holds(at, n int64) bool { return at >= s.base && at+n <= s.base+s.n }

// find gives the stretch that holds a page, and reads it where none does.
func (p *pages) find(at, follow int64) (*stretch, error) {
	p.clock++
	oldest, before := &p.held[0], (*stretch)(nil)
	for i := range p.held {
		s := &p.held[i]
		if s.holds(at, p.size) {
			s.used = p.clock
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
		s.want = p.size
	case 4*s.asked >= 3*(at-s.base):
		s.want *= 2
	default:
		s.want /= 2
	}
	s.want = max(min(s.want, stretchMost), p.size)
	s.used = p.clock
	n := min(max(s.want, min(follow, stretchMost)), p.bytes-at)
	if int64(cap(s.buf)) < n {
		s.buf = make([]byte, max(n, min(4*p.size, stretchMost)))
	}
	s.base, s.n, s.asked = at, 0, 0
	if _, err := p.file.ReadAt(s.buf[:n], at); err != nil {
		return nil, errOdd
	}
	s.n = n
	return s, nil
}
