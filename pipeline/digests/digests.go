// Package digests remembers on disk what a target holds: the digest of every
// record as it was last written there, by unit and key. A sync pass compares the
// source with it instead of reading the target.
//
// The file may be lost or fall behind: whoever uses it then compares with the
// target once more. So nothing waits for the disk here; what must never happen
// is a digest that is kept before its record is durable on the target.
//
// In memory it needs a page cache of 16 MiB and one bit for every record.
package digests

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the driver

	"outgrow/pipeline"
)

// version is that of the tables.
const version = 1

// often is how many entries are kept before they are committed.
const often = 20_000

const hint = "pass --state DIR, a folder that this user may write to, outside of the source"

// Store is the digests of one lane. It is safe for concurrent use.
type Store struct {
	mu    sync.Mutex
	db    *sql.DB
	conn  *sql.Conn
	units map[string]int64
	next  map[int64]int64   // by unit: the number of the next key
	seen  map[int64]*bitset // by unit: the numbers met in this pass
	many  *sql.Stmt         // looks chunk keys up
	open  int               // entries that are not committed, -1 outside a transaction
}

// Open opens DIR/digests.db, and makes it where it is missing. What was
// remembered for another run is forgotten.
func Open(ctx context.Context, dir, run string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, pipeline.Environment("making the state folder", err, hint)
	}
	file := filepath.Join(dir, "digests.db")
	s, err := open(ctx, file, run)
	if err == nil {
		return s, nil
	}
	// Whatever is wrong with it, it can be made again.
	for _, name := range []string{file, file + "-journal"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, pipeline.Environment("opening the digests", err, hint)
		}
	}
	if s, err = open(ctx, file, run); err != nil {
		return nil, pipeline.Environment("opening the digests", err, hint)
	}
	return s, nil
}

const schema = `
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE unit (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, whole INTEGER NOT NULL DEFAULT 0);
CREATE TABLE digest (unit INTEGER NOT NULL, key BLOB NOT NULL, n INTEGER NOT NULL, sum BLOB NOT NULL, refused INTEGER NOT NULL, PRIMARY KEY (unit, key)) WITHOUT ROWID;`

func open(ctx context.Context, file, run string) (_ *Store, err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, err
	}
	q := url.Values{"_pragma": {"busy_timeout(20000)", "journal_mode(DELETE)", "synchronous(OFF)", "cache_size(-16384)", "temp_store(FILE)"}}
	s := &Store{units: map[string]int64{}, next: map[int64]int64{}, seen: map[int64]*bitset{}, open: -1}
	if s.db, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: q.Encode()}).String()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	s.db.SetMaxOpenConns(1)
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return nil, err
	}
	if err = s.tables(ctx, run); err != nil {
		return nil, err
	}
	return s, s.load(ctx)
}

func (s *Store) tables(ctx context.Context, run string) error {
	var have int
	if err := s.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	if have != 0 && have != version {
		return fmt.Errorf("version %d", have)
	}
	if have == version {
		var of string
		if err := s.conn.QueryRowContext(ctx, "SELECT value FROM fact WHERE name = 'run'").Scan(&of); err != nil {
			return err
		}
		if of != run {
			return fmt.Errorf("kept for the run %s", of)
		}
		return nil
	}
	if _, err := s.conn.ExecContext(ctx, schema); err != nil {
		return err
	}
	if _, err := s.conn.ExecContext(ctx, "INSERT INTO fact VALUES ('run', ?)", run); err != nil {
		return err
	}
	_, err := s.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version))
	return err
}

func (s *Store) load(ctx context.Context) error {
	rows, err := s.conn.QueryContext(ctx, "SELECT id, name, (SELECT coalesce(max(n), -1) + 1 FROM digest WHERE unit = unit.id) FROM unit")
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err tells
	for rows.Next() {
		var id, next int64
		var name string
		if err := rows.Scan(&id, &name, &next); err != nil {
			return err
		}
		s.units[name], s.next[id] = id, next
	}
	return rows.Err()
}

// Close commits what was kept.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.commit(context.Background())
	if s.many != nil {
		err = errors.Join(err, s.many.Close())
	}
	if s.conn != nil {
		err = errors.Join(err, s.conn.Close())
	}
	return errors.Join(err, s.db.Close())
}

// Flush commits what was kept so far.
func (s *Store) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wrap("keeping digests", s.commit(ctx))
}

func (s *Store) commit(ctx context.Context) error {
	if s.open < 0 {
		return nil
	}
	s.open = -1
	_, err := s.conn.ExecContext(ctx, "COMMIT")
	return err
}

// begin is called with the lock held, before every change.
func (s *Store) begin(ctx context.Context, entries int) error {
	if s.open+entries > often {
		if err := s.commit(ctx); err != nil {
			return err
		}
	}
	if s.open >= 0 {
		s.open += entries
		return nil
	}
	_, err := s.conn.ExecContext(ctx, "BEGIN IMMEDIATE")
	if err == nil {
		s.open = entries
	}
	return err
}

// unit gives a unit's number, made when create says so; -1 when there is none.
func (s *Store) unit(ctx context.Context, name string, create bool) (int64, error) {
	if id, ok := s.units[name]; ok {
		return id, nil
	}
	if !create {
		return -1, nil
	}
	res, err := s.conn.ExecContext(ctx, "INSERT INTO unit (name) VALUES (?)", name)
	if err != nil {
		return 0, err
	}
	id, err := res.LastInsertId()
	s.units[name] = id
	return id, err
}

// Pass begins a pass: nothing was seen yet.
func (s *Store) Pass() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = map[int64]*bitset{}
}

// chunk is how many keys are looked up by one statement.
const chunk = 200

// Look gives what is known of the keys, and counts them as seen in this pass.
func (s *Store) Look(ctx context.Context, unit string, keys []string) (map[string]pipeline.Known, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]pipeline.Known, len(keys))
	id, err := s.unit(ctx, unit, false)
	if err != nil || id < 0 {
		return out, wrap("looking digests up", err)
	}
	for len(keys) > 0 {
		n := min(chunk, len(keys))
		if err := s.look(ctx, id, keys[:n], out); err != nil {
			return nil, wrap("looking digests up", err)
		}
		keys = keys[n:]
	}
	return out, nil
}

func (s *Store) look(ctx context.Context, id int64, keys []string, out map[string]pipeline.Known) error {
	args := make([]any, 0, len(keys)+1)
	args = append(args, id)
	for _, k := range keys {
		args = append(args, []byte(k))
	}
	rows, err := s.query(ctx, len(keys), args)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err tells
	for rows.Next() {
		var key, sum sql.RawBytes
		var n int64
		var k pipeline.Known
		if err := rows.Scan(&key, &n, &sum, &k.Refused); err != nil {
			return err
		}
		copy(k.Sum[:], sum)
		out[string(key)] = k
		s.see(id, n)
	}
	return rows.Err()
}

func (s *Store) query(ctx context.Context, keys int, args []any) (*sql.Rows, error) {
	statement := "SELECT key, n, sum, refused FROM digest WHERE unit = ? AND key IN (?" + strings.Repeat(",?", keys-1) + ")"
	if keys < chunk {
		return s.conn.QueryContext(ctx, statement, args...)
	}
	if s.many == nil {
		var err error
		if s.many, err = s.conn.PrepareContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	return s.many.QueryContext(ctx, args...)
}

func (s *Store) see(unit, n int64) {
	b := s.seen[unit]
	if b == nil {
		b = &bitset{}
		s.seen[unit] = b
	}
	b.set(n)
}

// Keep remembers records that the target holds, or has refused, from now on.
func (s *Store) Keep(ctx context.Context, unit string, entries map[string]pipeline.Known) error {
	if len(entries) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return wrap("keeping digests", s.keep(ctx, unit, entries))
}

func (s *Store) keep(ctx context.Context, unit string, entries map[string]pipeline.Known) error {
	if err := s.begin(ctx, len(entries)); err != nil {
		return err
	}
	id, err := s.unit(ctx, unit, true)
	if err != nil {
		return err
	}
	stmt, err := s.conn.PrepareContext(ctx, "INSERT INTO digest VALUES (?, ?, ?, ?, ?) ON CONFLICT (unit, key) DO UPDATE SET sum = excluded.sum, refused = excluded.refused RETURNING n")
	if err != nil {
		return err
	}
	defer stmt.Close() //nolint:errcheck // nothing hangs on it
	for key, k := range entries {
		var n int64
		if err := stmt.QueryRowContext(ctx, id, []byte(key), s.next[id], k.Sum[:], k.Refused).Scan(&n); err != nil {
			return err
		}
		if n == s.next[id] {
			s.next[id]++
		}
		s.see(id, n)
	}
	return nil
}

// Refuse notes that the target holds these records no more.
func (s *Store) Refuse(ctx context.Context, unit string, keys []string) error {
	return s.each(ctx, unit, keys, "UPDATE digest SET refused = 1 WHERE unit = ? AND key = ?")
}

// Forget forgets records.
func (s *Store) Forget(ctx context.Context, unit string, keys []string) error {
	return s.each(ctx, unit, keys, "DELETE FROM digest WHERE unit = ? AND key = ?")
}

func (s *Store) each(ctx context.Context, unit string, keys []string, statement string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := s.unit(ctx, unit, false)
	if err != nil || id < 0 || len(keys) == 0 {
		return wrap("changing digests", err)
	}
	if err := s.begin(ctx, len(keys)); err != nil {
		return wrap("changing digests", err)
	}
	for _, k := range keys {
		if _, err := s.conn.ExecContext(ctx, statement, id, []byte(k)); err != nil {
			return wrap("changing digests", err)
		}
	}
	return nil
}

// Drop forgets a unit.
func (s *Store) Drop(ctx context.Context, unit string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := s.unit(ctx, unit, false)
	if err != nil || id < 0 {
		return wrap("forgetting digests", err)
	}
	if err := s.begin(ctx, 1); err != nil {
		return wrap("forgetting digests", err)
	}
	for _, q := range []string{"DELETE FROM digest WHERE unit = ?", "DELETE FROM unit WHERE id = ?"} {
		if _, err := s.conn.ExecContext(ctx, q, id); err != nil {
			return wrap("forgetting digests", err)
		}
	}
	delete(s.units, unit)
	delete(s.next, id)
	delete(s.seen, id)
	return nil
}

// Units lists the units of which anything is known.
func (s *Store) Units() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for name := range s.units {
		out = append(out, name)
	}
	return out
}

// Count counts the records of a unit that the target holds, and those not seen
// in this pass, refused ones included.
func (s *Store) Count(ctx context.Context, unit string) (held, unseen int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := s.unit(ctx, unit, false)
	if err != nil || id < 0 {
		return 0, 0, wrap("counting digests", err)
	}
	var all int64
	if err := s.conn.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(refused = 0), 0) FROM digest WHERE unit = ?", id).Scan(&all, &held); err != nil {
		return 0, 0, wrap("counting digests", err)
	}
	return held, all - s.seen[id].count(), nil
}

// Unseen lists, in pages, the keys of a unit that were not seen in this pass.
func (s *Store) Unseen(ctx context.Context, unit string) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		after := []byte(nil)
		for {
			page, last, err := s.unseen(ctx, unit, after)
			if err != nil {
				yield(nil, wrap("listing digests", err))
				return
			}
			if len(page) > 0 && !yield(page, nil) || last == nil {
				return
			}
			after = last
		}
	}
}

func (s *Store) unseen(ctx context.Context, unit string, after []byte) (page []string, last []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := s.unit(ctx, unit, false)
	if err != nil || id < 0 {
		return nil, nil, err
	}
	rows, err := s.conn.QueryContext(ctx, "SELECT key, n FROM digest WHERE unit = ? AND (? IS NULL OR key > ?) ORDER BY key LIMIT 5000", id, after, after)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close() //nolint:errcheck // Err tells
	for rows.Next() {
		var key []byte
		var n int64
		if err := rows.Scan(&key, &n); err != nil {
			return nil, nil, err
		}
		last = key
		if !s.seen[id].has(n) {
			page = append(page, string(key))
		}
	}
	return page, last, rows.Err()
}

// Complete notes that a unit was compared to its end; Completed tells.
func (s *Store) Complete(ctx context.Context, unit string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(ctx, 1); err != nil {
		return wrap("keeping digests", err)
	}
	id, err := s.unit(ctx, unit, true)
	if err == nil {
		_, err = s.conn.ExecContext(ctx, "UPDATE unit SET whole = 1 WHERE id = ?", id)
	}
	return wrap("keeping digests", err)
}

// Completed reports whether the unit's digests are those of all that is on the
// target.
func (s *Store) Completed(ctx context.Context, unit string) (whole bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.conn.QueryRowContext(ctx, "SELECT coalesce(max(whole), 0) FROM unit WHERE name = ?", unit).Scan(&whole)
	return whole, wrap("reading digests", err)
}

func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return pipeline.Environment(op, err, "free disk space in the state folder, then run the same command")
}
