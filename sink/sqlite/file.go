package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"outgrow/pipeline"
)

// checkpoint is after how many pages SQLite carries them from the write-ahead
// log into the file: seldom enough that a page that many batches touch is
// carried once, often enough that the log stays below 100 MB.
const checkpoint = 16384

// dsn opens a file. Every commit is flushed to the disk; the mode is Open
// WebUI's own, a write-ahead log.
func (s *Sink) dsn(path string) string {
	q := url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_pragma": {"busy_timeout(20000)", "journal_mode(WAL)", "synchronous(FULL)",
		fmt.Sprintf("wal_autocheckpoint(%d)", checkpoint), fmt.Sprintf("cache_size(%d)", -s.cfg.CacheMiB<<10), "foreign_keys(0)"}}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// connect opens one of the two files, which must be there.
func (s *Sink) connect(ctx context.Context, path string) error {
	if s.closed {
		return errClosed
	}
	if s.db != nil && s.file == path {
		return nil
	}
	if err := s.disconnect(); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", s.dsn(path))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		_ = db.Close()
		return err
	}
	s.db, s.conn, s.file = db, conn, path
	return nil
}

// disconnect ends the only connection: SQLite then carries the log into the
// file and removes it.
func (s *Sink) disconnect() error {
	if s.db == nil {
		return nil
	}
	var errs []error
	for _, st := range s.stmts {
		errs = append(errs, st.Close())
	}
	errs = append(errs, s.conn.Close(), s.db.Close())
	s.db, s.conn, s.file, s.tables, s.stmts = nil, nil, "", nil, map[string]*sql.Stmt{}
	return classify("closing the target database", errors.Join(errs...))
}

// tx runs f in a transaction that is on the disk when it returns nil.
func (s *Sink) tx(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	// What is begun is not cancelled in its middle; f looks at ctx itself.
	whole := context.WithoutCancel(ctx)
	if _, err := s.conn.ExecContext(whole, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		_, err = s.conn.ExecContext(whole, "COMMIT")
	}
	if err != nil {
		_, _ = s.conn.ExecContext(whole, "ROLLBACK") // SQLite may have done that already
	}
	return err
}

var errClosed = errors.New("the target database is closed")

// code is SQLite's extended result code, 0 for other errors.
func code(err error) int {
	var e *driver.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// refusable reports whether an error is about the row that was written.
func refusable(err error) bool {
	switch code(err) & 0xff {
	case lib.SQLITE_CONSTRAINT, lib.SQLITE_TOOBIG, lib.SQLITE_MISMATCH:
		return true
	}
	return false
}

// classify says whose fault an error is and what to do.
func classify(op string, err error) error {
	var pe *pipeline.Error
	if err == nil || errors.As(err, &pe) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	switch code(err) & 0xff {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return pipeline.Transient(pipeline.Environment(op, err, "another program uses the database: stop it, then run the same command"))
	case lib.SQLITE_FULL:
		return pipeline.Environment(op, err, "free space on the target's disk, then run the same command: nothing is done twice")
	case lib.SQLITE_READONLY, lib.SQLITE_PERM, lib.SQLITE_CANTOPEN, lib.SQLITE_AUTH:
		return pipeline.Environment(op, err, "run as a user that may write to the target's folder")
	case lib.SQLITE_IOERR:
		return pipeline.Environment(op, err, "look at the target's disk (the kernel's log, free space), then run the same command")
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return pipeline.Environment(op, err, "the unfinished database is damaged: look at the target's disk, then run the same command with --replace")
	}
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return pipeline.Environment(op, err, "look at the target's folder: it must be there, be writable and have room")
	}
	return &pipeline.Error{Op: op, Err: err}
}

// inode names a file for as long as it is there, whatever it is called; "" when
// it is not.
func inode(path string) (string, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	switch {
	case errors.Is(err, unix.ENOENT):
		return "", nil
	case err != nil:
		return "", &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return strconv.FormatUint(uint64(st.Dev), 16) + ":" + strconv.FormatUint(st.Ino, 16), nil //nolint:unconvert // types differ between machines
}

// companions are the files that SQLite reads beside a database.
func companions(path string) []string {
	return []string{path + "-wal", path + "-shm", path + "-journal"}
}

// present lists those of the files that are there.
func present(paths ...string) ([]string, error) {
	var out []string
	for _, p := range paths {
		switch id, err := inode(p); {
		case err != nil:
			return nil, err
		case id != "":
			out = append(out, p)
		}
	}
	return out, nil
}

// flush makes names in a folder, or a file's content, outlive a power cut. No
// connection to the file may be open: closing it here would drop SQLite's locks.
func flush(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// like gives the file the owner of its folder, where that may be done, and the
// folder's rights to read and write.
func like(path string) error {
	var dir unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &dir); err != nil {
		return &fs.PathError{Op: "stat", Path: filepath.Dir(path), Err: err}
	}
	if err := os.Chown(path, int(dir.Uid), int(dir.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return os.Chmod(path, fs.FileMode(dir.Mode)&0o666)
}

func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func idents(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = ident(n)
	}
	return strings.Join(q, ", ")
}

// plain selects columns without their declared types, by which the driver would
// convert values.
func plain(alias string, names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = "+" + alias + ident(n)
	}
	return strings.Join(q, ", ")
}
