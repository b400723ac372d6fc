package pgvector

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	"outgrow/sink/pgstate"
)

// journal is the store, with a Begin that empties a target to be replaced.
type journal struct {
	*pgstate.Store
	sink *Sink
}

// Begin takes the lock and a new epoch. With Config.Replace it first forgets
// another run, or a complete one, and empties document_chunk, that table alone;
// this very run under way is resumed.
func (j *journal) Begin(ctx context.Context, run pipeline.Run) (pipeline.Resumed, error) {
	if j.sink.cfg.Replace {
		if err := j.Lock(ctx); err != nil {
			return pipeline.Resumed{}, err
		}
		if err := j.sink.startOver(ctx, run); err != nil {
			return pipeline.Resumed{}, pg.Classify("emptying "+vectors.Table, err)
		}
	}
	return j.Store.Begin(ctx, run)
}

func (s *Sink) startOver(ctx context.Context, run pipeline.Run) error {
	u, err := s.usage(ctx)
	if err != nil {
		return err
	}
	old, err := s.store.Peek(ctx)
	if err != nil {
		return err
	}
	if old != nil && !u.complete && u.foreign == 0 && old.Source.Stable == run.Source.Stable && old.Target == run.Target {
		return nil
	}
	f, err := s.look(ctx)
	if err != nil {
		return err
	}
	for _, finding := range s.layoutFindings(f) {
		if finding.Severity == pipeline.Refuse {
			return nil // Prepare refuses it: nothing is deleted for nothing
		}
	}
	s.cfg.Log.Info("emptying the table", "table", vectors.Table, "records", u.rows)
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if has, err := s.store.Exists(ctx); err != nil {
			return err
		} else if has {
			// What was taken away is still to be put back.
			if err := s.store.ResetTx(ctx, tx, markPrefix); err != nil {
				return err
			}
		}
		if !f.table {
			return nil
		}
		_, err := tx.Exec(ctx, "TRUNCATE "+s.table)
		return err
	})
}

// usage tells whose records are in the table.
type usage struct {
	rows    int64 // in the table
	foreign int64 // more than this lane's journal knows of
	// complete: the journal's run has ended, and the application may have
	// written since.
	complete bool
}

func (s *Sink) usage(ctx context.Context) (u usage, err error) {
	var there bool
	if err := s.pool.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", s.table).Scan(&there); err != nil || !there {
		return u, pg.Classify("looking for "+vectors.Table, err)
	}
	if err := s.pool.QueryRow(ctx, "SELECT count(*) FROM "+s.table).Scan(&u.rows); err != nil {
		return u, pg.Classify("counting "+vectors.Table, err)
	}
	marks, err := s.store.Marked(ctx)
	if err != nil {
		return u, err
	}
	u.complete = marks["complete"] != ""
	parts, err := s.store.All(ctx)
	if err != nil {
		return u, err
	}
	known := int64(0)
	for _, p := range parts {
		known += p.Written
	}
	_, changed, err := s.store.Tallies(ctx)
	for _, t := range changed {
		if t.Reason == pipeline.Replayed {
			known += t.Count
		}
	}
	if u.foreign = max(u.rows-known, 0); marks["synced"] != "" { // the parts' counts tell no more
		u.foreign = 0
	}
	return u, err
}
