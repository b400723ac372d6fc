package chroma

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"outgrow/mappings/fstype"
	"outgrow/pipeline"
)

// What Open WebUI uses unless CHROMA_TENANT and CHROMA_DATABASE say otherwise.
const (
	DefaultTenant   = "default_tenant"
	DefaultDatabase = "default_database"
)

// Config says which store is read and how.
type Config struct {
	// Dir is the folder with chroma.sqlite3: DATA_DIR/vector_db.
	Dir string
	// Tenant and Database select the collections; "" for the defaults.
	Tenant, Database string
	// AllDatabases makes units of the collections of every database.
	AllDatabases bool
	// AllowMissing makes a folder without chroma.sqlite3 an empty store instead
	// of an error.
	AllowMissing bool
	// Stopped says that nothing writes to the store. A store that has neither
	// journal nor WAL is then read in place, without a private copy, and Close
	// fails if it has changed meanwhile.
	Stopped bool
	// FileSystem finds the type of the file system; nil means fstype.Of. On one
	// that other machines share the store is read only when it is Stopped: it
	// could be written there between two looks at its files, which are kept for
	// a while.
	FileSystem fstype.Detect
	// Private is the folder in which the private copy is made, "" for the
	// system's folder for temporary files. It must not lie in Dir.
	Private string
	// Stable is the identity that the deployment is known by; "" takes that of
	// the store's oldest collection, which users may delete.
	Stable string
	// Limits of a batch; 1000 records and 8 MB by default.
	Limits pipeline.Limits
	// Log may be nil.
	Log *slog.Logger
}

// Source reads a store. It may be used by several goroutines.
type Source struct {
	cfg Config
	fs  fstype.Type

	mu      sync.Mutex
	current *snapshot // nil for an empty store
	closed  bool
}

var (
	_ pipeline.Source[*pipeline.Vector] = (*Source)(nil)
	_ pipeline.Splitter                 = (*Source)(nil)
	_ pipeline.Counter                  = (*Source)(nil)
	_ pipeline.Getter[*pipeline.Vector] = (*Source)(nil)
	_ pipeline.KeyLister                = (*Source)(nil)
	_ pipeline.Identifier               = (*Source)(nil)
	_ pipeline.Checker                  = (*Source)(nil)
	_ pipeline.Searcher                 = (*Source)(nil)
)

// Open copies the store's database and reads what collections there are.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	if cfg.Tenant == "" {
		cfg.Tenant = DefaultTenant
	}
	if cfg.Database == "" {
		cfg.Database = DefaultDatabase
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Limits = cfg.Limits.WithDefaults(1000, 8<<20)
	var err error
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, pipeline.Usage("opening the Chroma store", err, "")
	}
	if inside(cfg.Dir, cfg.Private) {
		return nil, pipeline.Usage("opening the Chroma store", fmt.Errorf("the folder for the private copy, %s, lies in the store", cfg.Private),
			"name a folder elsewhere: the store is never written to")
	}
	switch _, err := os.Stat(filepath.Join(cfg.Dir, FileName)); {
	case errors.Is(err, fs.ErrNotExist) && cfg.AllowMissing:
		return &Source{cfg: cfg}, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, pipeline.Usage("opening the Chroma store", fmt.Errorf("%s: %w", filepath.Join(cfg.Dir, FileName), fs.ErrNotExist),
			"name the DATA_DIR that Open WebUI really uses, or say that there are no vectors to move")
	case err != nil:
		return nil, pipeline.Environment("opening the Chroma store", err, "make the folder readable for this user")
	}
	on, err := cfg.FileSystem.Or()(cfg.Dir)
	if err != nil {
		return nil, pipeline.Environment("looking at the file system of the Chroma store", err, "make the folder readable for this user")
	}
	if on.Network() && !cfg.Stopped {
		return nil, pipeline.Environment("opening the Chroma store", fmt.Errorf("%s lies on a network file system (%s) and may be in use: its locks do not reach other machines", cfg.Dir, on),
			"stop Open WebUI on every machine, then say --stopped")
	}
	sn, err := takeSnapshot(ctx, cfg)
	if err != nil {
		return nil, err
	}
	cfg.Log.Debug("opened the Chroma store", "collections", len(sn.catalog.collections), "in_place", sn.private == "")
	return &Source{cfg: cfg, fs: on, current: sn}, nil
}

// inside reports whether path is dir or below it; "" is the system's folder.
func inside(dir, path string) bool {
	if path == "" {
		path = os.TempDir()
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	if p, err := filepath.EvalSymlinks(path); err == nil {
		path = p
	}
	if d, err := filepath.EvalSymlinks(dir); err == nil {
		dir = d
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// Close removes the private copy. When the store was read in place and has
// changed since Open it fails: what was read may not fit together.
func (s *Source) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	sn := s.current
	s.mu.Unlock()
	if sn == nil {
		return nil
	}
	var err error
	if sn.private == "" {
		now, stateErr := stateOfDB(sn.store)
		if err = stateErr; err == nil && now != sn.dbState {
			err = &pipeline.Error{Op: "closing the Chroma store", Err: errors.New("it was written to while it was read as stopped"),
				Hint: "stop Open WebUI and run again"}
		}
	}
	return errors.Join(err, s.drop(sn))
}

// acquire gives the present snapshot, which done gives back.
func (s *Source) acquire() (sn *snapshot, done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, fmt.Errorf("reading the Chroma store: %w", fs.ErrClosed)
	}
	if s.current == nil {
		return nil, func() {}, nil
	}
	sn = s.current
	sn.mu.Lock()
	sn.refs++
	sn.mu.Unlock()
	return sn, func() {
		if err := s.drop(sn); err != nil {
			s.cfg.Log.Warn("removing the private copy of the Chroma database", "error", err)
		}
	}, nil
}

// drop gives a reference to a snapshot up; the last one closes it.
func (s *Source) drop(sn *snapshot) error {
	sn.mu.Lock()
	sn.refs--
	last := sn.refs == 0
	sn.mu.Unlock()
	if last {
		return sn.close()
	}
	return nil
}

// refresh replaces a snapshot whose index files have moved on.
func (s *Source) refresh(ctx context.Context, old *snapshot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.current != old {
		return nil // another reader did it
	}
	s.cfg.Log.Info("the Chroma store was written to: its database is copied again")
	sn, err := takeSnapshot(ctx, s.cfg)
	if err != nil {
		return err
	}
	s.current = sn
	return s.drop(old)
}

// errNoCollection is the cause of an error about a collection that is not there.
var errNoCollection = errors.New("the store does not have it")

// open gives the index of a unit's collection. A live store may have moved on
// since the database was copied: it is then copied again.
func (s *Source) open(ctx context.Context, unit pipeline.Unit) (*snapshot, *index, func(), error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		sn, done, err := s.acquire()
		if err != nil {
			return nil, nil, nil, err
		}
		l := s.find(sn, unit)
		if l == nil {
			done()
			return nil, nil, nil, &pipeline.Error{Op: "reading collection", Unit: unit.Name, Err: errNoCollection}
		}
		x, release, err := sn.index(ctx, l)
		if err == nil {
			// It may be one that was kept from an earlier read.
			if err = x.unmoved(sn); err != nil {
				release()
			}
		}
		if err == nil {
			return sn, x, func() { release(); done() }, nil
		}
		if errors.Is(err, errMoved) && sn.private != "" && attempt < attempts {
			err = s.refresh(ctx, sn)
			done()
			if err != nil {
				return nil, nil, nil, err
			}
			continue
		}
		done()
		return nil, nil, nil, fmt.Errorf("opening collection %s: %w", unit.Name, err)
	}
}
