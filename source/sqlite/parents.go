package sqlite

import (
	"bytes"
	"context"
	"encoding/binary"
	"iter"
	"math"
)

// merged compares the texts of a column with those of the column that they refer to,
// both in the order of an index, in the file itself: a fraction of what SQLite takes
// for it. Not sure: SQLite is to be asked.
func (s *Source) merged(ctx context.Context, table, column, parent, key string) (all, sure bool) {
	if s.mode != Stopped || s.cfg.plain {
		return false, false
	}
	var children, parents texts
	for _, x := range []struct {
		t             *texts
		table, column string
	}{{&children, table, column}, {&parents, parent, key}} {
		g := &glance{}
		defer g.close()
		root, ok := s.indexOf(ctx, x.table, x.column)
		if !ok || !s.openPages(ctx, g) {
			return false, false
		}
		*x.t = texts{pages: g.tree.pages, usable: g.tree.usable, root: root}
	}
	next, stop := iter.Pull(parents.all())
	defer stop()
	at, more := next()
	all = true
	for child := range children.all() {
		for more && bytes.Compare(at, child) < 0 {
			at, more = next()
		}
		if all = more && bytes.Equal(at, child); !all {
			break
		}
	}
	return all, children.err == nil && parents.err == nil && ctx.Err() == nil && s.quiet() == nil
}

// indexOf gives the root of an index over all rows of a table that has them in the
// order of this column's bytes.
func (s *Source) indexOf(ctx context.Context, table, column string) (root uint32, ok bool) {
	n, err := s.number(ctx, `SELECT ifnull((SELECT s.rootpage FROM pragma_index_list(`+literal(table)+`) AS l, pragma_index_xinfo(l.name) AS x, main.sqlite_schema AS s
		WHERE l.partial = 0 AND x.seqno = 0 AND x.name = `+literal(column)+` AND x.coll = 'BINARY' AND x."desc" = 0 AND s.type = 'index' AND s.name = l.name
		ORDER BY s.rootpage LIMIT 1), 0)`)
	return uint32(n), err == nil && n > 1 && n <= math.MaxUint32
}

// texts walks an index whose entries begin with a text. Format:
// https://www.sqlite.org/fileformat2.html section 1.6.
type texts struct {
	pages  *pages
	usable int
	root   uint32
	levels [20]level
	read   uint32 // pages
	last   []byte
	begun  bool
	err    error
}

const (
	interiorIndexPage = 2
	leafIndexPage     = 10
)

// all gives every text once, in order, valid until the next. NULL is left out. err is
// set where anything is not as expected: what was given before says nothing then.
func (t *texts) all() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) { t.walk(t.root, 0, yield) }
}

// walk goes through a page and those below. It gives false at the end of all.
func (t *texts) walk(number uint32, depth int, yield func([]byte) bool) bool {
	if t.read++; depth == len(t.levels) || t.read > t.pages.count { // none comes twice
		return t.odd()
	}
	page, err := t.pages.page(number, 0)
	l := &t.levels[depth]
	if err == nil {
		err = l.lay(page, interiorIndexPage, leafIndexPage, t.usable)
	}
	if err != nil || l.cells == 0 && depth > 0 {
		return t.odd()
	}
	for i := range l.cells {
		at, err := l.offset(i, t.usable)
		if err != nil {
			return t.odd()
		}
		if !l.leaf {
			if !t.walk(binary.BigEndian.Uint32(l.page[at:]), depth+1, yield) {
				return false
			}
			at += 4
		}
		if !t.cell(l.page[at:t.usable], yield) {
			return false
		}
	}
	return l.leaf || t.walk(binary.BigEndian.Uint32(l.page[8:]), depth+1, yield)
}

// odd ends the walk.
func (t *texts) odd() bool {
	t.err = errOdd
	return false
}

// cell gives the text that an entry begins with, unless it is the last one again.
func (t *texts) cell(b []byte, yield func([]byte) bool) bool {
	text, null, ok := t.first(b)
	switch {
	case !ok || t.begun && (null || bytes.Compare(text, t.last) < 0): // NULL comes before all texts
		return t.odd()
	case null || t.begun && bytes.Equal(text, t.last):
		return true
	}
	t.begun, t.last = true, append(t.last[:0], text...)
	return yield(t.last)
}

// first gives the first value of an entry. Not ok: it is no text, or the entry is too
// long for its page, or damaged.
func (t *texts) first(b []byte) (text []byte, null, ok bool) {
	size, n := varint(b)
	if n == 0 || size > uint64(len(b)-n) || size > uint64((t.usable-12)*64/255-23) {
		return nil, false, false
	}
	record := b[n : n+int(size)]
	head, m := varint(record)
	if m == 0 || head > size || head <= uint64(m) {
		return nil, false, false
	}
	kind, k := varint(record[m:head])
	width, _ := widthOf(kind)
	if k == 0 || width > len(record)-int(head) {
		return nil, false, false
	}
	return record[head : int(head)+width], kind == 0, kind == 0 || kind >= kindBytes && kind%2 == 1
}
