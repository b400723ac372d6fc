package sqlite

import (
	"bytes"
	"context"
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
		root, ok := s.indexOf(ctx, x.table, x.column)
		if !ok {
			return false, false
		}
		p, free, ok := s.openPages(ctx)
		if !ok {
			return false, false
		}
		defer free()
		*x.t = texts{entries: entries{pages: p, root: root}}
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

// texts are those that the entries of an index begin with.
type texts struct {
	entries
	last  []byte
	begun bool
}

// all gives every text once, in order, valid until the next. NULL is left out. err is
// set where anything is not as expected: what was given before says nothing then.
func (t *texts) all() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		t.each(func(record []byte) bool {
			kind, text, ok := field(record, 0)
			null := kind == 0
			switch {
			case !ok || !null && !isText(kind) || t.begun && (null || bytes.Compare(text, t.last) < 0): // NULL comes before all texts
				return t.odd()
			case null || t.begun && bytes.Equal(text, t.last):
				return true
			}
			t.begun, t.last = true, append(t.last[:0], text...)
			return yield(t.last)
		})
	}
}
