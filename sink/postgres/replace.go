package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
	"outgrow/sink/pgstate"
)

// journal is the store, with a Begin that empties a target to be replaced.
type journal struct {
	*pgstate.Store
	sink *Sink
}

// Begin takes the lock. With Config.Replace it empties the target, unless the
// journal tells of this very run under way: then it resumes.
func (j *journal) Begin(ctx context.Context, run pipeline.Run) (pipeline.Resumed, error) {
	s := j.sink
	if s.cfg.Replace {
		if err := s.store.Lock(ctx); err != nil {
			return pipeline.Resumed{}, err
		}
		t, err := s.Inspect(ctx)
		if err != nil {
			return pipeline.Resumed{}, err
		}
		if f := s.refuse(t, true); f != nil {
			return pipeline.Resumed{}, asError(f)
		}
		underway := t.Run != nil && !t.Complete && t.Run.Source.Stable == run.Source.Stable && t.Run.Target == run.Target &&
			(t.State == Empty || (t.State == Fresh || t.State == Ours) && t.Head == s.cfg.Head)
		if !underway {
			if err := s.empty(ctx, t); err != nil {
				return pipeline.Resumed{}, pg.Classify("emptying the target", err)
			}
		}
	}
	return j.Store.Begin(ctx, run)
}

// empty removes all rows of Open WebUI's tables and the journal's lines, in one
// transaction and without CASCADE. Tables of another head are dropped.
func (s *Sink) empty(ctx context.Context, t Target) error {
	has, err := s.store.Exists(ctx)
	if err != nil {
		return err
	}
	marks, err := s.store.Marked(ctx)
	if err != nil {
		return err
	}
	there, err := pg.Tables(ctx, s.pool, s.schema)
	if err != nil {
		return err
	}
	tables := s.ours(there)
	same := t.Head == s.cfg.Head
	if other, err := schema.LoadTarget(t.Head); err == nil && !same {
		for _, x := range other.Tables {
			if have := there[x.Name]; have != nil {
				tables[x.Name] = have
			}
		}
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if has {
			keep := ""
			if same {
				keep = without
			}
			if err := s.store.ResetTx(ctx, tx, keep); err != nil {
				return err
			}
			if same && marks[markPrepared] != "" && !t.Complete && t.State != Lost {
				if err := s.store.MarkTx(ctx, tx, markPrepared, marks[markPrepared]); err != nil {
					return err
				}
				// What was back already would refuse or slow the new load.
				if err := s.takeAway(ctx, tx, sorted(tables)); err != nil {
					return err
				}
			}
		}
		if !same && len(tables) > 0 {
			_, err := tx.Exec(ctx, "DROP TABLE "+s.list(sorted(tables)))
			return hinted(err)
		}
		delete(tables, versionTable)
		if len(tables) == 0 {
			return nil
		}
		_, err := tx.Exec(ctx, "TRUNCATE "+s.list(sorted(tables)))
		return hinted(err)
	})
}

// hinted explains why PostgreSQL does not empty a table that others refer to.
func hinted(err error) error {
	if pg.HasCode(err, "0A000", "2BP01") {
		return pipeline.Environment("emptying the target's tables", err, "tables that are not Open WebUI's refer to them: remove those, or name another database")
	}
	return err
}
