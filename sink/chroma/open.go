package chroma

import (
	"context"
	"crypto/rand"
	"database/sql"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/uuid"
	_ "modernc.org/sqlite" // the driver

	"outgrow/pipeline"
)

const (
	fileSQLite = "chroma.sqlite3"
	// partialDir is the folder in vector_db in which a store is filled.
	partialDir = ".outgrow-partial"
	// mark is the journal's name for the number of this run's store.
	mark = "chroma-store"
)

// What the real chromadb makes, see generate.sh.
var (
	//go:embed tables.sql
	tablesSQL string
	//go:embed rows.sql
	rowsSQL string
	//go:embed indexes.sql
	indexesSQL string
)

// store is the open database.
type store struct {
	db       *sql.DB
	file     string
	partial  bool
	database string // id of the row in databases
	// collections of that database, by name.
	collections map[string]*collection
}

func (s *Sink) final() string   { return filepath.Join(s.cfg.Dir, fileSQLite) }
func (s *Sink) partial() string { return filepath.Join(s.cfg.Dir, partialDir, fileSQLite) }

// place is what lies where a store may lie.
type place struct{ final, partial bool }

func (s *Sink) look() (p place, err error) {
	a, errA := os.Stat(s.final())
	b, errB := os.Stat(s.partial())
	for _, err := range []error{errA, errB} {
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotDir) {
			return p, err
		}
	}
	p = place{errA == nil, errB == nil}
	if p.final && p.partial && os.SameFile(a, b) {
		// Finish was interrupted after it had given the file its name.
		p.partial = false
		return p, s.unlinkPartial()
	}
	return p, nil
}

// store opens this run's store, and makes it where there is none. The caller
// holds the lock.
func (s *Sink) store(ctx context.Context) (*store, error) {
	if s.st != nil {
		return s.st, nil
	}
	const op = "opening the target's Chroma store"
	p, err := s.look()
	if err != nil {
		return nil, s.failed(ctx, op, err)
	}
	number, err := s.number(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case p.final && p.partial:
		return nil, pipeline.Usage(op, fmt.Errorf("%s was made by something else while outgrow was filling another one", s.final()),
			"stop Open WebUI, move that file and the folders beside it away, then run the same command")
	case p.final:
		err = s.attach(ctx, s.final(), number)
	case p.partial:
		err = s.attach(ctx, s.partial(), number)
		if errors.Is(err, errForeign) {
			if gone, emptyErr := s.discardEmpty(ctx); gone {
				err = s.make(ctx, number)
			} else if emptyErr != nil {
				err = emptyErr
			}
		}
	default:
		var gone bool
		if gone, err = s.written(ctx, nil); err == nil && gone {
			return nil, pipeline.Usage(op, fmt.Errorf("%s is gone, though records were written to it", s.final()),
				"name the data folder that the run was begun with, or start over with --replace")
		}
		if err == nil {
			err = s.make(ctx, number)
		}
	}
	return s.st, s.failed(ctx, op, err)
}

// errForeign is returned for a store that this run has not made.
var errForeign = errors.New("it was not made by this run")

// number gives the number of this run's store, 0 when none was made.
func (s *Sink) number(ctx context.Context) (int64, error) {
	if s.cfg.Journal == nil {
		return 0, nil
	}
	marks, err := s.cfg.Journal.Marked(ctx)
	if err != nil || marks[mark] == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(marks[mark], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading the mark %s: %w", mark, err)
	}
	return n, nil
}

// attach opens a store that is there, if it is the run's.
func (s *Sink) attach(ctx context.Context, file string, number int64) error {
	partial := file == s.partial()
	db, err := dial(file, partial)
	if err != nil {
		return err
	}
	st := &store{db: db, file: file, partial: partial}
	if err := s.adopt(ctx, st, number); err != nil {
		return errors.Join(err, db.Close())
	}
	s.st = st
	return nil
}

func (s *Sink) adopt(ctx context.Context, st *store, number int64) error {
	var have int64
	if err := st.db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&have); err != nil {
		return err
	}
	var tables int
	if err := st.db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&tables); err != nil {
		return err
	}
	if st.partial && tables == 0 { // made, and then interrupted
		return s.fill(ctx, st, number)
	}
	if have == 0 || s.cfg.Journal != nil && have != number {
		what := "is there already"
		if st.partial {
			what = "was filled by another run"
		}
		return pipeline.Usage("opening the target's Chroma store", fmt.Errorf("%s %s: %w", st.file, what, errForeign),
			"choose an empty data folder, move "+s.cfg.Dir+" away, or say --replace to delete what is there")
	}
	if err := st.sameSchema(ctx); err != nil {
		return err
	}
	return st.load(ctx, s.cfg.Store.Tenant, s.cfg.Store.Database)
}

// discardEmpty removes a store that another run has begun and put nothing into.
func (s *Sink) discardEmpty(ctx context.Context) (gone bool, err error) {
	n, _, err := held(ctx, s.partial())
	if err != nil || n > 0 {
		return false, err
	}
	return true, s.removePartial()
}

// make makes the store in its partial place. The journal knows its number
// before there is one that has it.
func (s *Sink) make(ctx context.Context, number int64) error {
	if err := s.makeFolders(); err != nil {
		return err
	}
	db, err := dial(s.partial(), true)
	if err != nil {
		return err
	}
	st := &store{db: db, file: s.partial(), partial: true}
	if err := s.fill(ctx, st, number); err != nil {
		return errors.Join(err, db.Close())
	}
	s.st = st
	return s.flushFolders()
}

// fill makes the tables in one transaction.
func (s *Sink) fill(ctx context.Context, st *store, number int64) error {
	if number == 0 {
		var b [4]byte
		_, _ = rand.Read(b[:])                                          // never fails
		number = int64(binary.LittleEndian.Uint32(b[:])&0x7fffffff | 1) // any but 0, which every other database has
		if s.cfg.Journal != nil {
			if err := s.cfg.Journal.Mark(ctx, mark, strconv.FormatInt(number, 10)); err != nil {
				return err
			}
		}
	}
	err := st.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, tablesSQL+rowsSQL+"PRAGMA application_id = "+strconv.FormatInt(number, 10))
		return err
	})
	if err != nil {
		return err
	}
	return st.load(ctx, s.cfg.Store.Tenant, s.cfg.Store.Database)
}

// dial opens the file; a partial one need not be there. One connection writes.
//
// A commit is on disk when it returns. The journal of a partial store is
// truncated, not deleted: with synchronous=FULL that is flushed too, and the
// folder need not be. Chroma's own stores are in rollback mode with 4096 bytes a
// page; the mode of one that has its name is left as it is.
func dial(file string, partial bool) (*sql.DB, error) {
	pragmas := []string{"busy_timeout(20000)", "cache_size(-65536)", "synchronous(EXTRA)"}
	if partial {
		pragmas = []string{"busy_timeout(20000)", "cache_size(-65536)", "journal_mode(TRUNCATE)", "synchronous(FULL)"}
	}
	q := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	if !partial {
		q.Set("mode", "rw")
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: q.Encode()}).String())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// tx runs f in a transaction.
func (st *store) tx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := st.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err = st.moved(); err == nil {
		err = f(tx)
	}
	if err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx.Commit()
}

// moved fails when the file got its name while this process was writing to it
// under the old one: another process has taken over.
func (st *store) moved() error {
	if _, err := os.Stat(st.file); err != nil {
		return pipeline.Environment("writing to the Chroma store", fmt.Errorf("%w: %w", pipeline.ErrFenced, err),
			"another outgrow works on this target: let it end, then run the same command")
	}
	return nil
}

// ignoreDone leaves out that a transaction was rolled back already.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// sameSchema refuses a store that another version of Chroma has migrated since.
func (st *store) sameSchema(ctx context.Context) error {
	var known, other int
	err := st.db.QueryRowContext(ctx, "SELECT count(*) FILTER (WHERE hash IN ("+hashes()+")), count(*) FILTER (WHERE hash NOT IN ("+hashes()+")) FROM migrations").Scan(&known, &other)
	if err == nil && (other > 0 || known != len(hashList())) {
		err = pipeline.Usage("opening the target's Chroma store", errors.New("another version of Chroma has changed its tables since it was written"),
			"write a fresh store: choose an empty data folder, or say --replace")
	}
	return err
}

// load reads the collections of the database, and makes the tenant's database
// where it is missing: Open WebUI does not start without it.
func (st *store) load(ctx context.Context, tenant, database string) error {
	st.collections = map[string]*collection{}
	err := st.db.QueryRowContext(ctx, "SELECT id FROM databases WHERE tenant_id = ? AND name = ?", tenant, database).Scan(&st.database)
	if errors.Is(err, sql.ErrNoRows) {
		st.database = uuid.NewString()
		err = st.tx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO tenants (id) VALUES (?)", tenant)
			if err == nil {
				_, err = tx.ExecContext(ctx, "INSERT INTO databases (id, name, tenant_id) VALUES (?, ?, ?)", st.database, database, tenant)
			}
			return err
		})
	}
	if err != nil {
		return err
	}
	rows, err := st.db.QueryContext(ctx, `SELECT c.id, c.name, coalesce(c.dimension, 0), coalesce(c.schema_str, ''), v.id, m.id FROM collections c
		JOIN segments v ON v.collection = c.id AND v.scope = 'VECTOR' JOIN segments m ON m.collection = c.id AND m.scope = 'METADATA' WHERE c.database_id = ?`, st.database)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		l := &collection{}
		if err := rows.Scan(&l.id, &l.name, &l.dim, &l.schema, &l.vectorSeg, &l.metaSeg); err != nil {
			return err
		}
		st.collections[l.name] = l
	}
	return rows.Err()
}
