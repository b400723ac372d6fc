package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver
)

// idTable finds ids that were added for more than one name. It keeps them in a
// SQLite file, which close removes.
type idTable struct {
	db    *sql.DB
	path  string
	names []string
}

// newIDTable makes the file in dir, which it makes where it is missing.
func newIDTable(ctx context.Context, dir string) (*idTable, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "ids-*.db")
	if err != nil {
		return nil, err
	}
	t := &idTable{path: f.Name()}
	if err = f.Close(); err != nil {
		return nil, errors.Join(err, os.Remove(t.path))
	}
	// Nothing of it outlives this process: no journal, no flushing.
	q := url.Values{"_pragma": {"journal_mode(OFF)", "synchronous(OFF)", "locking_mode(EXCLUSIVE)", "cache_size(-16000)"}}
	if t.db, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(t.path), RawQuery: q.Encode()}).String()); err == nil {
		t.db.SetMaxOpenConns(1)
		_, err = t.db.ExecContext(ctx, "CREATE TABLE k (id BLOB NOT NULL, name INTEGER NOT NULL)")
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// close removes the file.
func (t *idTable) close() {
	if t.db != nil {
		_ = t.db.Close()
	}
	_ = os.Remove(t.path)
}

// add takes the ids of one name; an id may come several times.
func (t *idTable) add(ctx context.Context, name string, ids iter.Seq2[string, error]) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	//nolint:sqlclosecheck // closed below; the linter does not follow a range over a function.
	st, err := tx.PrepareContext(ctx, "INSERT INTO k (id, name) VALUES (CAST(? AS BLOB), ?)")
	if err != nil {
		return err
	}
	defer st.Close()
	for id, err := range ids {
		if err != nil {
			return err
		}
		if _, err := st.ExecContext(ctx, id, len(t.names)); err != nil {
			return fmt.Errorf("keeping ids on disk: %w", err)
		}
	}
	t.names = append(t.names, name)
	return tx.Commit()
}

// collisions calls found with every id that more than one name has, in the order
// of the ids.
func (t *idTable) collisions(ctx context.Context, found func(id string, names []string) error) error {
	rows, err := t.db.QueryContext(ctx, "SELECT DISTINCT id, name FROM k WHERE id IN (SELECT id FROM k GROUP BY id HAVING min(name) <> max(name)) ORDER BY id, name")
	if err != nil {
		return fmt.Errorf("sorting ids on disk: %w", err)
	}
	defer rows.Close()
	var id string
	var names []string
	flush := func() error {
		if len(names) < 2 {
			return nil
		}
		return found(id, names)
	}
	for rows.Next() {
		var key []byte
		var name int
		if err := rows.Scan(&key, &name); err != nil {
			return err
		}
		if string(key) != id {
			if err := flush(); err != nil {
				return err
			}
			id, names = string(key), nil
		}
		names = append(names, t.names[name])
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("sorting ids on disk: %w", err)
	}
	return flush()
}
