// Package localstate keeps a lane's journal in a SQLite file, for lanes whose
// target is no database: DIR/LANE/state.db, with DIR/LANE/lock beside it, which
// the working process holds locked for as long as it lives.
//
// Every change is one transaction, on disk when the method returns (rollback
// journal, synchronous=EXTRA: also the removal of the journal is flushed, and
// the file may lie on a share, which a write-ahead log may not). Whoever has
// not begun may read.
package localstate

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"outgrow/pipeline"
)

// version is that of the tables.
const version = 1

// Errors that have a reason of their own.
var (
	ErrForbidden  = errors.New("the state may not be kept in the source folder")
	ErrVersion    = errors.New("the state was written by another version of outgrow")
	errNotBegun   = errors.New("the run was not begun")
	errOtherParts = errors.New("the parts were fixed before, and differ")
	errNoPart     = errors.New("the part was never fixed")
)

// Store is the journal of one lane. It is safe for concurrent use.
type Store struct {
	db    *sql.DB
	dir   string
	lock  atomic.Pointer[os.File] // held from Begin to Close
	epoch atomic.Int64            // 0 before Begin
}

var (
	_ pipeline.Journal   = (*Store)(nil)
	_ pipeline.Peeker    = (*Store)(nil)
	_ pipeline.Restarter = (*Store)(nil)
)

// Open opens the lane's state below dir, and makes it where it is missing (the
// folders readable to their owner only). It locks nothing, and gives ErrLocked when
// another process does not end a transaction of its own for 20 seconds. dir may not be, or
// lie in, a forbidden folder: name the source's there.
func Open(ctx context.Context, dir string, lane pipeline.Lane, forbidden ...string) (*Store, error) {
	return openWithin(ctx, 20*time.Second, dir, lane, forbidden...)
}

// openWithin is Open that waits so long for another process's transaction.
func openWithin(ctx context.Context, patience time.Duration, dir string, lane pipeline.Lane, forbidden ...string) (*Store, error) {
	const hint = "pass --state DIR, a folder that this user may write to, outside of the source"
	s := &Store{dir: filepath.Join(dir, string(lane))}
	for _, f := range forbidden {
		if in, err := inside(dir, f); err != nil || in {
			if err == nil {
				err = fmt.Errorf("%s: %w", dir, ErrForbidden)
			}
			return nil, pipeline.Usage("opening the state", err, hint)
		}
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, pipeline.Environment("making the state folder", err, hint)
	}
	file := filepath.Join(s.dir, "state.db")
	// Made here, so that its mode is right from the start.
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, pipeline.Environment("opening the state", err, hint)
	}
	q := url.Values{"_pragma": {fmt.Sprintf("busy_timeout(%d)", patience.Milliseconds()), "journal_mode(DELETE)", "synchronous(EXTRA)"}, "_txlock": {"immediate"}}
	if s.db, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: q.Encode()}).String()); err != nil {
		return nil, pipeline.Environment("opening the state", err, hint)
	}
	s.db.SetMaxOpenConns(1)
	if err := s.tables(ctx); err != nil {
		_ = s.db.Close()
		return nil, notOpened(s.dir, file, err)
	}
	return s, nil
}

// notOpened says what to do about a state that could not be opened. Only a damaged
// one is of no use any more.
func notOpened(dir, file string, err error) error {
	switch err := wrap("opening the state in "+dir, err); {
	case pipeline.ExitCode(err) == pipeline.ExitEnvironment:
		return err
	case errors.Is(err, ErrVersion):
		return pipeline.Usage("opening the state", err, "end the run with the version of outgrow that began it")
	}
	return pipeline.Environment("opening the state", err, "if "+file+" is damaged, move it away: the next run then writes everything again, which is safe")
}

// inside reports whether dir is folder or lies below it, whatever links lead
// there.
func inside(dir, folder string) (bool, error) {
	real := func(p string) (string, error) {
		p, err := filepath.Abs(p)
		if err != nil {
			return "", err
		}
		// The part that is there already decides.
		rest := ""
		for {
			r, err := filepath.EvalSymlinks(p)
			if err == nil {
				return filepath.Join(r, rest), nil
			}
			if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(p) == p {
				return "", err
			}
			p, rest = filepath.Dir(p), filepath.Join(filepath.Base(p), rest)
		}
	}
	a, err := real(dir)
	if err != nil {
		return false, err
	}
	b, err := real(folder)
	if err != nil {
		return false, err
	}
	rel, err := filepath.Rel(b, a)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)), nil
}

// Keys and cursors are blobs: they may hold any bytes.
const schema = `
CREATE TABLE run (one INTEGER PRIMARY KEY CHECK (one = 1), run TEXT NOT NULL, epoch INTEGER NOT NULL, changed INTEGER NOT NULL);
CREATE TABLE part (unit TEXT, n INTEGER, part TEXT NOT NULL, at TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0,
	written INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (unit, n)) WITHOUT ROWID;
CREATE TABLE quarantine (id INTEGER PRIMARY KEY AUTOINCREMENT, unit TEXT NOT NULL, key BLOB NOT NULL, col TEXT NOT NULL, reason TEXT NOT NULL,
	detail TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (unit, key, col, reason));
CREATE TABLE ledger (id INTEGER PRIMARY KEY AUTOINCREMENT, unit TEXT NOT NULL, key BLOB NOT NULL, col TEXT NOT NULL, reason TEXT NOT NULL,
	before TEXT NOT NULL, after TEXT NOT NULL, note TEXT NOT NULL, UNIQUE (unit, key, col, reason));
CREATE TABLE mark (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE accepted (reason TEXT PRIMARY KEY) WITHOUT ROWID;`

func (s *Store) tables(ctx context.Context) error {
	var have int
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil || have == version {
		return err
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		// Another process may have made them meanwhile.
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil || have == version {
			return err
		}
		if have != 0 {
			return fmt.Errorf("version %d: %w", have, ErrVersion)
		}
		_, err := tx.ExecContext(ctx, schema+"PRAGMA user_version = "+strconv.Itoa(version))
		return err
	})
}

// tx runs f in a transaction.
func (s *Store) tx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// mine runs f in a transaction of the process that has begun last.
func (s *Store) mine(ctx context.Context, op string, f func(*sql.Tx) error) error {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		epoch := s.epoch.Load()
		if epoch == 0 {
			return errNotBegun
		}
		var now int64
		if err := tx.QueryRowContext(ctx, "SELECT epoch FROM run").Scan(&now); err != nil {
			return err
		}
		if now != epoch {
			return pipeline.ErrFenced
		}
		return f(tx)
	})
	return wrap(op, err)
}

// Begin locks the lane, for as long as this process lives or until Close, and
// takes a new epoch.
func (s *Store) Begin(ctx context.Context, run pipeline.Run) (pipeline.Resumed, error) {
	var res pipeline.Resumed
	if err := s.acquire(); err != nil {
		return res, err
	}
	var epoch int64
	err := s.tx(ctx, func(tx *sql.Tx) error {
		var text string
		var changed bool
		err := tx.QueryRowContext(ctx, "UPDATE run SET epoch = epoch + 1 RETURNING run, epoch, changed").Scan(&text, &epoch, &changed)
		if errors.Is(err, sql.ErrNoRows) {
			body, err := json.Marshal(run)
			if err != nil {
				return err
			}
			epoch, res = 1, pipeline.Resumed{Run: run, Epoch: 1, Fresh: true}
			_, err = tx.ExecContext(ctx, "INSERT INTO run (one, run, epoch, changed) VALUES (1, ?, 1, 0)", string(body))
			return err
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(text), &res.Run); err != nil {
			return fmt.Errorf("reading the stored run: %w", err)
		}
		if res.Run.Source.Stable != run.Source.Stable || res.Run.Target != run.Target {
			return pipeline.ErrOtherPair
		}
		res.Epoch, res.SourceChanged = epoch, changed || res.Run.Source.State != run.Source.State
		if res.SourceChanged && !changed {
			if _, err := tx.ExecContext(ctx, "UPDATE run SET changed = 1"); err != nil {
				return err
			}
		}
		var done string
		err = tx.QueryRowContext(ctx, "SELECT value FROM mark WHERE name = 'complete'").Scan(&done)
		res.Complete = done != ""
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		return err
	})
	if errors.Is(err, pipeline.ErrOtherPair) {
		s.release()
		return res, &pipeline.Error{Op: "resuming with " + s.dir, Err: err, Exit: pipeline.ExitUsage,
			Hint: "name the source and target that this state belongs to, or another --state folder"}
	}
	if err != nil {
		s.release()
		return res, wrap("beginning the run", err)
	}
	s.epoch.Store(epoch)
	return res, nil
}

// Restart forgets everything that is kept, locks the lane and begins anew. The
// epoch goes on, so writers of earlier processes stay fenced. Marks that begin
// with "without:" stay: they tell what is still to be put back on the target.
func (s *Store) Restart(ctx context.Context, run pipeline.Run) (pipeline.Resumed, error) {
	if err := s.acquire(); err != nil {
		return pipeline.Resumed{}, err
	}
	var epoch int64
	err := s.tx(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(epoch), 0) + 1 FROM run").Scan(&epoch); err != nil {
			return err
		}
		for _, table := range []string{"run", "part", "quarantine", "ledger", "accepted", "mark WHERE substr(name, 1, 8) <> 'without:'"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table); err != nil {
				return err
			}
		}
		body, err := json.Marshal(run)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO run (one, run, epoch, changed) VALUES (1, ?, ?, 0)", string(body), epoch)
		return err
	})
	if err != nil {
		s.release()
		return pipeline.Resumed{}, wrap("beginning anew", err)
	}
	s.epoch.Store(epoch)
	return pipeline.Resumed{Run: run, Epoch: epoch, Fresh: true}, nil
}

// Peek gives the run as it was first begun, nil when there is none.
func (s *Store) Peek(ctx context.Context) (*pipeline.Run, error) {
	var text string
	err := s.db.QueryRowContext(ctx, "SELECT run FROM run").Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	run := &pipeline.Run{}
	if err == nil {
		err = json.Unmarshal([]byte(text), run)
	}
	if err != nil {
		return nil, wrap("reading the stored run", err)
	}
	return run, nil
}

// Close releases the lock. A second call is harmless.
func (s *Store) Close() error {
	s.epoch.Store(0)
	err := s.db.Close()
	s.release()
	return err
}

// wrap names what failed; what the engine looks for can still be found. What the
// state folder's disk or rights refuse is the environment's.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	switch code(err) & 0xff {
	case lib.SQLITE_BUSY:
		// Only another outgrow opens the state, and it was stopped within a transaction.
		return locked(op)
	case lib.SQLITE_FULL:
		return pipeline.Environment(op, err, "free space in the state folder, then run the same command")
	case lib.SQLITE_READONLY, lib.SQLITE_PERM, lib.SQLITE_CANTOPEN:
		return pipeline.Environment(op, err, "let this user write to the state folder, then run the same command")
	case lib.SQLITE_IOERR:
		return pipeline.Environment(op, err, "look at the state folder's disk (the kernel's log, free space), then run the same command")
	}
	return fmt.Errorf("%s: %w", op, err)
}

// code is SQLite's extended result code, 0 for other errors.
func code(err error) int {
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		return e.Code()
	}
	return 0
}
