package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// A cursor is the JSON array of a row's primary key, each value as text.

// Read yields a part in the order of its primary key. All of it is seen as it
// was when Read began.
func (s *Source) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Row], error] {
	return func(yield func(pipeline.Batch[*pipeline.Row], error) bool) {
		if err := s.read(ctx, part, after, yield); err != nil {
			yield(pipeline.Batch[*pipeline.Row]{}, pg.Classify("reading "+part.Unit.ID(), err))
		}
	}
}

// read returns nil once yield has said no.
func (s *Source) read(ctx context.Context, part pipeline.Part, after pipeline.Cursor, yield func(pipeline.Batch[*pipeline.Row], error) bool) error {
	t, err := s.open(part.Unit)
	if err != nil {
		return err
	}
	if after == "" {
		after = part.From
	}
	sql := "SELECT " + t.reader.Select("") + " FROM " + t.name
	var where []string
	args := []any{t.reader.Formats()}
	for _, bound := range []struct {
		op string
		at pipeline.Cursor
	}{{">", after}, {"<=", part.To}} {
		if bound.at == "" {
			continue
		}
		expr, values, err := t.bound(bound.at, len(args))
		if err != nil {
			return err
		}
		where, args = append(where, "("+t.keyList("")+") "+bound.op+" "+expr), append(args, values...)
	}
	if where != nil {
		sql += " WHERE " + strings.Join(where, " AND ")
	}
	// Stopping early must not read the rest of the table: it ends the connection.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	// The primary key's index gives the order; sorting wide rows would spill.
	if _, err := tx.Exec(ctx, "SET LOCAL enable_sort = off"); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, sql+" ORDER BY "+t.keyList(""), args...)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			cancel()
		}
		rows.Close()
	}()
	batch := pipeline.Batch[*pipeline.Row]{Part: part, Prev: after}
	for rows.Next() {
		row, err := t.reader.Row(rows.RawValues())
		if err != nil {
			return err
		}
		batch.Records = append(batch.Records, row)
		batch.Bytes += int64(row.Size())
		if len(batch.Records) < s.cfg.Limits.Records && batch.Bytes < s.cfg.Limits.Bytes {
			continue
		}
		if !s.emit(t, &batch, yield) {
			return nil
		}
		// The rest of the rows may be in memory already.
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	done = true
	if err := rows.Err(); err != nil {
		return err
	}
	if len(batch.Records) > 0 {
		s.emit(t, &batch, yield)
	}
	return nil
}

// emit yields the batch and begins the next one.
func (s *Source) emit(t *table, b *pipeline.Batch[*pipeline.Row], yield func(pipeline.Batch[*pipeline.Row], error) bool) bool {
	b.Next, b.Read = t.cursor(b.Records[len(b.Records)-1]), len(b.Records)
	if !yield(*b, nil) {
		return false
	}
	*b = pipeline.Batch[*pipeline.Row]{Part: b.Part, Prev: b.Next, Records: make([]*pipeline.Row, 0, len(b.Records))}
	return true
}

func (t *table) cursor(r *pipeline.Row) pipeline.Cursor {
	key := make([]string, len(t.keys))
	for i, k := range r.Table.Key {
		key[i] = fmt.Sprint(r.Values[k])
	}
	body, _ := json.Marshal(key) // text from PostgreSQL is UTF-8
	return pipeline.Cursor(body)
}

// bound is the row value of a cursor, with parameters numbered from n.
func (t *table) bound(c pipeline.Cursor, n int) (string, []any, error) {
	var key []string
	if err := json.Unmarshal([]byte(c), &key); err != nil || len(key) != len(t.keys) {
		return "", nil, fmt.Errorf("the cursor %q is not of this table", c)
	}
	exprs, args := make([]string, len(key)), make([]any, len(key))
	for i, v := range key {
		exprs[i], args[i] = fmt.Sprintf("$%d::text::%s", n+i, cast(t.keys[i])), v
	}
	return "(" + strings.Join(exprs, ", ") + ")", args, nil
}

// Split cuts a table into up to n parts of about the same number of rows, by
// keys from a sample of its pages.
func (s *Source) Split(ctx context.Context, unit pipeline.Unit, n int) ([]pipeline.Part, error) {
	t, err := s.open(unit)
	if err != nil {
		return nil, err
	}
	parts := []pipeline.Part{{Unit: unit}}
	if n <= 1 {
		return parts, nil
	}
	percent := 100.0
	if want := float64(n) * 400; unit.Records > 0 && want < float64(unit.Records) {
		percent = max(0.01, 100*want/float64(unit.Records))
	}
	exprs := make([]string, len(t.keys))
	for i, c := range t.keys {
		exprs[i] = pg.Ident(c.Name) + "::text"
	}
	rows, err := s.pool.Query(ctx, fmt.Sprintf("SELECT json_build_array(%s)::text FROM %s TABLESAMPLE SYSTEM (%g) ORDER BY %s",
		strings.Join(exprs, ", "), t.name, percent, t.keyList("")))
	if err != nil {
		return nil, pg.Classify("cutting "+unit.ID(), err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, pg.Classify("cutting "+unit.ID(), err)
	}
	for i := 1; i < n && len(keys) >= 2*n; i++ {
		// PostgreSQL spells the array its own way; a cursor has one spelling.
		var key []string
		if err := json.Unmarshal([]byte(keys[i*len(keys)/n]), &key); err != nil {
			return nil, err
		}
		body, _ := json.Marshal(key)
		last := &parts[len(parts)-1]
		last.To = pipeline.Cursor(body)
		parts = append(parts, pipeline.Part{Unit: unit, N: len(parts), From: last.To})
	}
	return slices.Clip(parts), nil
}
