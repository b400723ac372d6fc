package sqlite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// Prepare makes the database the first time it is called, or goes on with the one
// of this run; for every unit it sees that its table is there. It refuses a
// target that is in use.
func (s *Sink) Prepare(ctx context.Context, unit pipeline.Unit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.ready(ctx, unit)
	return err
}

// ready gives the unit's table in the file as it is now; the caller holds the
// lock.
func (s *Sink) ready(ctx context.Context, unit pipeline.Unit) (*table, error) {
	if s.closed {
		return nil, &pipeline.Error{Op: "preparing " + unit.ID(), Err: errClosed}
	}
	if s.tables == nil {
		if err := s.prepare(ctx); err != nil {
			return nil, classify("preparing the target", err)
		}
	}
	t := s.tables[unit.Name]
	if unit.Lane != pipeline.Rows || t == nil || unit.Name == versionTable {
		return nil, pipeline.Usage("preparing "+unit.ID(), errors.New("the target has no such table"), "leave this table out, or bring the source to a release that has it")
	}
	return t, nil
}

func (s *Sink) prepare(ctx context.Context) error {
	t, marks, err := s.inspect(ctx)
	if err != nil {
		return err
	}
	if f := s.refuse(t, false); f != nil {
		return asError(f)
	}
	file := s.partial
	switch t.State {
	case Empty:
		if err := s.create(ctx, marks); err != nil {
			return err
		}
		marks, err = s.cfg.Journal.Marked(ctx)
	case Released, Renamed:
		file = s.path
	}
	if err != nil {
		return err
	}
	if err := s.connect(ctx, file); err != nil {
		return err
	}
	s.token = marks[markToken]
	s.tables, err = describe(ctx, s.conn)
	return err
}

// create makes the tables of the head, and the unique indexes, which can refuse a
// row. The journal names the file before it is there, and tells that it is made
// once its name is on the disk.
func (s *Sink) create(ctx context.Context, marks map[string]string) error {
	token := marks[markToken]
	if token == "" {
		token = rand.Text()
		if err := s.cfg.Journal.Mark(ctx, markToken, token); err != nil {
			return err
		}
	}
	// For its owner only while it is made.
	f, err := os.OpenFile(s.partial, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if s.db == nil {
		err = f.Close()
	} else { // closing another descriptor would drop SQLite's locks
		err = errors.Join(s.disconnect(), f.Close())
	}
	if err != nil {
		return err
	}
	s.about("make")
	if err := s.connect(ctx, s.partial); err != nil {
		return err
	}
	err = s.tx(ctx, func() error {
		has, err := one[int](ctx, s.conn, "SELECT count(*) FROM sqlite_schema")
		if err != nil {
			return err
		}
		if has > 0 {
			return pipeline.ErrLocked // somebody made it meanwhile
		}
		for _, st := range s.known.Statements(schema.BeforeLoad) {
			if _, err := s.conn.ExecContext(ctx, st.SQL); err != nil {
				return fmt.Errorf("making the %s %s: %w", st.Kind, st.Name, err)
			}
		}
		// Cursors may be any bytes.
		_, err = s.conn.ExecContext(ctx, "CREATE TABLE "+ownTable+" (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID; "+
			"CREATE TABLE "+partTable+" (unit TEXT, n INTEGER, prev BLOB NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL, PRIMARY KEY (unit, n)) WITHOUT ROWID; "+
			"INSERT INTO "+ownTable+" VALUES ('token', ?)", token)
		return err
	})
	if err != nil {
		return err
	}
	s.about("made")
	if err := flush(filepath.Dir(s.partial)); err != nil {
		return err
	}
	for _, m := range [][2]string{{markIndexes, fmt.Sprint(len(s.known.Statements(schema.AfterLoad)))}, {markVersion, s.cfg.Head}, {markMade, "yes"}} {
		if err := s.cfg.Journal.Mark(ctx, m[0], m[1]); err != nil {
			return err
		}
	}
	return nil
}
