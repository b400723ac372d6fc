package sqlite

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"outgrow/mappings/fstype"
	"outgrow/pipeline"
)

// Config says what to read and how.
type Config struct {
	// Path of webui.db.
	Path string
	// Stopped overrides what [Open] finds out about whether Open WebUI is
	// running on the database; nil means find out.
	Stopped *bool
	// Limits of a batch; zero values mean 10,000 records and 1 MiB.
	Limits pipeline.Limits
	// Log may be nil.
	Log *slog.Logger
	// SpecialAfter gives Unit.After by table: file → files/uploads.
	SpecialAfter map[string][]string
	// FileSystem finds the type of the file system; nil means fstype.Of.
	FileSystem fstype.Detect

	usage func(string) usage // for tests; nil means inUse
	plain bool               // for tests: SQLite reads every row
}

// Source reads the tables of one webui.db. Its methods may be called from
// several goroutines; they share one connection and take turns. Of a database in
// no use, which no connection can see otherwise than another, a second one helps.
type Source struct {
	cfg      Config
	path     string
	log      *slog.Logger
	mode     Mode
	fs       fstype.Type
	shared   bool // with other machines: fs.Network
	identity pipeline.Identity
	first    stamp // what the files looked like before they were opened

	mu     sync.Mutex // guards what follows
	db     *database
	stmts  map[string]*statement
	tables []TableInfo
	keys   map[string][]string
	cols   map[string][]string
	// What was found out of tables to be read in the file itself, and what of the
	// file is open for that and not in use.
	layouts map[string]*layout
	pages   []*pages

	uri    string // how the connection was opened
	second second
	wal    func() (walIndex, error) // read once
}

var (
	_ pipeline.Source[*pipeline.Row] = (*Source)(nil)
	_ pipeline.Splitter              = (*Source)(nil)
	_ pipeline.Counter               = (*Source)(nil)
	_ pipeline.Getter[*pipeline.Row] = (*Source)(nil)
	_ pipeline.KeyLister             = (*Source)(nil)
	_ pipeline.Holder                = (*Source)(nil)
	_ pipeline.Identifier            = (*Source)(nil)
	_ pipeline.Checker               = (*Source)(nil)
)

// Open opens the database and begins its read transaction, which lasts until
// Close.
//
// In WAL mode a database that nobody uses is read without locks: should Open
// WebUI be started meanwhile, reading ends with an error before a page that
// it changed could be taken. A database in another journal mode is read under
// SQLite's shared lock, during which its application cannot write: it is
// refused while it is in use, and so is one that a crash left with a hot
// journal.
//
// On a file system that other machines share (fstype.Type.Network) neither
// memory nor, for certain, locks are shared with them: a database that is in
// use, or may be, is refused, and any other is read only as long as its files
// do not change.
//
// Nothing is opened for writing, with one exception: a database that
// Config.Stopped says is live, while no process has it open, gets the -shm
// (and -wal) that SQLite needs to lock it.
//
// What is not a database, is encrypted or is not Open WebUI's gives an error
// with exit code pipeline.ExitUsage.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.usage == nil {
		cfg.usage = inUse
	}
	cfg.Limits = cfg.Limits.WithDefaults(10000, 1<<20)
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, err
	}
	// SQLite names the -wal after the real file, not after a link to it.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	s := &Source{cfg: cfg, path: path, log: cfg.Log, stmts: map[string]*statement{}, layouts: map[string]*layout{}}
	s.wal = sync.OnceValues(func() (walIndex, error) { return indexWAL(path + "-wal") })
	head, err := readHeader(path)
	if err != nil {
		return nil, err
	}
	if s.fs, err = cfg.FileSystem.Or()(path); err != nil {
		return nil, pipeline.Environment("looking at the file system of "+path, err, "")
	}
	s.shared = s.fs.Network()
	use := cfg.usage(path)
	if s.mode, err = decide(cfg, path, head, use, s.fs); err != nil {
		return nil, err
	}
	s.log.Debug("opening the source database", "mode", s.mode.String(), "file_system", s.fs.String())
	if s.first, err = stampOf(path); err != nil {
		return nil, pipeline.Environment("looking at "+path, err, "let this user read it, and the -wal beside it (chmod, or run as the owner)")
	}
	if err := s.connect(ctx, dsn(path, s.mode, use, s.first.frames)); err != nil {
		_ = s.Close() // nothing was written
		return nil, err
	}
	return s, nil
}

// Mode says how the source is read.
func (s *Source) Mode() Mode { return s.mode }

// FileSystem is the type of the file system that the database lies on.
func (s *Source) FileSystem() fstype.Type { return s.fs }

// Path is the real path of the database.
func (s *Source) Path() string { return s.path }

func (s *Source) connect(ctx context.Context, name string) error {
	var err error
	if s.db, err = s.begin(name); err != nil {
		return openError(s.path, err)
	}
	s.uri = name
	if err := s.loadSchema(ctx); err != nil {
		return openError(s.path, err)
	}
	if s.table("alembic_version") == nil || s.table("user") == nil {
		return pipeline.Usage("opening "+s.path, errors.New("it is a SQLite database, but not Open WebUI's: it has no table alembic_version or user"),
			"name Open WebUI's DATA_DIR, the folder that holds its webui.db")
	}
	head, err := s.head(ctx)
	if err != nil {
		return err
	}
	first, err := s.firstUser(ctx)
	if err != nil {
		return err
	}
	s.identity = pipeline.Identity{Stable: head + "/" + first, State: s.first.String()}
	return nil
}

// begin opens a connection and its read transaction.
func (s *Source) begin(name string) (*database, error) {
	db, err := openDatabase(name)
	if err != nil {
		return nil, err
	}
	setup := []string{"PRAGMA busy_timeout = 10000", "PRAGMA temp_store = memory"} // milliseconds
	if s.mode == Stopped {
		setup = append(setup, "PRAGMA locking_mode = exclusive") // before anything is read
	}
	setup = append(setup, "PRAGMA query_only = 1", "PRAGMA cache_size = -4096", // KiB; bounds the memory
		"BEGIN") // deferred: the first read takes the snapshot
	for _, sql := range setup {
		if err := db.exec(sql); err != nil {
			return nil, errors.Join(err, db.close())
		}
	}
	return db, nil
}

// Close ends the read transaction.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.second.close()
	for _, p := range s.pages {
		p.close()
	}
	s.pages = nil
	if s.db == nil {
		return err
	}
	err = errors.Join(err, s.db.end(s.stmts))
	s.db, s.stmts = nil, map[string]*statement{}
	return err
}

// dsn says how SQLite opens the file. All of it was measured with SQLite
// 3.54.1: a stopped database in WAL mode is read with the wal-index in heap
// memory, for which there must be a -wal; without frames immutable fits, which
// ignores a -wal.
func dsn(path string, m Mode, u usage, frames int64) string {
	q := "mode=ro"
	switch {
	case m == Stopped && frames == 0:
		q += "&immutable=1&vfs=" + vfsNoLocks
	case m == Stopped:
		q += "&vfs=" + vfsNoLocks
	case m == Live && u.shmLocked:
		q += "&readonly_shm=1&vfs=" + vfsLocking
	case m == Live:
		// Said to be live, but the application has no connection open at this
		// moment: SQLite has to make the -shm, and a -wal if there is none.
	default:
		q += "&vfs=" + vfsLocking
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q}).String()
}

func openError(path string, err error) error {
	var pe *pipeline.Error
	if errors.As(err, &pe) {
		return err
	}
	var se *sqliteError
	op := "reading " + path
	if !errors.As(err, &se) {
		return pipeline.Environment(op, err, "")
	}
	switch se.code & 0xff {
	case codeNotADB:
		return pipeline.Usage(op, err, encryptedHint)
	case codeCorrupt:
		return pipeline.Environment(op, err, "the database is damaged; restore it from a backup, or recover it with the sqlite3 tool's .recover and name the result")
	case codeBusy, codeProtocol:
		return pipeline.Transient(pipeline.Environment(op, err, "the application holds the database; run the same command again, or stop the application"))
	case codeCantOpen, codeReadOnly, codePerm, codeAuth:
		return pipeline.Environment(op, err, "run as a user that may read the database, its -wal and its -shm")
	}
	return pipeline.Environment(op, err, "")
}

// SQLite's result codes, https://www.sqlite.org/rescode.html.
const (
	codeError    = 1
	codePerm     = 3
	codeBusy     = 5
	codeReadOnly = 8
	codeCorrupt  = 11
	codeCantOpen = 14
	codeProtocol = 15
	codeAuth     = 23
	codeNotADB   = 26
)

const encryptedHint = "if the database is encrypted (SQLCipher), decrypt a copy with the sqlcipher tool and name that; otherwise name Open WebUI's DATA_DIR"

type header struct{ wal bool }

// readHeader looks at the first 100 bytes of the file (format: https://www.sqlite.org/fileformat.html section 1.3)
// before SQLite has it, because closing it later would drop SQLite's locks.
func readHeader(path string) (header, error) {
	op := "opening " + path
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return header{}, pipeline.Usage(op, err, "name Open WebUI's DATA_DIR, the folder that holds its webui.db")
	case err != nil:
		return header{}, pipeline.Environment(op, err, "run as a user that may read the database")
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && !st.Mode().IsRegular() {
		return header{}, pipeline.Usage(op, errors.New("it is not a file"), "name the database file itself")
	}
	var b [100]byte
	switch _, err := f.ReadAt(b[:], 0); {
	case err == nil && string(b[:16]) == "SQLite format 3\x00":
		return header{wal: b[18] == 2 && b[19] == 2}, nil
	case err != nil && !isEOF(err):
		return header{}, pipeline.Environment(op, err, "")
	case err != nil:
		return header{}, pipeline.Usage(op, errors.New("the file is too short for a SQLite database"), "name Open WebUI's DATA_DIR, the folder that holds its webui.db")
	}
	return header{}, pipeline.Usage(op, errors.New("the file is not a SQLite database, or it is encrypted"), encryptedHint)
}
