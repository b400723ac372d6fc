// Package sqlite writes Open WebUI's tables into a new webui.db.
//
// The database is made under a name that nobody reads beside its place, with the
// tables that Open WebUI's own alembic makes at the source's head. A batch is one
// transaction, flushed to the disk before [Sink.Write] returns; which batch of a
// part was the last stands in the same transaction, so that one that is repeated
// takes its rows back first and nothing is there twice. [Sink.Finish] builds the
// plain indexes, settles the rows without a parent and has SQLite check the whole
// file; [Sink.Release] records the revision and gives the file its name, for the
// first time and in one act. So webui.db is either not there or whole.
//
// A webui.db that is there already is never written to: see [Sink.Inspect].
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"

	"outgrow/mappings/files"
	"outgrow/mappings/fstype"
	"outgrow/mappings/rows"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// Config says where to write and what.
type Config struct {
	// Path of the webui.db to be made. Its folder must be there.
	Path string
	// Head is the source's alembic revision.
	Head string
	// Journal keeps the marks of the load, the lines of Put and those of rows
	// without a parent. It must have begun before Prepare.
	Journal pipeline.Journal
	// Replace says that [Sink.Empty] is going to be called.
	Replace bool
	// CacheMiB is SQLite's page cache, in MiB; 0 means 32.
	CacheMiB int
	// FileSystem finds the type of the file system; nil means fstype.Of.
	FileSystem fstype.Detect
	Log        *slog.Logger // may be nil
}

// Sink writes rows. It is safe for concurrent use; there is one writer in SQLite,
// so calls take turns.
type Sink struct {
	cfg     Config
	path    string // with the links of its folder resolved
	partial string
	known   *schema.SQLite // nil for an unknown head

	mu     sync.Mutex // guards what follows, and serialises the work
	db     *sql.DB
	conn   *sql.Conn // its only connection
	file   string    // which of the two db is
	token  string
	tables map[string]*table
	stmts  map[string]*sql.Stmt
	closed bool

	step func(string) // for tests: what is about to happen; may be nil
}

var (
	_ pipeline.Sink[*pipeline.Row]     = (*Sink)(nil)
	_ pipeline.Finisher                = (*Sink)(nil)
	_ pipeline.Checker                 = (*Sink)(nil)
	_ pipeline.Putter[*pipeline.Row]   = (*Sink)(nil)
	_ pipeline.Releaser                = (*Sink)(nil)
	_ pipeline.Emptier                 = (*Sink)(nil)
	_ pipeline.Counter                 = (*Sink)(nil)
	_ pipeline.Getter[*pipeline.Row]   = (*Sink)(nil)
	_ pipeline.KeyLister               = (*Sink)(nil)
	_ pipeline.Upserter[*pipeline.Row] = (*Sink)(nil)
	_ pipeline.Remover                 = (*Sink)(nil)
	_ pipeline.Leveler                 = (*Sink)(nil)
)

// Open makes nothing yet. It refuses a place on a network file system.
func Open(_ context.Context, cfg Config) (*Sink, error) {
	if cfg.CacheMiB <= 0 {
		cfg.CacheMiB = 32
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Journal == nil {
		return nil, &pipeline.Error{Op: "opening the target database", Err: errors.New("there is no journal")}
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, pipeline.Environment("finding the target database", err, "")
	}
	if real, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(real, filepath.Base(path))
	}
	if err := fstype.TargetSQLite(cfg.FileSystem, path); err != nil {
		return nil, err
	}
	s := &Sink{cfg: cfg, path: path, partial: filepath.Join(filepath.Dir(path), files.PartialPrefix+filepath.Base(path)), stmts: map[string]*sql.Stmt{}}
	if s.known, err = schema.LoadSQLite(cfg.Head); err != nil && !errors.Is(err, schema.ErrUnknownHead) {
		return nil, err
	}
	return s, nil
}

// Close closes the file. What was written stays; nothing is half done.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.disconnect()
}

// Path is where the database is, or will be, with links resolved.
func (s *Sink) Path() string { return s.path }

// Partial is where it is made.
func (s *Sink) Partial() string { return s.partial }

// Fingerprint says no more than what kind of target this is: which file belongs
// to which run, a mark in both tells.
func (s *Sink) Fingerprint(context.Context) (string, error) { return "sqlite", nil }

// HeadOf is the revision of the database that a journal tells of, "" when none was
// begun.
func HeadOf(ctx context.Context, j pipeline.Journal) (string, error) {
	marks, err := j.Marked(ctx)
	return cmp.Or(marks[markReleased], marks[markVersion]), err
}

// Columns gives the target's columns by table, for those tables that can be
// written: from the file, or, before there is one, from the schema that will be
// made. They are in the order of the table.
func (s *Sink) Columns(ctx context.Context) (map[string][]rows.SQLiteColumn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tables := s.tables
	if tables == nil {
		var err error
		if tables, err = s.planned(ctx); err != nil {
			return nil, err
		}
	}
	out := make(map[string][]rows.SQLiteColumn, len(tables))
	for name, t := range tables {
		if name != versionTable {
			out[name] = t.columns
		}
	}
	return out, nil
}

func (s *Sink) about(step string) {
	if s.step != nil {
		s.step(step)
	}
}
