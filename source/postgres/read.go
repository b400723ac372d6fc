package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// A cursor is the JSON array of a row's primary key, each value as text.

// Read yields a part in the order of its primary key, text by its bytes. All of
// it is seen as it was when Read began, or when the snapshot was taken.
func (s *Source) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Row], error] {
	return func(yield func(pipeline.Batch[*pipeline.Row], error) bool) {
		if after == "" {
			after = part.From
		}
		r := &reading{limits: s.cfg.Limits, batch: pipeline.Batch[*pipeline.Row]{Part: part, Prev: after}, yield: yield}
		if err := s.read(ctx, r); err != nil {
			yield(pipeline.Batch[*pipeline.Row]{}, pg.Classify("reading "+part.Unit.ID(), err))
		}
	}
}

// reading is one part being read.
type reading struct {
	*table
	limits pipeline.Limits
	batch  pipeline.Batch[*pipeline.Row] // being filled
	last   []string                      // key of its last row
	yield  func(pipeline.Batch[*pipeline.Row], error) bool
	over   bool // yield has said no
}

// read returns nil once yield has said no.
func (s *Source) read(ctx context.Context, r *reading) (err error) {
	if r.table, err = s.open(ctx, r.batch.Part.Unit); err != nil {
		return err
	}
	where, args, err := r.bounds()
	if err != nil {
		return err
	}
	// Stopping early must not read the rest of the table: it ends the connection.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = s.transaction(ctx, func(tx pgx.Tx) error {
		if r.direct {
			return r.inOrder(ctx, cancel, tx, where, args)
		}
		return r.byKeys(ctx, cancel, tx, where, args)
	})
	if err == nil && !r.over && len(r.batch.Records) > 0 {
		r.emit()
	}
	return err
}

// bounds is the condition of what the part has behind the cursor.
func (r *reading) bounds() (where string, args []any, err error) {
	for _, b := range []struct {
		op string
		at pipeline.Cursor
	}{{">", r.batch.Prev}, {"<=", r.batch.Part.To}} {
		if b.at == "" {
			continue
		}
		var key []string
		if err := json.Unmarshal([]byte(b.at), &key); err != nil || len(key) != len(r.order) {
			return "", nil, fmt.Errorf("the cursor %q is not of this table", b.at)
		}
		words := make([]string, len(key))
		for i, v := range key {
			args = append(args, v)
			words[i] = fmt.Sprintf("$%d::text::%s", len(args), pg.CastOf(r.order[i].Column))
		}
		if where == "" {
			where = " WHERE "
		} else {
			where += " AND "
		}
		where += "(" + r.orderBy("t.") + ") " + b.op + " (" + strings.Join(words, ", ") + ")"
	}
	return where, args, nil
}

// inOrder reads the rows with one query.
func (r *reading) inOrder(ctx context.Context, cancel context.CancelFunc, tx pgx.Tx, where string, args []any) error {
	if !r.sorts {
		// The primary key's index gives the order; sorting wide rows would spill.
		if _, err := tx.Exec(ctx, "SET LOCAL enable_sort = off"); err != nil {
			return err
		}
	}
	return r.query(ctx, cancel, tx, "SELECT "+r.reader.Select("t")+", "+r.texts("t.")+" FROM "+r.name+" t"+where+" ORDER BY "+r.orderBy("t."), args)
}

// byKeys lets the server sort the keys alone, and reads the rows of one page of
// them after the other.
func (r *reading) byKeys(ctx context.Context, cancel context.CancelFunc, tx pgx.Tx, where string, args []any) error {
	// All keys are wanted, not the first ones soon.
	if _, err := tx.Exec(ctx, `SET LOCAL cursor_tuple_fraction = 1;
		SELECT set_config('work_mem', '32MB', true) WHERE pg_size_bytes(current_setting('work_mem')) < pg_size_bytes('32MB')`); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DECLARE keys NO SCROLL CURSOR FOR SELECT "+r.texts("t.")+" FROM "+r.name+" t"+where+" ORDER BY "+r.orderBy("t."), args...); err != nil {
		return err
	}
	// A page must not be found by reading the whole table.
	if _, err := tx.Exec(ctx, "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"); err != nil {
		return err
	}
	arrays, names, same := make([]string, len(r.order)), make([]string, len(r.order)), make([]string, len(r.order))
	for i, o := range r.order {
		names[i] = fmt.Sprintf("k%d", i)
		arrays[i] = fmt.Sprintf("$%d::text[]::%s[]", i+1, pg.CastOf(o.Column))
		same[i] = "t." + pg.Ident(o.Name) + " = k." + names[i]
	}
	sql := "SELECT " + r.reader.Select("t") + ", " + r.texts("t.") + " FROM unnest(" + strings.Join(arrays, ", ") + ") WITH ORDINALITY AS k(" + strings.Join(names, ", ") +
		", n) JOIN " + r.name + " t ON " + strings.Join(same, " AND ") + " ORDER BY k.n"
	for {
		keys, n, err := r.page(ctx, tx)
		if err != nil || n == 0 {
			return err
		}
		if err := r.query(ctx, cancel, tx, sql, keys); err != nil || r.over {
			return err
		}
		if n < chunk {
			return nil
		}
	}
}

// page fetches the next keys, column by column.
func (r *reading) page(ctx context.Context, tx pgx.Tx) (columns []any, n int, err error) {
	rows, err := tx.Query(ctx, fmt.Sprintf("FETCH %d FROM keys", chunk), pgx.QueryExecModeExec)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	lists := make([][]string, len(r.order))
	for rows.Next() {
		for i, v := range rows.RawValues() {
			lists[i] = append(lists[i], string(v))
		}
		n++
	}
	for _, l := range lists {
		columns = append(columns, l)
	}
	return columns, n, rows.Err()
}

// query takes the rows of a query, whose last columns are the key's texts, into
// batches.
func (r *reading) query(ctx context.Context, cancel context.CancelFunc, tx pgx.Tx, sql string, args []any) error {
	rows, err := tx.Query(ctx, sql, append([]any{r.reader.Formats()}, args...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		row, err := r.reader.Row(raw)
		if err != nil {
			return err
		}
		r.last = r.last[:0]
		for _, k := range raw[len(r.reader.Table.Columns):] {
			r.last = append(r.last, string(k))
		}
		r.batch.Records = append(r.batch.Records, row)
		r.batch.Bytes += int64(row.Size())
		if len(r.batch.Records) < r.limits.Records && r.batch.Bytes < r.limits.Bytes {
			continue
		}
		if r.emit(); r.over {
			cancel()
			return nil
		}
		// The rest of the rows may be in memory already.
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return rows.Err()
}

// emit yields the batch and begins the next one.
func (r *reading) emit() {
	b := r.batch
	body, _ := json.Marshal(r.last) // text from PostgreSQL is UTF-8
	b.Next, b.Read = pipeline.Cursor(body), len(b.Records)
	r.batch = pipeline.Batch[*pipeline.Row]{Part: b.Part, Prev: b.Next}
	r.over = !r.yield(b, nil)
}
