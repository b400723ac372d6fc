package postgres

import (
	"context"
	"slices"

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
