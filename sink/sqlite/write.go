package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	lib "modernc.org/sqlite/lib"

	"outgrow/mappings/rows"
	"outgrow/pipeline"
)

// Write commits a batch in one transaction. The last batch of the part, when this
// is that one again, is taken back first: what a crash has left of it before its
// cursor was moved, and what a source that changed meanwhile gives in its place.
func (s *Sink) Write(ctx context.Context, batch pipeline.Batch[*pipeline.Row]) (pipeline.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return pipeline.Outcome{}, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	unit := batch.Part.Unit
	t := s.tables[unit.Name]
	if t == nil || unit.Name == versionTable {
		return pipeline.Outcome{}, &pipeline.Error{Op: "writing", Unit: unit.ID(), Err: errors.New("the table was not prepared")}
	}
	var out pipeline.Outcome
	err := s.tx(ctx, func() error {
		if err := s.mine(ctx); err != nil {
			return err
		}
		l := loader{sink: s, unit: unit, table: t}
		if err := l.takeBack(ctx, batch.Part.N, batch.Prev); err != nil {
			return err
		}
		lo, err := l.last(ctx)
		if err != nil {
			return err
		}
		for _, r := range batch.Records {
			if err := l.insert(ctx, r); err != nil {
				return err
			}
		}
		hi, err := l.last(ctx)
		if err != nil {
			return err
		}
		out = l.out
		_, err = s.conn.ExecContext(ctx, "INSERT OR REPLACE INTO "+partTable+" VALUES (?, ?, ?, ?, ?)", unit.ID(), batch.Part.N, []byte(batch.Prev), lo, hi)
		return err
	})
	if err != nil {
		return pipeline.Outcome{}, classify("writing "+unit.ID(), err)
	}
	return out, nil
}

// mine sees that the file is still the unfinished one of this run: another
// process may have ended it, or begun anew.
func (s *Sink) mine(ctx context.Context) error {
	if s.file != s.partial {
		return &pipeline.Error{Op: "writing", Err: errors.New("the database has its name already"), Hint: "run sync to carry over what changed since"}
	}
	is, err := s.owner(ctx, s.conn)
	if err != nil {
		return err
	}
	there, err := inode(s.partial)
	if err == nil && (is != s.token || is == "" || there == "") {
		err = pipeline.ErrFenced
	}
	return err
}

// loader writes rows inside one transaction.
type loader struct {
	sink  *Sink
	unit  pipeline.Unit
	table *table
	// again: rows that are there are the same batch's.
	again bool
	// final: a key that may be cleared is, where its parent is not there.
	final bool
	out   pipeline.Outcome
}

// last is the largest rowid.
func (l *loader) last(ctx context.Context) (int64, error) {
	return one[int64](ctx, l.sink.conn, "SELECT coalesce(max(rowid), 0) FROM "+ident(l.table.name))
}

// takeBack deletes the rows of the part's last batch when that began at prev.
// They are those with the rowids of its transaction, as SQLite gives one more
// than the largest; where the key is the rowid they are written over instead.
func (l *loader) takeBack(ctx context.Context, part int, prev pipeline.Cursor) error {
	var lo, hi int64
	var at []byte
	found := false
	err := each(ctx, l.sink.conn, "SELECT prev, lo, hi FROM "+partTable+" WHERE unit = ? AND n = ?", []any{l.unit.ID(), part}, func(r *sql.Rows) error {
		found = true
		return r.Scan(&at, &lo, &hi)
	})
	if err != nil || !found || string(at) != string(prev) {
		return err
	}
	if l.table.alias {
		l.again = true
		return nil
	}
	_, err = l.sink.conn.ExecContext(ctx, "DELETE FROM "+ident(l.table.name)+" WHERE rowid > ? AND rowid <= ?", lo, hi)
	return err
}

// insert writes a row, or adds it to the refused.
func (l *loader) insert(ctx context.Context, r *pipeline.Row) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if len(r.Values) != len(r.Table.Columns) || len(r.Values) == 0 {
		return &pipeline.Error{Op: "writing", Unit: l.unit.ID(), Key: r.Key(), Err: fmt.Errorf("%d values for %d columns", len(r.Values), len(r.Table.Columns))}
	}
	if c, reason, detail := l.table.unfit(r); reason != "" {
		l.refuse(r, c, reason, detail)
		return nil
	}
	st, err := l.sink.statement(ctx, l.table, r.Table.Columns, l.again) //nolint:sqlclosecheck // kept until the connection ends
	if err != nil {
		return err
	}
	// Without a ctx that ends: the driver would start a goroutine for each row.
	_, err = st.ExecContext(context.WithoutCancel(ctx), r.Values...)
	switch {
	case err == nil:
		l.out.Written++
		return nil
	case !refusable(err):
		return err
	}
	if code(err) == lib.SQLITE_CONSTRAINT_FOREIGNKEY && l.final {
		cleared, changed, cerr := l.clear(ctx, r)
		if cerr != nil {
			return cerr
		}
		if len(changed) > 0 {
			if err := l.insert(ctx, cleared); err != nil {
				return err
			}
			if n := len(l.out.Refused); n == 0 || l.out.Refused[n-1].Key != r.Key() {
				l.out.Changed = append(l.out.Changed, changed...)
			}
			return nil
		}
	}
	if c := code(err); c == lib.SQLITE_CONSTRAINT_PRIMARYKEY || c == lib.SQLITE_CONSTRAINT_UNIQUE {
		same, err := l.holds(ctx, r)
		if err != nil {
			return err
		}
		if same {
			l.out.Written++
			return nil
		}
	}
	reason, detail := why(err)
	l.refuse(r, "", reason, detail)
	return nil
}

func (l *loader) refuse(r *pipeline.Row, column string, reason pipeline.Reason, detail string) {
	l.out.Refused = append(l.out.Refused, pipeline.NewRefusal(l.unit, r, column, reason, detail))
}

// unfit finds what SQLite would not refuse by itself, or not name.
func (t *table) unfit(r *pipeline.Row) (column string, reason pipeline.Reason, detail string) {
	for i, name := range r.Table.Columns {
		switch v := r.Values[i].(type) {
		case nil:
			c := t.column(name)
			switch {
			case c == nil: // SQLite says so
			case c.InPrimaryKey: // any number of rows may have one, and none is the same
				return name, pipeline.NullKeyReason, "NULL in the primary key column " + name
			case c.NotNull:
				return name, pipeline.NotNull, "NULL where column " + name + " does not allow it"
			}
		case float64:
			if math.IsNaN(v) {
				return name, pipeline.Invalid, "NaN, for which SQLite stores NULL"
			}
		}
	}
	return "", "", ""
}

// holds reports whether the table has this very row: a process that was cut off
// may have been ahead.
func (l *loader) holds(ctx context.Context, r *pipeline.Row) (bool, error) {
	where, args, ok := l.table.where(r)
	if !ok {
		return false, nil
	}
	same := false
	err := each(ctx, l.sink.conn, "SELECT "+plain("", r.Table.Columns)+" FROM "+ident(l.table.name)+" WHERE "+where, args, func(list *sql.Rows) error {
		have, err := scanRow(list, r.Table)
		if err == nil {
			same = slices.EqualFunc(have.Values, r.Values, func(a, b any) bool { return rows.SameSQLite(a, stored(b)) })
		}
		return err
	})
	return same, err
}

// stored is the value that a boolean has in SQLite.
func stored(v any) any {
	if b, ok := v.(bool); ok {
		if b {
			return int64(1)
		}
		return int64(0)
	}
	return v
}

// where is the condition that a row has the key of r.
func (t *table) where(r *pipeline.Row) (string, []any, bool) {
	terms := make([]string, len(t.key))
	args := make([]any, len(t.key))
	for i, k := range t.key {
		at := slices.Index(r.Table.Columns, k)
		if at < 0 {
			return "", nil, false
		}
		terms[i], args[i] = ident(k)+" = ?", r.Values[at]
	}
	return strings.Join(terms, " AND "), args, len(terms) > 0
}

// statement inserts a row with these columns; with upsert it takes the place of
// the one that has its key.
func (s *Sink) statement(ctx context.Context, t *table, columns []string, upsert bool) (*sql.Stmt, error) {
	text := "INSERT INTO " + ident(t.name) + " (" + idents(columns) + ") VALUES (?" + strings.Repeat(", ?", len(columns)-1) + ")"
	if upsert {
		var set []string
		for _, c := range columns {
			if !slices.Contains(t.key, c) {
				set = append(set, ident(c)+" = excluded."+ident(c))
			}
		}
		text += " ON CONFLICT (" + idents(t.key) + ") DO "
		if len(set) == 0 {
			text += "NOTHING"
		} else {
			text += "UPDATE SET " + strings.Join(set, ", ")
		}
	}
	if st := s.stmts[text]; st != nil {
		return st, nil
	}
	for _, c := range columns {
		if t.column(c) == nil {
			return nil, &pipeline.Error{Op: "writing", Unit: t.name, Err: fmt.Errorf("the table has no column %q", c)}
		}
	}
	st, err := s.conn.PrepareContext(ctx, text)
	if err == nil {
		s.stmts[text] = st
	}
	return st, err
}

// why sorts SQLite's refusals; the detail is its own message.
func why(err error) (pipeline.Reason, string) {
	reason := pipeline.Invalid
	switch c := code(err); {
	case c == lib.SQLITE_CONSTRAINT_PRIMARYKEY || c == lib.SQLITE_CONSTRAINT_UNIQUE || c == lib.SQLITE_CONSTRAINT_ROWID:
		reason = pipeline.Duplicate
	case c == lib.SQLITE_CONSTRAINT_NOTNULL:
		reason = pipeline.NotNull
	case c == lib.SQLITE_CONSTRAINT_FOREIGNKEY:
		reason = pipeline.Orphan
	case c&0xff == lib.SQLITE_TOOBIG:
		reason = pipeline.TooLong
	}
	return reason, err.Error()
}
