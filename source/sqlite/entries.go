package sqlite

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
)

// entries walks an index in its order. It takes nothing for granted: err is set where
// anything is not as expected, or an entry is too long for its page. Format:
// https://www.sqlite.org/fileformat2.html section 1.6.
type entries struct {
	pages  *pages
	root   uint32
	levels [20]level
	read   uint32 // pages
	err    error
}

const (
	interiorIndexPage = 2
	leafIndexPage     = 10
)

// each hands the record of every entry to visit, valid until that returns; visit gives
// false to end the walk.
func (e *entries) each(visit func(record []byte) bool) { e.walk(e.root, 0, visit) }

// walk goes through a page and those below. It gives false at the end of all.
func (e *entries) walk(number uint32, depth int, visit func([]byte) bool) bool {
	if e.read++; depth == len(e.levels) || e.read > e.pages.count { // none comes twice
		return e.odd()
	}
	usable := e.pages.usable
	page, err := e.pages.page(number, 0)
	l := &e.levels[depth]
	if err == nil {
		err = l.lay(page, interiorIndexPage, leafIndexPage, usable)
	}
	if err != nil || l.cells == 0 && depth > 0 {
		return e.odd()
	}
	for i := range l.cells {
		at, err := l.offset(i, usable)
		if err != nil {
			return e.odd()
		}
		if !l.leaf {
			if !e.walk(binary.BigEndian.Uint32(l.page[at:]), depth+1, visit) {
				return false
			}
			at += 4
		}
		b := l.page[at:usable]
		size, n := varint(b)
		if n == 0 || size > uint64(len(b)-n) || size > uint64((usable-12)*64/255-23) {
			return e.odd()
		}
		if !visit(b[n : n+int(size)]) {
			return false
		}
	}
	return l.leaf || e.walk(binary.BigEndian.Uint32(l.page[8:]), depth+1, visit)
}

// odd ends the walk.
func (e *entries) odd() bool {
	e.err = errOdd
	return false
}

// field gives a value of a record, as the bytes of its serial type. Format:
// https://www.sqlite.org/fileformat2.html section 2.1.
func field(record []byte, n int) (kind uint64, value []byte, ok bool) {
	head, at := varint(record)
	if at == 0 || head > uint64(len(record)) || head <= uint64(at) {
		return 0, nil, false
	}
	for kinds, begin := record[at:head], int(head); ; n-- {
		kind, k := varint(kinds)
		width, known := widthOf(kind)
		if k == 0 || !known || width > len(record)-begin {
			return 0, nil, false
		}
		if n == 0 {
			return kind, record[begin : begin+width], true
		}
		kinds, begin = kinds[k:], begin+width
	}
}

func isText(kind uint64) bool { return kind >= kindBytes && kind%2 == 1 }

// zeros counts the rows of a table in which a column is zero, by an index over all
// rows that has it: a third of what SQLite takes for it. Not sure: SQLite is to be
// asked.
func (s *Source) zeros(ctx context.Context, table, column string) (n int64, sure bool) {
	if s.mode != Stopped || s.cfg.plain {
		return 0, false
	}
	var root, position int64
	err := s.each(ctx, `SELECT s.rootpage, x.seqno FROM pragma_index_list(`+literal(table)+`) AS l, pragma_index_xinfo(l.name) AS x, main.sqlite_schema AS s
		WHERE l.partial = 0 AND x.name = `+literal(column)+` AND s.type = 'index' AND s.name = l.name ORDER BY s.rootpage LIMIT 1`, func(v []any) error {
		root, _ = v[0].(int64)
		position, _ = v[1].(int64)
		return nil
	})
	if err != nil || root < 2 || root > math.MaxUint32 {
		return 0, false
	}
	p, free, ok := s.openPages(ctx)
	if !ok {
		return 0, false
	}
	defer free()
	e := entries{pages: p, root: uint32(root)}
	e.each(func(record []byte) bool {
		switch kind, value, ok := field(record, int(position)); {
		case !ok || kind == kindReal || kind >= kindBytes:
			return e.odd()
		case kind == kindZero, kind > 0 && kind < kindReal && !slices.ContainsFunc(value, func(b byte) bool { return b != 0 }):
			n++
		}
		return true
	})
	return n, e.err == nil && ctx.Err() == nil && s.quiet() == nil
}
