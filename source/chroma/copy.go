package chroma

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver

	"outgrow/pipeline"
)

// FileName is the database of an embedded store, in its folder.
const FileName = "chroma.sqlite3"

const (
	// copyAttempts and copyWait bound how long a store that is being written
	// is waited for.
	copyAttempts = 8
	copyWait     = 50 * time.Millisecond
	// lockAfter attempts the database is copied under SQLite's shared lock, if that takes no longer than lockLongest:
	// a commit of Open WebUI waits for it.
	lockAfter   = 3
	lockLongest = time.Second
	// lockWait is how long the lock is waited for. It holds nobody up.
	lockWait = 2 * time.Second
	// copyMargin is what a private copy may grow by while its journal is
	// rolled back.
	copyMargin = 16 << 20
)

// suffixes of the files that belong to chroma.sqlite3.
var suffixes = [...]string{"", "-journal", "-wal"}

// headSize covers what SQLite renews with every change at the head of a file: the change counter of the database (bytes 24
// to 27) and the modes it is read and written in (18 and 19; 1 is a rollback journal), the nonce of a -journal (12 to 15),
// the salts of a -wal (16 to 23). https://www.sqlite.org/fileformat2.html
const headSize = 32

// dbFile is the state of one file of the database. Its head tells a change that keeps the size and falls into the same
// tick of the file system's clock.
type dbFile struct {
	fileState
	head [headSize]byte
}

func stateOfDBFile(path string) (dbFile, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return dbFile{fileState: fileState{size: -1}}, nil
	}
	if err != nil {
		return dbFile{}, err
	}
	defer f.Close()
	return stateOfOpen(f)
}

func stateOfOpen(f *os.File) (dbFile, error) {
	st, err := f.Stat()
	if err != nil {
		return dbFile{}, err
	}
	s := dbFile{fileState: fileState{st.Size(), st.ModTime()}}
	if _, err := f.ReadAt(s.head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return dbFile{}, err
	}
	return s, nil
}

// changes is SQLite's own count of the transactions that wrote to the file. With a -wal it stands still.
func (f dbFile) changes() uint32 { return binary.BigEndian.Uint32(f.head[24:]) }

// dbState is the state of chroma.sqlite3 and its journals.
type dbState [len(suffixes)]dbFile

func stateOfDB(dir string) (s dbState, err error) {
	for i, suffix := range suffixes {
		if s[i], err = stateOfDBFile(filepath.Join(dir, FileName+suffix)); err != nil {
			return s, err
		}
	}
	return s, nil
}

// quiet reports whether the database can be read as it lies: rollback mode and
// no journal, so that no byte of it stands anywhere else.
func (s dbState) quiet() bool {
	return s[1].size < 0 && s[2].size < 0 && s[0].rollback()
}

// rollback reports whether the database is one with a rollback journal, which is what Chroma makes.
func (f dbFile) rollback() bool { return f.head[18] == 1 && f.head[19] == 1 }

// copyDB copies the database and its journals to a folder while nothing of them
// changes. It returns the state of what was copied.
func copyDB(ctx context.Context, from, to string) (dbState, error) {
	wait := copyWait
	for attempt := 1; ; attempt++ {
		before, err := stateOfDB(from)
		if err != nil {
			return before, pipeline.Environment("reading the Chroma store", err, "make the folder readable")
		}
		began := time.Now()
		if err := copyOnce(ctx, from, to, before); err == nil {
			after, err := stateOfDB(from)
			if err != nil || after == before {
				return after, err
			}
		} else if !errors.Is(err, fs.ErrNotExist) { // a journal may vanish while it is copied
			return before, err
		}
		if attempt >= lockAfter && before[0].rollback() && time.Since(began) < lockLongest {
			if state, err := copyLocked(ctx, from, to); err == nil || ctx.Err() != nil {
				return state, err
			}
		}
		if attempt == copyAttempts {
			return before, pipeline.Transient(&pipeline.Error{
				Op: "copying the Chroma database", Err: errors.New("it was written to during every attempt"),
				Hint: "stop Open WebUI, or try again when nobody uploads files", Exit: pipeline.ExitEnvironment,
			})
		}
		if err := pipeline.Sleep(ctx, wait); err != nil {
			return before, err
		}
		wait *= 2
	}
}

// copyLocked copies the database under SQLite's shared lock: nothing writes to the file then, and a journal belongs to a
// transaction that has not begun to. It fails when the lock cannot be had, after a crash of a writer for example, and
// when the copy takes longer than lockLongest.
func copyLocked(ctx context.Context, from, to string) (state dbState, err error) {
	// The file is closed last: with it the process gives up its locks on it.
	in, err := os.Open(filepath.Join(from, FileName))
	if err != nil {
		return state, err
	}
	defer in.Close()
	db, err := sql.Open("sqlite", dsn(from, fmt.Sprintf("mode=ro&_pragma=busy_timeout(%d)", lockWait.Milliseconds())))
	if err != nil {
		return state, err
	}
	defer db.Close()
	if err := clearCopy(to); err != nil {
		return state, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return state, err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	var n int64
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil {
		return state, err
	}
	limited, cancel := context.WithTimeout(ctx, lockLongest)
	defer cancel()
	before, err := stateOfOpen(in)
	if err != nil {
		return state, err
	}
	if err := copyOpen(limited, in, filepath.Join(to, FileName)); err != nil {
		return state, err
	}
	// Whoever else closed the file in this process took the lock away.
	state[0], err = stateOfOpen(in)
	if err == nil && state[0] != before {
		err = errMoved
	}
	state[1].size, state[2].size = -1, -1
	return state, err
}

// clearCopy removes what an attempt left.
func clearCopy(to string) error {
	for _, suffix := range suffixes {
		if err := os.Remove(filepath.Join(to, FileName+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func copyOnce(ctx context.Context, from, to string, state dbState) error {
	need := int64(copyMargin)
	for _, s := range state {
		need += max(0, s.size)
	}
	if err := clearCopy(to); err != nil {
		return err
	}
	if free, ok := freeSpace(to); ok && free < need {
		return pipeline.Environment("copying the Chroma database",
			fmt.Errorf("%s has %d MB free, a private copy of %s needs %d MB", to, free>>20, FileName, need>>20+1),
			"free space there or name another folder for temporary files (TMPDIR)")
	}
	// The journal last: while it exists nothing of the main file is lost.
	for i, suffix := range suffixes {
		if state[i].size < 0 {
			continue
		}
		if err := copyFile(ctx, filepath.Join(from, FileName+suffix), filepath.Join(to, FileName+suffix)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return pipeline.Environment("reading the Chroma store", err, "make the file readable for this user")
		}
		return err
	}
	defer in.Close()
	return copyOpen(ctx, in, to)
}

func copyOpen(ctx context.Context, in io.Reader, to string) (err error) {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return pipeline.Environment("copying the Chroma database", err, "")
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	const step = 8 << 20
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		// Not io.Copy: a step at a time lets a cancelled copy end soon.
		switch _, err := io.CopyN(out, in, step); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return pipeline.Environment("copying the Chroma database", err, "")
		}
	}
}

// settle opens the private copy for writing once, which rolls a hot journal
// back, and takes a -wal into it, so that it can be read without locks.
func settle(ctx context.Context, dir string) error {
	db, err := sql.Open("sqlite", dsn(dir, "mode=rw"))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode=DELETE").Scan(&mode); err != nil {
		return err
	}
	if mode != "delete" {
		return fmt.Errorf("the private copy stays in journal mode %s", mode)
	}
	return nil
}

// openImmutable opens a database that does not change and has no journal.
func openImmutable(dir string) (*sql.DB, error) {
	return sql.Open("sqlite", dsn(dir, "mode=ro&immutable=1&_pragma=query_only(1)"))
}

func dsn(dir, query string) string {
	path := filepath.ToSlash(filepath.Join(dir, FileName))
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query}).String()
}
