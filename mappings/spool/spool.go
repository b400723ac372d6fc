// Package spool keeps on disk what a reader has listed, in a private SQLite
// file: readers of stores that can only be listed as a whole, or in no order,
// cut and page there. It takes room on disk and no memory.
package spool

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"outgrow/pipeline"
)

// DB is a private SQLite database. The file loses its name as soon as it is
// open, so nothing of it outlives the process (where the system can do that;
// elsewhere Close removes it).
//
// It has one connection, which must live as long as the DB: statements are
// short, take no context that may be cancelled, and rows are closed before the
// next statement.
type DB struct {
	*sql.DB
	dir string
}

// Open makes the file in a new folder below parent ("" for TMPDIR), which is
// made if it is missing. what is the plural of what is kept, for error texts
// ("records of the index").
func Open(parent, what, schema string) (*DB, error) {
	d := &DB{}
	failed := func(err error) (*DB, error) {
		return nil, pipeline.Environment("making a place for "+what, err, "set TMPDIR to a folder with room for all "+what)
	}
	if parent != "" {
		if err := os.MkdirAll(parent, 0o700); err != nil {
			return failed(err)
		}
	}
	var err error
	if d.dir, err = os.MkdirTemp(parent, "outgrow-spool-"); err != nil {
		return failed(err)
	}
	q := url.Values{"_pragma": {"journal_mode(OFF)", "synchronous(OFF)", "locking_mode(EXCLUSIVE)", "temp_store(MEMORY)", "cache_size(-8000)"}}
	file := filepath.Join(d.dir, "spool.db")
	if d.DB, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: q.Encode()}).String()); err == nil {
		d.SetMaxOpenConns(1)
		_, err = d.Exec(schema)
	}
	if err != nil {
		_ = d.Close()
		return failed(err)
	}
	if os.Remove(file) == nil {
		_ = os.Remove(d.dir)
	}
	return d, nil
}

// Close ends it, and what it holds is gone.
func (d *DB) Close() error {
	var err error
	if d.DB != nil {
		err = d.DB.Close()
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// Failed names the operation that failed; nil stays nil. A full disk is the
// environment's. what is that of Open.
func Failed(what, op string, err error) error {
	if e := (*sqlite.Error)(nil); errors.As(err, &e) && e.Code()&0xff == lib.SQLITE_FULL {
		return pipeline.Environment(op, err, "the folder for temporary files is full: set TMPDIR to one with room for all "+what)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}
