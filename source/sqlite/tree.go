package sqlite

import (
	"encoding/binary"
	"math"
)

// tree walks the b-tree of a table in the order of its rowids. It takes nothing for
// granted: what does not fit is errOdd. Format:
// https://www.sqlite.org/fileformat2.html section 1.6.
type tree struct {
	pages  *pages
	root   uint32
	usable int // bytes of a page, without those reserved for extensions
	levels [20]level
	depth  int
	last   int64 // the row that it is at
	begun  bool
	cell   cell
	long   []byte // the record of a row that is not on its leaf alone
}

// level is a page between the root and the row.
type level struct {
	number uint32 // 0: none
	page   []byte
	leaf   bool
	array  int // where the offsets of the cells begin
	cells  int
	next   int   // cell or child
	most   int64 // no rowid below is greater
}

// cell is a row on its leaf.
type cell struct {
	bytes    int // of its record
	local    []byte
	overflow uint32 // the page on which the rest begins, or 0
}

const (
	interiorPage = 5
	leafPage     = 13
	// longest is how long a record is that is put together here, in bytes.
	longest = 4 << 20
)

// seek goes to where the first row behind a rowid is the next one.
func (t *tree) seek(after int64) error {
	if t.begun && t.last == after {
		return nil
	}
	t.depth, t.last, t.begun = 0, after, false
	number, most := t.root, int64(math.MaxInt64)
	for {
		l, err := t.enter(number, most)
		if err != nil {
			return err
		}
		if l.next, err = l.behind(after, t.usable); err != nil {
			return err
		}
		if l.leaf {
			t.begun = true
			return nil
		}
		if number, most, err = l.child(l.next, t.usable); err != nil {
			return err
		}
		l.next++
	}
}

// next goes to the next row.
func (t *tree) next() (bool, error) {
	for t.depth > 0 {
		l := &t.levels[t.depth-1]
		switch {
		case l.leaf && l.next < l.cells:
			return true, t.take(l)
		case !l.leaf && l.next <= l.cells:
			number, most, err := l.child(l.next, t.usable)
			if err != nil {
				return false, err
			}
			l.next++
			if _, err := t.enter(number, most); err != nil {
				return false, err
			}
		default:
			t.depth--
		}
	}
	return false, nil
}

// enter goes down to a page.
func (t *tree) enter(number uint32, most int64) (*level, error) {
	if t.depth == len(t.levels) {
		return nil, errOdd
	}
	l := &t.levels[t.depth]
	if l.number != number {
		l.number = 0
		page, err := t.pages.page(number, 0)
		if err != nil {
			return nil, err
		}
		// Only the root of an empty table has no cells, so every page gives a rowid and
		// none can come twice.
		if err := l.lay(page, interiorPage, leafPage, t.usable); err != nil || l.cells == 0 && t.depth > 0 {
			return nil, errOdd
		}
		l.number = number
	}
	t.depth++
	l.next, l.most = 0, most
	return l, nil
}

// lay keeps a page, of one of two types, and tells how it is laid out.
func (l *level) lay(page []byte, interior, leaf byte, usable int) error {
	l.page = append(l.page[:0], page...) // others are read while it is needed
	switch page[0] {
	case interior:
		l.leaf, l.array = false, 12
	case leaf:
		l.leaf, l.array = true, 8
	default:
		return errOdd
	}
	if l.cells = int(binary.BigEndian.Uint16(page[3:])); l.array+2*l.cells > usable {
		return errOdd
	}
	return nil
}

// behind finds the first cell whose rowid is greater.
func (l *level) behind(rowid int64, usable int) (int, error) {
	lo, hi := 0, l.cells
	for lo < hi {
		mid := (lo + hi) / 2
		var key int64
		var err error
		if l.leaf {
			key, _, _, err = l.row(mid, usable)
		} else {
			_, key, err = l.child(mid, usable)
		}
		switch {
		case err != nil:
			return 0, err
		case key > rowid:
			hi = mid
		default:
			lo = mid + 1
		}
	}
	return lo, nil
}

func (l *level) offset(i, usable int) (int, error) {
	at := int(binary.BigEndian.Uint16(l.page[l.array+2*i:]))
	if at < l.array+2*l.cells || at > usable-4 {
		return 0, errOdd
	}
	return at, nil
}

// child gives a page below, and the greatest rowid that may be there.
func (l *level) child(i, usable int) (page uint32, most int64, err error) {
	if i == l.cells {
		return binary.BigEndian.Uint32(l.page[8:]), l.most, nil
	}
	at, err := l.offset(i, usable)
	if err != nil {
		return 0, 0, err
	}
	key, n := varint(l.page[at+4 : usable])
	if n == 0 {
		return 0, 0, errOdd
	}
	return binary.BigEndian.Uint32(l.page[at:]), int64(key), nil
}

// row gives a cell's rowid, the bytes of its record, and where that begins.
func (l *level) row(i, usable int) (rowid int64, bytes, at int, err error) {
	at, err = l.offset(i, usable)
	if err != nil {
		return 0, 0, 0, err
	}
	size, n := varint(l.page[at:usable])
	id, m := varint(l.page[at+n : usable])
	if n == 0 || m == 0 || size > math.MaxInt32 {
		return 0, 0, 0, errOdd
	}
	return int64(id), int(size), at + n + m, nil
}

// take goes to the next cell of a leaf.
func (t *tree) take(l *level) error {
	id, size, at, err := l.row(l.next, t.usable)
	if err != nil {
		return err
	}
	if id <= t.last || id > l.most {
		return errOdd
	}
	l.next++
	t.last = id
	local, overflow := size, uint32(0)
	if most := t.usable - 35; size > most {
		least := (t.usable-12)*32/255 - 23
		if local = least + (size-least)%(t.usable-4); local > most {
			local = least
		}
		if at+local+4 > t.usable {
			return errOdd
		}
		overflow = binary.BigEndian.Uint32(l.page[at+local:])
	}
	if at+local > t.usable {
		return errOdd
	}
	t.cell = cell{size, l.page[at : at+local], overflow}
	return nil
}

// record gives all of the row's record, valid until the next row; it must not be
// longer than longest.
func (t *tree) record() ([]byte, error) {
	c := &t.cell
	if len(c.local) == c.bytes {
		return c.local, nil
	}
	t.long = append(t.long[:0], c.local...)
	room := t.usable - 4
	next := c.overflow
	for rest := c.bytes - len(c.local); rest > 0; rest -= room {
		page, err := t.pages.page(next, int64((rest+room-1)/room)*t.pages.size)
		if err != nil {
			return nil, err
		}
		next = binary.BigEndian.Uint32(page)
		t.long = append(t.long, page[4:4+min(room, rest)]...)
	}
	if next != 0 {
		return nil, errOdd
	}
	return t.long, nil
}

// varint reads a number of one to nine bytes; n is 0 where it has no end.
func varint(b []byte) (v uint64, n int) {
	for i, c := range b[:min(len(b), 9)] {
		if i == 8 {
			return v<<8 | uint64(c), 9
		}
		v = v<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
