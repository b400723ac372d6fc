package sqlite

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"

	"outgrow/pipeline"
)

// Read yields the rows of a part in the order of their rowid; the cursor is
// the rowid of the last row, in decimal. Rows are as found: nil, int64,
// float64, string (any bytes) or []byte, by storage class.
//
// The connection is held while a batch is read, not while it is worked on.
func (s *Source) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Row], error] {
	return s.read(ctx, part, after, nil)
}

// read reads a part; with sift not nil, without the rows that are the same.
func (s *Source) read(ctx context.Context, part pipeline.Part, after pipeline.Cursor, sift *sifter) iter.Seq2[pipeline.Batch[*pipeline.Row], error] {
	return func(yield func(pipeline.Batch[*pipeline.Row], error) bool) {
		fail := func(err error) {
			yield(pipeline.Batch[*pipeline.Row]{}, &pipeline.Error{Op: "reading table", Unit: part.Unit.Name, Err: err})
		}
		rd, err := s.reader(part.Unit.Name)
		if err != nil {
			fail(err)
			return
		}
		from, err := rowid(part.From, math.MinInt64)
		if err != nil {
			fail(err)
			return
		}
		to, err := rowid(part.To, math.MaxInt64)
		if err != nil {
			fail(err)
			return
		}
		at, err := rowid(after, from)
		if err != nil {
			fail(err)
			return
		}
		if rd.sift = sift; sift != nil {
			g := s.glance(ctx, rd.table)
			defer g.close()
			rd.glance = g
		}
		prev := after
		for {
			if err := ctx.Err(); err != nil {
				fail(err)
				return
			}
			batch, last, more, err := rd.batch(at, to)
			if err != nil {
				fail(openError(s.path, err))
				return
			}
			if batch.Read == 0 {
				return
			}
			batch.Part, batch.Prev = part, prev
			batch.Next = pipeline.Cursor(strconv.FormatInt(last, 10))
			prev, at = batch.Next, last
			if !yield(batch, nil) || !more {
				return
			}
		}
	}
}

func rowid(c pipeline.Cursor, otherwise int64) (int64, error) {
	if c == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(string(c), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("understanding cursor %q: it is no rowid", c)
	}
	return n, nil
}

// reader reads one table.
type reader struct {
	s     *Source
	table *pipeline.Table
	sql   string
	sift  *sifter // nil: every row is handed over
	// glance, where it is not nil, finds rows that are the same without SQLite.
	glance *glance
}

func (s *Source) reader(name string) (*reader, error) {
	t, header, err := s.headed(name)
	if err != nil {
		return nil, err
	}
	// The unary plus takes the declared type away, by which the driver would
	// convert dates and booleans. The lower bound is exclusive; -2^63 as a
	// rowid would be missed and does not occur.
	sql := fmt.Sprintf("SELECT %s, %s FROM %s WHERE %[1]s > ? AND %[1]s <= ? ORDER BY %[1]s",
		t.rowid, selection(header.Columns), ident(name))
	return &reader{s: s, table: header, sql: sql}, nil
}

func selection(columns []string) string {
	return join(columns, ", ", func(c string) string { return "+" + ident(c) })
}

// headed is a table that can be read, with its header.
func (s *Source) headed(name string) (*TableInfo, *pipeline.Table, error) {
	t, err := s.readable(name)
	if err != nil {
		return nil, nil, err
	}
	h, err := s.header(t)
	return t, h, err
}

// header is what the rows of a table share, with the caller's columns and key.
func (s *Source) header(t *TableInfo) (*pipeline.Table, error) {
	s.mu.Lock()
	want, restricted := s.cols[t.Name]
	key, override := s.keys[t.Name]
	s.mu.Unlock()
	h := &pipeline.Table{Name: t.Name}
	if !restricted {
		for _, c := range t.Columns {
			want = append(want, c.Name)
		}
	}
	for _, c := range want {
		if t.has(c) {
			h.Columns = append(h.Columns, c)
		}
	}
	if !override {
		key = t.Key
	}
	for _, k := range key {
		i := slices.Index(h.Columns, k)
		if i < 0 {
			return nil, fmt.Errorf("reading table %s: its key column %s is not read", t.Name, k)
		}
		h.Key = append(h.Key, i)
	}
	if len(h.Key) == 0 {
		return nil, fmt.Errorf("reading table %s: it has no primary key", t.Name)
	}
	return h, nil
}

// Keys lists the keys of a table.
func (s *Source) Keys(ctx context.Context, unit pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		t, h, err := s.headed(unit.Name)
		if err != nil {
			yield("", err)
			return
		}
		slim := keysOf(h)
		for row, err := range s.scan(ctx, t, selection(slim.Columns), "") {
			if err != nil {
				yield("", err)
				return
			}
			if !yield((&pipeline.Row{Table: slim, Values: row}).Key(), nil) {
				return
			}
		}
	}
}

// scan yields rows of expressions over a table in rowid order, thousand by
// thousand, so that the connection is free while the caller works.
func (s *Source) scan(ctx context.Context, t *TableInfo, expressions, where string) iter.Seq2[[]any, error] {
	if where != "" {
		where = " AND (" + where + ")"
	}
	sql := fmt.Sprintf("SELECT %s, %s FROM %s WHERE %[1]s > ?%[4]s ORDER BY %[1]s LIMIT 1000", t.rowid, expressions, ident(t.Name), where)
	return func(yield func([]any, error) bool) {
		for at := int64(math.MinInt64); ; {
			var rows [][]any
			err := s.each(ctx, sql, func(v []any) error {
				at = v[0].(int64)
				rows = append(rows, slices.Clone(v[1:]))
				return nil
			}, at)
			if err != nil {
				yield(nil, openError(s.path, err))
				return
			}
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
			if len(rows) < 1000 {
				return
			}
		}
	}
}
