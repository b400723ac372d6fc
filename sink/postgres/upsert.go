package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// Upsert inserts rows, or updates those that have their keys, in one
// transaction. With how.Final a foreign key that is SET NULL when its parent is
// deleted is NULL where there is no parent.
func (s *Sink) Upsert(ctx context.Context, unit pipeline.Unit, rows []*pipeline.Row, how pipeline.Upsert) (pipeline.Outcome, error) {
	if err := s.Prepare(ctx, unit); err != nil || len(rows) == 0 {
		return pipeline.Outcome{}, err
	}
	s.mu.Lock()
	table := s.tables[unit.Name]
	s.mu.Unlock()
	// The common case has no savepoints.
	out, err := s.upsertAll(ctx, unit, table, rows, how)
	if pg.IsData(err) || twice(err) {
		out, err = s.upsertEach(ctx, unit, table, rows, how)
	}
	if err == nil && slices.ContainsFunc(table.Columns, func(c pg.Column) bool { return c.InKey && c.HasDefault }) {
		err = s.sequences(ctx, []string{table.Name})
	}
	if err != nil {
		return pipeline.Outcome{}, pg.Classify("writing "+unit.ID(), err)
	}
	return out, nil
}

// upsertBytes is how much of rows goes into one statement, unless it is one row.
// The driver makes two copies of it, in buffers that it doubles.
const upsertBytes = 1 << 20

// upsertAll writes rows with one statement for many, in one transaction.
func (s *Sink) upsertAll(ctx context.Context, unit pipeline.Unit, table *pg.Table, rows []*pipeline.Row, how pipeline.Upsert) (pipeline.Outcome, error) {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		for left := piecesOf(table, rows, how.Differs); len(left) > 0; {
			n, size := 1, left[0].row.Size()
			for n < len(left) && size+left[n].row.Size() <= upsertBytes && left[n].like(left[0]) {
				size += left[n].row.Size()
				n++
			}
			if err := s.upsertSome(ctx, tx, unit, table, left[:n]); err != nil {
				return err
			}
			left = left[n:]
		}
		return nil
	})
	return pipeline.Outcome{Written: len(rows)}, err
}

// upsertSome writes rows of which the same is to be written.
func (s *Sink) upsertSome(ctx context.Context, tx pgx.Tx, unit pipeline.Unit, table *pg.Table, pieces []piece) error {
	rows := make([]*pipeline.Row, len(pieces))
	for i, p := range pieces {
		rows[i] = p.row
	}
	if at := pieces[0].at; len(at) > 0 {
		sql, args, err := s.updateSQL(unit, table, rows, at)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, sql, args...)
		if err != nil || tag.RowsAffected() == int64(len(rows)) {
			return err
		}
		// One has gone meanwhile.
	}
	sql, args, err := s.upsertSQL(unit, table, rows)
	if err == nil {
		_, err = tx.Exec(ctx, sql, args...)
	}
	return err
}

// piece is a row and the columns of it, as positions, that are to be written; without
// any it is written whole.
type piece struct {
	row *pipeline.Row
	at  []int
}

func (p piece) like(q piece) bool {
	return slices.Equal(p.at, q.at) && slices.Equal(p.row.Table.Columns, q.row.Table.Columns)
}

// kinds is how many sets of columns are written apart. Of more sets all are written
// whose columns differ in any row: a statement for each would cost more.
const kinds = 4

// piecesOf puts rows together of which the same is to be written.
func piecesOf(table *pg.Table, rows []*pipeline.Row, differs map[string][]int) []piece {
	pieces := make([]piece, len(rows))
	for i, r := range rows {
		pieces[i].row = r
		at := differs[r.Key()]
		unfit := func(name string) bool { // without it, or with another key, the row cannot be found
			k := slices.Index(r.Table.Columns, name)
			return k < 0 || slices.Contains(at, k)
		}
		if !slices.ContainsFunc(table.Key, unfit) {
			pieces[i].at = at
		}
	}
	slices.SortStableFunc(pieces, func(a, b piece) int { return slices.Compare(a.at, b.at) })
	n, all := 0, []int(nil)
	for i, p := range pieces {
		if len(p.at) > 0 && (i == 0 || !p.like(pieces[i-1])) {
			n, all = n+1, append(all, p.at...)
		}
	}
	if n <= kinds {
		return pieces
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for i, p := range pieces {
		if len(p.at) > 0 {
			pieces[i].at = all
		}
	}
	return pieces
}

// twice reports whether two rows of a statement have one key, as the server
// sees it: it takes them one by one.
func twice(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "21000" // cardinality_violation
}

func (s *Sink) upsertEach(ctx context.Context, unit pipeline.Unit, table *pg.Table, rows []*pipeline.Row, how pipeline.Upsert) (pipeline.Outcome, error) {
	var keys []foreignKey
	if how.Final {
		var err error
		if keys, err = s.foreignKeys(ctx, []string{unit.Name}); err != nil {
			return pipeline.Outcome{}, err
		}
	}
	var out pipeline.Outcome
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		out = pipeline.Outcome{}
		for _, r := range rows {
			changed, err := s.upsertOne(ctx, tx, unit, table, r, keys)
			var refused *refusedRow
			switch {
			case errors.As(err, &refused):
				out.Refused = append(out.Refused, refusal(unit, r, refused.cause))
			case err != nil:
				return err
			default:
				out.Written++
				out.Changed = append(out.Changed, changed...)
			}
		}
		return nil
	})
	return out, err
}

// refusedRow is a row that the server does not take.
type refusedRow struct{ cause error }

func (r *refusedRow) Error() string { return r.cause.Error() }

// upsertOne writes a row behind a savepoint; keys are those that may be cleared.
func (s *Sink) upsertOne(ctx context.Context, tx pgx.Tx, unit pipeline.Unit, table *pg.Table, r *pipeline.Row, keys []foreignKey) ([]pipeline.Change, error) {
	var changed []pipeline.Change
	for {
		sql, args, err := s.upsertSQL(unit, table, []*pipeline.Row{r})
		if err != nil {
			return nil, err
		}
		if _, err := tx.Exec(ctx, "SAVEPOINT outgrow"); err != nil {
			return nil, err
		}
		_, refused := tx.Exec(ctx, sql, args...)
		if refused == nil {
			_, err := tx.Exec(ctx, "RELEASE SAVEPOINT outgrow")
			return changed, err
		}
		if !pg.IsData(refused) {
			return nil, refused
		}
		if _, err := tx.Exec(ctx, "ROLLBACK TO SAVEPOINT outgrow; RELEASE SAVEPOINT outgrow", pgx.QueryExecModeSimpleProtocol); err != nil {
			return nil, err
		}
		k := violated(refused, keys)
		if k == nil || !k.clears(table) {
			return nil, &refusedRow{refused}
		}
		changed = append(changed, cleared(unit, r, *k)...)
		r = &pipeline.Row{Table: r.Table, Values: slices.Clone(r.Values)}
		for i, name := range r.Table.Columns {
			if slices.Contains(k.Columns, name) {
				r.Values[i] = nil
			}
		}
		keys = slices.DeleteFunc(slices.Clone(keys), func(o foreignKey) bool { return o.Name == k.Name })
	}
}

// violated finds the foreign key that a row was refused for.
func violated(err error, keys []foreignKey) *foreignKey {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) || pe.Code != "23503" { // foreign_key_violation
		return nil
	}
	for i := range keys {
		if keys[i].Name == pe.ConstraintName && keys[i].Table == pe.TableName {
			return &keys[i]
		}
	}
	return nil
}

// clears reports whether the key's columns are set to NULL when the parent is
// deleted. A key that may not be NULL cannot be cleared: its row leaves.
func (k foreignKey) clears(table *pg.Table) bool {
	for _, name := range k.Columns {
		if c, ok := table.Column(name); !ok || c.NotNull {
			return false
		}
	}
	return k.OnDelete == "SET NULL"
}
