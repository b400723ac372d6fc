package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// Put writes repaired rows out of the quarantine. In the same transaction the
// lines of those that the server takes leave the quarantine, and the ledger says
// that they were replayed. A row whose key was put in before is replaced; one
// whose key another row holds is refused.
func (s *Sink) Put(ctx context.Context, unit pipeline.Unit, rows []*pipeline.Row) (pipeline.Outcome, error) {
	if err := s.Prepare(ctx, unit); err != nil {
		return pipeline.Outcome{}, err
	}
	s.mu.Lock()
	table := s.tables[unit.Name]
	s.mu.Unlock()
	var out pipeline.Outcome
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		l := loader{sink: s, tx: tx, unit: unit, table: table}
		keys := make([]string, len(rows))
		for i, r := range rows {
			keys[i] = r.Key()
		}
		before, err := s.store.ReplayedTx(ctx, tx, unit.ID(), keys)
		if err != nil {
			return err
		}
		var fresh []*pipeline.Row
		for _, r := range rows {
			if !before[r.Key()] {
				fresh = append(fresh, r)
			} else if err := l.replace(ctx, r); err != nil {
				return err
			}
		}
		if err := l.all(ctx, fresh, true); err != nil {
			return err
		}
		out = pipeline.Outcome{Written: l.written, Refused: l.refused}
		for _, r := range l.refused {
			keys = slices.DeleteFunc(keys, func(k string) bool { return k == r.Key })
		}
		for _, key := range keys {
			out.Changed = append(out.Changed, pipeline.Change{Unit: unit.ID(), Key: key, Reason: pipeline.Replayed, Note: "repaired and put in"})
		}
		if err := s.store.ReleaseTx(ctx, tx, unit.ID(), keys); err != nil {
			return err
		}
		return s.store.Lines(ctx, tx, nil, out.Changed)
	})
	if err != nil {
		return pipeline.Outcome{}, pg.Classify("putting rows into "+unit.ID(), err)
	}
	return out, nil
}

// replace inserts a row, or updates the one that has its key. It does not
// delete: that could cascade.
func (l *loader) replace(ctx context.Context, r *pipeline.Row) error {
	sql, args, err := l.sink.upsertSQL(l.unit, l.table, []*pipeline.Row{r})
	if err != nil {
		return err
	}
	if _, err := l.tx.Exec(ctx, "SAVEPOINT outgrow"); err != nil {
		return err
	}
	if _, err = l.tx.Exec(ctx, sql, args...); err == nil {
		l.written++
		_, err = l.tx.Exec(ctx, "RELEASE SAVEPOINT outgrow")
		return err
	}
	if !pg.IsData(err) {
		return err
	}
	l.refused = append(l.refused, refusal(l.unit, r, err))
	_, err = l.tx.Exec(ctx, "ROLLBACK TO SAVEPOINT outgrow; RELEASE SAVEPOINT outgrow", pgx.QueryExecModeSimpleProtocol)
	return err
}

// toasted is from what length on a value is so large that the server stores it beside
// its row, mostly, in bytes: what is the same there is better left as it is.
const toasted = 2000

// upsertSQL is the statement that inserts rows of the same columns, or updates
// those that have their keys.
func (s *Sink) upsertSQL(unit pipeline.Unit, table *pg.Table, rows []*pipeline.Row) (sql string, args []any, err error) {
	columns := rows[0].Table.Columns
	arrays, names, values := make([]string, len(columns)), make([]string, len(columns)), make([]string, len(columns))
	var set []string
	for i, name := range columns {
		c, ok := table.Column(name)
		if !ok {
			return "", nil, &pipeline.Error{Op: "writing", Unit: unit.ID(), Key: rows[0].Key(), Err: fmt.Errorf("the table has no column %q", name)}
		}
		arrays[i], names[i] = fmt.Sprintf("$%d::text[]", i+1), fmt.Sprintf("c%d", i)
		values[i] = fmt.Sprintf("v.c%d::%s", i, c.Type)
		column, long := make([]*string, len(rows)), false
		for k, r := range rows {
			switch v := r.Values[i].(type) {
			case nil:
			case string:
				column[k] = &v // not a copy of the text
				long = long || len(v) >= toasted
			default:
				column[k] = new(fmt.Sprint(v))
			}
		}
		args = append(args, column)
		switch old, now := "old."+pg.Ident(name), "excluded."+pg.Ident(name); {
		case c.InKey:
		case long:
			const same = `%[1]s::text COLLATE "C" IS NOT DISTINCT FROM %[2]s::text COLLATE "C"`
			set = append(set, pg.Ident(name)+fmt.Sprintf(" = CASE WHEN "+same+" THEN %[1]s ELSE %[2]s END", old, now))
		default:
			set = append(set, pg.Ident(name)+" = "+now)
		}
	}
	sql = "INSERT INTO " + s.t(table.Name) + " AS old (" + pg.Idents(columns) + ") SELECT " + strings.Join(values, ", ") +
		" FROM unnest(" + strings.Join(arrays, ", ") + ") AS v(" + strings.Join(names, ", ") + ") ON CONFLICT (" + pg.Idents(table.Key) + ") DO "
	if len(set) == 0 {
		return sql + "NOTHING", args, nil
	}
	return sql + "UPDATE SET " + strings.Join(set, ", "), args, nil
}
