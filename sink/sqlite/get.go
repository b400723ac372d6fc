package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"outgrow/mappings/pg"
	"outgrow/mappings/rows"
	"outgrow/pipeline"
)

// Get fetches rows by their keys, as Row.Key makes them, in their storage
// classes and with the table's columns.
func (s *Sink) Get(ctx context.Context, unit pipeline.Unit, keys []string) (map[string]*pipeline.Row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.ready(ctx, unit)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*pipeline.Row, len(keys))
	asked := make(map[string]bool, len(keys))
	for _, k := range keys {
		asked[k] = true
	}
	h := t.header()
	for part := range slices.Chunk(keys, chunk) {
		where, args := t.having("", part)
		query := "SELECT " + plain("", h.Columns) + " FROM " + ident(t.name) + " WHERE " + where
		err := each(ctx, s.conn, query, args, func(r *sql.Rows) error {
			row, err := scanRow(r, h)
			if err == nil && asked[row.Key()] {
				out[row.Key()] = row
			}
			return err
		})
		if err != nil {
			return nil, classify("reading "+unit.ID()+" by key", err)
		}
	}
	return out, nil
}

// chunk is how many keys are asked for at once, so that SQLite takes the
// parameters.
const chunk = 400

// having is the condition that a row of the table, whose columns have this
// prefix, has one of the keys. Text that is compared with a column of numbers is
// converted by SQLite.
func (t *table) having(prefix string, keys []string) (string, []any) {
	same := make([]string, len(t.key))
	for i, k := range t.key {
		same[i] = prefix + ident(k) + " = ?"
	}
	var terms []string
	var args []any
	for _, k := range keys {
		for _, piece := range pg.KeyPieces(k, len(t.key)) {
			terms = append(terms, "("+strings.Join(same, " AND ")+")")
			for _, v := range piece {
				args = append(args, v)
			}
		}
	}
	if len(terms) == 0 {
		return "0", nil
	}
	return "(" + strings.Join(terms, " OR ") + ")", args
}

// Keys lists the keys of a table, page by page, so that other calls may come
// between.
func (s *Sink) Keys(ctx context.Context, unit pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for at := int64(math.MinInt64); ; {
			keys, last, err := s.page(ctx, unit, at)
			if err != nil {
				yield("", classify("listing the keys of "+unit.ID(), err))
				return
			}
			for _, k := range keys {
				if !yield(k, nil) {
					return
				}
			}
			if len(keys) < page {
				return
			}
			at = last
		}
	}
}

const page = 1000

func (s *Sink) page(ctx context.Context, unit pipeline.Unit, after int64) (keys []string, last int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.ready(ctx, unit)
	if err != nil {
		return nil, 0, err
	}
	h := &pipeline.Table{Name: t.name, Columns: t.key}
	for i := range t.key {
		h.Key = append(h.Key, i)
	}
	query := "SELECT rowid, " + plain("", t.key) + " FROM " + ident(t.name) + fmt.Sprintf(" WHERE rowid > ? ORDER BY rowid LIMIT %d", page)
	err = each(ctx, s.conn, query, []any{after}, func(r *sql.Rows) error {
		row, err := scanRow(r, h, &last)
		if err == nil {
			keys = append(keys, row.Key())
		}
		return err
	})
	return keys, last, err
}

// Equal lists how two rows with the same key differ. Columns that only one side
// has do not count.
func Equal(_ context.Context, _ pipeline.Unit, want, got *pipeline.Row) ([]pipeline.Field, error) {
	var out []pipeline.Field
	for i, c := range want.Table.Columns {
		k := slices.Index(got.Table.Columns, c)
		if k < 0 || rows.SameSQLite(stored(want.Values[i]), got.Values[k]) {
			continue
		}
		out = append(out, pipeline.Field{Column: c, Want: want.Values[i], Got: got.Values[k], Detail: "source " + shape(want.Values[i]) + ", target " + shape(got.Values[k])})
	}
	return out, nil
}

// shape describes a value without showing it: people's chats do not belong in a
// report.
func shape(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return fmt.Sprintf("text of %d bytes (%.12s)", len(v), pipeline.Digest(v))
	case []byte:
		return fmt.Sprintf("blob of %d bytes (%.12s)", len(v), pipeline.Digest(v))
	}
	return fmt.Sprintf("%T (%.12s)", v, pipeline.Digest(v))
}
