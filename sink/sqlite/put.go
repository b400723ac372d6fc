package sqlite

import (
	"context"

	"outgrow/pipeline"
)

// Put writes repaired rows out of the quarantine, into the finished database too.
// A row whose key was put in before is replaced; one whose key another row holds
// is refused, and so is, once the load is finished, one without its parent. Their
// lines leave the quarantine once the rows are on the disk.
func (s *Sink) Put(ctx context.Context, unit pipeline.Unit, records []*pipeline.Row) (pipeline.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.ready(ctx, unit)
	if err != nil || len(records) == 0 {
		return pipeline.Outcome{}, err
	}
	before := map[string]bool{}
	for _, r := range records {
		if before[r.Key()], err = pipeline.WasReplayed(ctx, s.cfg.Journal, unit.ID(), r.Key()); err != nil {
			return pipeline.Outcome{}, err
		}
	}
	l := loader{sink: s, unit: unit, table: t}
	err = s.checked(ctx, func() error {
		for _, r := range records {
			l.again = before[r.Key()]
			if err := l.insert(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return pipeline.Outcome{}, classify("putting rows into "+unit.ID(), err)
	}
	return pipeline.Settle(ctx, s.cfg.Journal, unit, pipeline.Accepted(records, l.out), l.out)
}

// checked runs f in a transaction that is held to the foreign keys, if the rows
// that were loaded are by now.
func (s *Sink) checked(ctx context.Context, f func() error) error {
	marks, err := s.cfg.Journal.Marked(ctx)
	if err != nil {
		return err
	}
	if marks[markFinished] != "" {
		if _, err := s.conn.ExecContext(ctx, "PRAGMA foreign_keys = 1"); err != nil {
			return err
		}
		defer func() {
			_, _ = s.conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA foreign_keys = 0") // no other use of the connection minds
		}()
	}
	return s.tx(ctx, f)
}

// Count counts the rows of a table.
func (s *Sink) Count(ctx context.Context, unit pipeline.Unit) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.ready(ctx, unit)
	if err != nil {
		return 0, err
	}
	n, err := one[int64](ctx, s.conn, "SELECT count(*) FROM "+ident(t.name))
	return n, classify("counting "+unit.ID(), err)
}
