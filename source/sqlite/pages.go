package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
)

// errOdd says that a file is not laid out as expected: SQLite is to read it, and to
// say what is wrong, if anything is.
var errOdd = errors.New("the file is not laid out as expected")

// pages reads single pages of a database that nobody writes to.
type pages struct {
	size   int64 // of a page, in bytes
	usable int   // bytes of a page, without those reserved for extensions
	count  uint32
	files  []*os.File
	file   window
	// Those that the -wal holds newer are there.
	wal    window
	frames map[uint32]uint32
}

// openPages opens the database, and its -wal where SQLite reads that too, or gives
// what was opened and is free again. They are one user's at a time, until free.
func (s *Source) openPages(ctx context.Context) (p *pages, free func(), ok bool) {
	s.mu.Lock()
	if n := len(s.pages); n > 0 {
		p, s.pages = s.pages[n-1], s.pages[:n-1]
	}
	s.mu.Unlock()
	if p == nil {
		if p = (&pages{}); !s.fill(ctx, p) {
			p.close()
			return nil, nil, false
		}
	}
	return p, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.db == nil {
			p.close()
			return
		}
		s.pages = append(s.pages, p)
	}, true
}

// fill opens the files.
func (s *Source) fill(ctx context.Context, p *pages) bool {
	open := func(path string, w *window, size, mtime int64) bool {
		f, err := os.Open(path) // closing it drops no lock: there is none
		if err != nil {
			return false
		}
		p.files = append(p.files, f)
		info, err := f.Stat()
		w.file, w.bytes = f, size
		return err == nil && info.Size() == size && info.ModTime().UnixNano() == mtime
	}
	count, err := s.number(ctx, "PRAGMA page_count")
	if err != nil || count > math.MaxUint32 || !open(s.path, &p.file, s.first.size, s.first.mtime) {
		return false
	}
	p.count = uint32(count)
	if s.first.frames > 0 {
		x, err := s.wal()
		if err != nil || x.count > 0 && x.count != p.count || !open(s.path+"-wal", &p.wal, s.first.walSize, s.first.walMtime) {
			return false
		}
		p.size, p.frames = x.size, x.frames
	}
	return p.header()
}

// header reads the database's header, https://www.sqlite.org/fileformat2.html section 1.3.
func (p *pages) header() bool {
	const bytes, utf8 = 100, 1
	h, err := p.file.at(0, bytes, 0)
	if err != nil {
		return false
	}
	size := int64(binary.BigEndian.Uint16(h[16:]))
	if size == 1 {
		size = 65536
	}
	if size < 512 || size&(size-1) != 0 || p.frames != nil && p.size != size {
		return false
	}
	p.size = size
	if h, err = p.page(1, 0); err != nil { // it may be newer in the -wal
		return false
	}
	p.usable = int(size) - int(h[20])
	return p.usable >= 480 && binary.BigEndian.Uint32(h[56:]) == utf8
}

func (p *pages) close() {
	for _, f := range p.files {
		_ = f.Close() // it was only read
	}
	p.files = nil
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
