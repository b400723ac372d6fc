package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// Finish puts back what was left out for the load and proves the file: it builds
// the plain indexes, settles the rows without a parent, and has SQLite check that
// the file is whole and every foreign key holds. The revision is left to
// Release. A second call goes on where the first stopped; when all is done it does
// nothing. The lines of rows without a parent are in the journal when it returns,
// and not in the outcome.
func (s *Sink) Finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return pipeline.Outcome{}, classify("finishing the target", s.finish(ctx, step))
}

func (s *Sink) finish(ctx context.Context, step func(string)) error {
	marks, err := s.cfg.Journal.Marked(ctx)
	if err != nil || marks[markFinished] != "" {
		return err
	}
	if s.tables == nil {
		if marks[markMade] == "" {
			return &pipeline.Error{Op: "finishing the target", Err: errors.New("it was not prepared"), Exit: pipeline.ExitUsage}
		}
		if err := s.prepare(ctx); err != nil {
			return err
		}
	}
	if err := s.mine(ctx); err != nil {
		return err
	}
	indexes := s.known.Statements(schema.AfterLoad)
	step(fmt.Sprintf("building %d indexes", len(indexes)))
	// SQLite sorts in as much memory as it caches pages in, several times over.
	if err := s.cache(ctx, min(s.cfg.CacheMiB, 8)); err != nil {
		return err
	}
	for _, st := range indexes {
		if err := s.build(ctx, st); err != nil {
			return fmt.Errorf("building the index %s: %w", st.Name, err)
		}
	}
	if err := s.cache(ctx, s.cfg.CacheMiB); err != nil {
		return err
	}
	if err := s.settle(ctx, step); err != nil {
		return err
	}
	step("checking the whole file")
	if err := s.check(ctx); err != nil {
		return err
	}
	for _, m := range [][2]string{{markIndexes, ""}, {markFinished, "yes"}} {
		if err := s.cfg.Journal.Mark(ctx, m[0], m[1]); err != nil {
			return err
		}
	}
	return nil
}

// cache sets the size of SQLite's page cache.
func (s *Sink) cache(ctx context.Context, mib int) error {
	_, err := s.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA cache_size = %d", -mib<<10))
	return err
}

func (s *Sink) build(ctx context.Context, st schema.Statement) error {
	has, err := one[bool](ctx, s.conn, "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name = ?", st.Name)
	if err != nil || has {
		return err
	}
	s.about("index")
	return s.tx(ctx, func() error {
		_, err := s.conn.ExecContext(ctx, st.SQL)
		return err
	})
}

// check is SQLite's own word that the file is sound.
func (s *Sink) check(ctx context.Context) error {
	var wrong string
	if err := each(ctx, s.conn, "PRAGMA integrity_check(1)", nil, func(r *sql.Rows) error { return r.Scan(&wrong) }); err != nil {
		return err
	}
	if wrong != "ok" {
		return pipeline.Environment("checking the target's file", fmt.Errorf("SQLite finds it damaged: %s", wrong),
			"look at the target's disk, then begin anew with --replace")
	}
	n := 0
	var child, parent string
	err := each(ctx, s.conn, `SELECT "table", parent FROM pragma_foreign_key_check`, nil, func(r *sql.Rows) error {
		n++
		return r.Scan(&child, &parent)
	})
	if err == nil && n > 0 {
		err = fmt.Errorf("%d rows have no parent after all were settled, in %s for one, whose parent is %s: another program writes to the target", n, child, parent)
	}
	return err
}
