package chroma

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/mappings/fstype"
	"outgrow/pipeline"
)

// Config says where and how to write.
type Config struct {
	// Dir is the folder vector_db. The one above it, DATA_DIR, must exist.
	Dir string
	// Store names tenant and database, "" for the defaults; it has no host.
	Store env.ChromaConfig
	Log   *slog.Logger // may be nil
	// Journal is the command's own: it remembers which store is this run's, Put
	// ledgers and releases there. Without one any store made by this package is
	// taken for the run's.
	Journal pipeline.Journal
	// Detect finds the type of a file system; nil means fstype.Of.
	Detect fstype.Detect
}

// What Open WebUI uses unless CHROMA_TENANT and CHROMA_DATABASE say otherwise.
const (
	defaultTenant   = "default_tenant"
	defaultDatabase = "default_database"
)

// Sink is the writer. It is safe for concurrent use; batches are written one
// after the other.
type Sink struct {
	cfg    Config
	change pipeline.Transform[*pipeline.Vector]

	mu sync.Mutex // of all that follows, and of every transaction
	st *store     // nil before it is needed
}

var (
	_ pipeline.Sink[*pipeline.Vector]   = (*Sink)(nil)
	_ pipeline.Checker                  = (*Sink)(nil)
	_ pipeline.Emptier                  = (*Sink)(nil)
	_ pipeline.Deleter                  = (*Sink)(nil)
	_ pipeline.Putter[*pipeline.Vector] = (*Sink)(nil)
	_ pipeline.Finisher                 = (*Sink)(nil)
)

// Open looks at the place and changes nothing. It fails with exit code 3 when
// the data folder is not there, and with 2 where SQLite cannot work.
func Open(_ context.Context, cfg Config) (*Sink, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Store.Tenant == "" {
		cfg.Store.Tenant = defaultTenant
	}
	if cfg.Store.Database == "" {
		cfg.Store.Database = defaultDatabase
	}
	cfg.Store.Host = "" // the store is embedded, whatever the variables say
	var err error
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, pipeline.Usage("opening the target's Chroma store", err, "")
	}
	info, err := os.Stat(filepath.Dir(cfg.Dir))
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "opening", Path: filepath.Dir(cfg.Dir), Err: errors.New("not a folder")}
	}
	if err != nil {
		return nil, pipeline.Environment("opening the target's data folder", err, "create it with mkdir, or name another DATA_DIR")
	}
	if err := fstype.TargetSQLite(cfg.Detect, cfg.Dir); err != nil {
		return nil, err
	}
	return &Sink{cfg: cfg, change: chromahttp.Transform(cfg.Store)}, nil
}

// Close closes the database. A second call is harmless.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop()
}

// drop forgets the open database.
func (s *Sink) drop() error {
	st := s.st
	s.st = nil
	if st == nil {
		return nil
	}
	return st.db.Close()
}

// Fingerprint identifies the target by tenant and database: a folder that is
// not there yet has nothing else. Prepare notices another store.
func (s *Sink) Fingerprint(context.Context) (string, error) {
	sum := sha256.Sum256([]byte(s.cfg.Store.Tenant + "\x00" + s.cfg.Store.Database))
	return fmt.Sprintf("chroma-embedded:%x", sum[:12]), nil
}

// Prepare makes the store and the collection where they are missing, the latter
// as Open WebUI does. For a name that Chroma refuses nothing is made: its
// records are refused.
func (s *Sink) Prepare(ctx context.Context, u pipeline.Unit) error {
	if chromahttp.NameProblem(u.Name) != "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.store(ctx)
	if err != nil {
		return err
	}
	l := st.collections[u.Name]
	if l == nil {
		written, err := s.written(ctx, &u)
		if err != nil {
			return err
		}
		if written {
			return &pipeline.Error{Op: "preparing a collection", Unit: u.ID(), Exit: pipeline.ExitUsage,
				Err:  errors.New("the collection is gone, though records were written to it"),
				Hint: "name the data folder that the run was begun with, or start over with --replace"}
		}
		return s.failed(ctx, "making a collection", st.create(ctx, u.Name))
	}
	if l.dim != 0 && u.Dim != 0 && l.dim != u.Dim {
		return &pipeline.Error{Op: "preparing a collection", Unit: u.ID(), Exit: pipeline.ExitUsage,
			Err:  fmt.Errorf("the collection is there with %d dimensions, the source has %d", l.dim, u.Dim),
			Hint: "start over with --replace"}
	}
	return nil
}

// written reports whether the journal tells of records written, to one unit or
// (nil) to any.
func (s *Sink) written(ctx context.Context, u *pipeline.Unit) (bool, error) {
	if s.cfg.Journal == nil {
		return false, nil
	}
	var parts []pipeline.Progress
	var err error
	if u == nil {
		parts, err = s.cfg.Journal.All(ctx)
	} else {
		parts, err = s.cfg.Journal.Parts(ctx, *u)
	}
	for _, p := range parts {
		if p.Written > 0 && p.Part.Unit.Lane == pipeline.Vectors {
			return true, err
		}
	}
	return false, err
}

// Put writes repaired records over whatever has their ids, then ledgers them and
// releases them from the quarantine.
func (s *Sink) Put(ctx context.Context, u pipeline.Unit, records []*pipeline.Vector) (pipeline.Outcome, error) {
	if err := s.Prepare(ctx, u); err != nil {
		return pipeline.Outcome{}, err
	}
	out, err := s.write(ctx, u, records)
	if err != nil || s.cfg.Journal == nil {
		return out, err
	}
	return pipeline.Settle(ctx, s.cfg.Journal, u, pipeline.Accepted(records, out), out)
}
