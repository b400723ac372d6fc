package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"

	"outgrow/mappings/fstype"
	"outgrow/pipeline"
)

// Mode is how a source is read.
type Mode int

// The modes.
const (
	// Stopped: nobody uses the database; no locks are taken, nothing is created.
	Stopped Mode = iota + 1
	// Live: another process uses it in WAL mode; a read transaction holds the
	// snapshot, and no file is opened for writing.
	Live
	// Locked: the database is not in WAL mode; it is read under the shared lock.
	Locked
)

// String names the mode for people.
func (m Mode) String() string {
	switch m {
	case Stopped:
		return "stopped"
	case Live:
		return "live"
	case Locked:
		return "stopped, not in WAL mode"
	}
	return "unknown"
}

// usage is what can be seen of other processes on a database.
type usage struct {
	shm       bool // there is a -shm file
	shmLocked bool // another process holds SQLite's locks on the -shm
	locked    bool // another process holds SQLite's locks on the database
	held      bool // another process has one of the files open
	certain   bool // the locks of all its users are seen
}

// live says whether to treat the database as in use. A -shm that nobody locks
// is what a crash leaves behind; where locks of others cannot be seen (a
// network file system) it counts as in use.
func (u usage) live() bool {
	return u.shmLocked || u.locked || u.held || u.shm && !u.certain
}

func decide(cfg Config, path string, head header, u usage, on fstype.Type) (Mode, error) {
	op := "opening " + path
	if err := hotJournal(path, op); err != nil {
		return 0, err
	}
	u.certain = u.certain && !on.Network()
	live := u.live()
	if cfg.Stopped != nil {
		live = !*cfg.Stopped
	}
	switch {
	case live && on.Network():
		return 0, pipeline.Environment(op, fmt.Errorf("the database lies on a network file system (%s) and may be in use: SQLite's locks and shared memory do not reach other machines", on),
			"stop Open WebUI on every machine, or run on the one where its data folder is local; say --stopped if nothing uses it")
	case live && !head.wal:
		return 0, pipeline.Usage(op, errors.New("the database is in use and not in WAL mode: reading it would make the application wait or fail"),
			"stop Open WebUI for the copy, or start it once with DATABASE_ENABLE_SQLITE_WAL=true")
	case !head.wal:
		return Locked, nil
	case live:
		return Live, nil
	}
	return Stopped, nil
}

// hotJournal refuses a database whose rollback journal holds an unfinished
// transaction: without rolling it back, which writes, the content is torn.
func hotJournal(path, op string) error {
	f, err := os.Open(path + "-journal")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return pipeline.Environment(op, err, "run as a user that may read "+path+"-journal")
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], 0); isEOF(err) || err == nil && b[0] == 0 {
		return nil // journal_mode TRUNCATE and PERSIST leave these
	}
	return pipeline.Usage(op, errors.New("a rollback journal lies beside it: the last transaction was cut off, or is being written"),
		"start and stop Open WebUI once, or copy webui.db and webui.db-journal, open the copy once with the sqlite3 tool and name the copy")
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
