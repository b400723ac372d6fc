// Package pgstate keeps a lane's journal in the target database itself, so that
// a batch and its cursor, quarantine and ledger lines are committed together.
// The tables stand in a schema of their own ("outgrow"), or, where the role may
// not create one, beside Open WebUI's as "_outgrow_*".
package pgstate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// Schema is the schema of the state's tables.
const Schema = "outgrow"

// Store is the journal of one lane. It is safe for concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	lane   string
	prefix string // quoted, up to the table's name
	epoch  int64
	lock   *pgxpool.Conn // holds the advisory lock; nil before Begin
}

var (
	_ pipeline.Journal   = (*Store)(nil)
	_ pipeline.Forgetter = (*Store)(nil)
)

// Open finds the lane's state without creating or locking anything. schema is
// the target's, where "_outgrow_*" tables would stand too ("" for the first of
// the search path).
func Open(ctx context.Context, pool *pgxpool.Pool, lane pipeline.Lane, schema string) (*Store, error) {
	prefix, there, err := Place(ctx, pool, "run", schema)
	if err != nil {
		return nil, err
	}
	s := &Store{pool: pool, lane: string(lane), prefix: prefix}
	if there {
		err = s.beside(ctx, schema)
	}
	return s, err
}

// beside gives the lane of a schema lines of its own where those of the lane
// itself are of another schema of this database.
func (s *Store) beside(ctx context.Context, schema string) error {
	own := *s
	own.lane += "@" + schema
	run, err := own.Peek(ctx)
	if err != nil {
		return err
	}
	if run == nil {
		if run, err = s.Peek(ctx); err != nil || run == nil {
			return err
		}
		database, err := pg.Database(ctx, s.pool)
		if err != nil || !strings.HasPrefix(run.Target, database) || run.Target == database+schema {
			return err
		}
	}
	s.lane = own.lane
	return nil
}

// Place finds where outgrow's table of that name stands (there), or is to be
// made: the table's own name comes after prefix, which is quoted. State that is
// there already wins, whatever the role may do by now. fallback is as for Open.
func Place(ctx context.Context, pool *pgxpool.Pool, table, fallback string) (prefix string, there bool, err error) {
	own := pg.Ident(Schema) + "."
	beside := "_outgrow_"
	if fallback != "" {
		beside = pg.Ident(fallback) + "._outgrow_"
	}
	for _, prefix = range []string{own, beside} {
		if there, err := exists(ctx, pool, prefix+table); err != nil || there {
			return prefix, there, err
		}
	}
	var may bool
	if err := pool.QueryRow(ctx, `SELECT coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = $1),
		has_database_privilege(current_database(), 'CREATE'))`, Schema).Scan(&may); err != nil {
		return "", false, pg.Classify("looking for the right to create a schema", err)
	}
	if may {
		return own, false, nil
	}
	return beside, false, nil
}

func exists(ctx context.Context, pool *pgxpool.Pool, table string) (has bool, err error) {
	err = pool.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&has)
	if pg.HasCode(err, "42501") { // a schema that this role may not look into
		return false, nil
	}
	return has, pg.Classify("looking for outgrow's state", err)
}

// Exists reports whether the state's tables are there.
func (s *Store) Exists(ctx context.Context) (bool, error) { return exists(ctx, s.pool, s.t("run")) }

func (s *Store) t(name string) string { return s.prefix + name }

const ddl = `
CREATE TABLE IF NOT EXISTS %[1]srun (lane text PRIMARY KEY, run text NOT NULL, epoch bigint NOT NULL,
	source_state text NOT NULL, changed boolean NOT NULL DEFAULT false, started timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS %[1]spart (lane text, unit text, n integer, part text NOT NULL, at text NOT NULL, done boolean NOT NULL DEFAULT false,
	written bigint NOT NULL DEFAULT 0, refused bigint NOT NULL DEFAULT 0, bytes bigint NOT NULL DEFAULT 0, PRIMARY KEY (lane, unit, n));
CREATE TABLE IF NOT EXISTS %[1]squarantine (id bigint GENERATED ALWAYS AS IDENTITY, lane text, unit text, keyhash bytea, key bytea NOT NULL, col text, reason text,
	detail text NOT NULL, record text NOT NULL, PRIMARY KEY (lane, unit, keyhash, col, reason));
CREATE TABLE IF NOT EXISTS %[1]sledger (id bigint GENERATED ALWAYS AS IDENTITY, lane text, unit text, keyhash bytea, key bytea NOT NULL, col text, reason text,
	before text NOT NULL, after text NOT NULL, note text NOT NULL, PRIMARY KEY (lane, unit, keyhash, col, reason));
CREATE TABLE IF NOT EXISTS %[1]smark (lane text, name text, value text NOT NULL, PRIMARY KEY (lane, name));
CREATE TABLE IF NOT EXISTS %[1]saccepted (lane text, reason text, PRIMARY KEY (lane, reason));`

// Begin creates the tables where they are missing, takes the lane's advisory
// lock for as long as this process is connected, and a new epoch.
func (s *Store) Begin(ctx context.Context, run pipeline.Run) (pipeline.Resumed, error) {
	var res pipeline.Resumed
	if err := s.acquire(ctx); err != nil {
		return res, err
	}
	has, err := s.Exists(ctx)
	if err != nil {
		return res, err
	}
	if !has {
		if err := s.create(ctx); err != nil {
			return res, err
		}
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var text, state string
		var changed bool
		err := tx.QueryRow(ctx, "UPDATE "+s.t("run")+" SET epoch = epoch + 1 WHERE lane = $1 RETURNING run, epoch, source_state, changed", s.lane).
			Scan(&text, &s.epoch, &state, &changed)
		if errors.Is(err, pgx.ErrNoRows) {
			body, err := json.Marshal(run)
			if err != nil {
				return err
			}
			// The first epoch is the time, so that it is above those of a run
			// that was reset.
			err = tx.QueryRow(ctx, "INSERT INTO "+s.t("run")+" (lane, run, epoch, source_state)"+
				" VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, $3) RETURNING epoch",
				s.lane, string(body), run.Source.State).Scan(&s.epoch)
			res = pipeline.Resumed{Run: run, Epoch: s.epoch, Fresh: true}
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
		res.Epoch, res.SourceChanged = s.epoch, changed || state != run.Source.State
		if res.SourceChanged && !changed {
			_, err = tx.Exec(ctx, "UPDATE "+s.t("run")+" SET changed = true WHERE lane = $1", s.lane)
		}
		return err
	})
	if errors.Is(err, pipeline.ErrOtherPair) {
		return res, &pipeline.Error{Op: "resuming on this target", Err: err, Exit: pipeline.ExitUsage,
			Hint: "this target was begun from another source: name that source, another database, or start over with --replace"}
	}
	if err != nil {
		return res, pg.Classify("beginning the run", err)
	}
	marks, err := s.Marked(ctx)
	res.Complete = marks["complete"] != ""
	return res, err
}

func (s *Store) lockKey() int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("outgrow/" + s.prefix + s.lane))
	return int64(h.Sum64())
}

// Lock takes the lane's advisory lock, as Begin does; ErrLocked when another
// process has it.
func (s *Store) Lock(ctx context.Context) error { return s.acquire(ctx) }

// Locked reports whether another session holds the lane's lock.
func (s *Store) Locked(ctx context.Context) (bool, error) {
	var own uint32
	if s.lock != nil {
		own = s.lock.Conn().PgConn().PID()
	}
	var locked bool
	err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid <> $2
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND (classid::bigint << 32) | objid::bigint = $1)`, s.lockKey(), int64(own)).Scan(&locked)
	return locked, pg.Classify("looking for the lock", err)
}

// Peek gives the run as it was first begun, nil when there is none.
func (s *Store) Peek(ctx context.Context) (*pipeline.Run, error) {
	if has, err := s.Exists(ctx); err != nil || !has {
		return nil, err
	}
	var text string
	err := s.pool.QueryRow(ctx, "SELECT run FROM "+s.t("run")+" WHERE lane = $1", s.lane).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, pg.Classify("reading the stored run", err)
	}
	run := &pipeline.Run{}
	if err := json.Unmarshal([]byte(text), run); err != nil {
		return nil, fmt.Errorf("reading the stored run: %w", err)
	}
	return run, nil
}

func (s *Store) acquire(ctx context.Context) error {
	if s.lock != nil {
		return nil
	}
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return pg.Classify("connecting for the lock", err)
	}
	// A process that was killed may still be dying on the server.
	for tries := 0; ; tries++ {
		var got bool
		if err := c.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", s.lockKey()).Scan(&got); err != nil {
			c.Release()
			return pg.Classify("taking the lock", err)
		}
		if got {
			break
		}
		if tries == 30 {
			c.Release()
			return &pipeline.Error{Op: "taking the lock of the target database", Err: pipeline.ErrLocked, Exit: pipeline.ExitEnvironment,
				Hint: "wait for the other run to end or stop it, then run the same command"}
		}
		select {
		case <-ctx.Done():
			c.Release()
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	s.lock = c
	return nil
}

func (s *Store) create(ctx context.Context) error {
	return pg.Classify("creating outgrow's state tables", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		return Create(ctx, tx, s.prefix, fmt.Sprintf(ddl, s.prefix))
	}))
}

// Create runs the statements that make tables with that prefix, and makes
// outgrow's schema before them where they stand in it.
func Create(ctx context.Context, tx pgx.Tx, prefix, statements string) error {
	// Two lanes may create the tables at the same time.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(0x6f757467726f77)); err != nil {
		return err
	}
	if prefix == pg.Ident(Schema)+"." {
		// IF NOT EXISTS asks for the right even where nothing is to be done.
		var has bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", Schema).Scan(&has); err != nil {
			return err
		}
		if !has {
			if _, err := tx.Exec(ctx, "CREATE SCHEMA "+pg.Ident(Schema)); err != nil {
				return err
			}
		}
	}
	_, err := tx.Exec(ctx, statements)
	return err
}

// Close releases the lock. The pool stays open: it is the sink's.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	conn := s.lock.Hijack()
	s.lock = nil
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// The end of the session releases the lock too, but a little later.
	_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", s.lockKey())
	return conn.Close(ctx)
}

// Drop removes the lane's lines; the tables stay.
func (s *Store) Drop(ctx context.Context) error {
	if has, err := s.Exists(ctx); err != nil || !has {
		return err
	}
	return pg.Classify("removing outgrow's state", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.ResetTx(ctx, tx, "") }))
}

// ResetTx forgets the lane's run inside a transaction. Marks that begin with
// keep stay, unless keep is "": they tell of what is still to be put back.
func (s *Store) ResetTx(ctx context.Context, tx pgx.Tx, keep string) error {
	for _, name := range tables {
		sql, args := "DELETE FROM "+s.t(name)+" WHERE lane = $1", []any{s.lane}
		if name == "mark" {
			sql, args = sql+" AND ($2 = '' OR NOT starts_with(name, $2))", append(args, keep)
		}
		if _, err := tx.Exec(ctx, sql, args...); err != nil {
			return err
		}
	}
	return nil
}

var tables = []string{"run", "part", "quarantine", "ledger", "mark", "accepted"}

// Parts gives the unit's parts in their order, nil when none are fixed.
func (s *Store) Parts(ctx context.Context, unit pipeline.Unit) ([]pipeline.Progress, error) {
	return s.progress(ctx, "AND unit = $2", unit.Name)
}

// All gives every fixed part of the lane.
func (s *Store) All(ctx context.Context) ([]pipeline.Progress, error) {
	if has, err := s.Exists(ctx); err != nil || !has {
		return nil, err
	}
	return s.progress(ctx, "")
}

func (s *Store) progress(ctx context.Context, where string, args ...any) ([]pipeline.Progress, error) {
	rows, err := s.pool.Query(ctx, "SELECT part, at, done, written, refused, bytes FROM "+s.t("part")+
		" WHERE lane = $1 "+where+" ORDER BY unit, n", append([]any{s.lane}, args...)...)
	if err != nil {
		return nil, pg.Classify("reading the parts", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pipeline.Progress, error) {
		var p pipeline.Progress
		var part, at string
		if err := row.Scan(&part, &at, &p.Done, &p.Written, &p.Refused, &p.Bytes); err != nil {
			return p, err
		}
		var err error
		if p.Part, err = decodePart(part); err != nil {
			return p, err
		}
		cur, err := strconv.Unquote(at)
		p.At = pipeline.Cursor(cur)
		return p, err
	})
	if len(out) == 0 {
		out = nil
	}
	return out, pg.Classify("reading the parts", err)
}

// Fix fixes the unit's parts. Fixing the same parts again does nothing.
func (s *Store) Fix(ctx context.Context, unit pipeline.Unit, parts []pipeline.Part) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// The lock on the run's line keeps two fixings, and a younger process's
		// Begin, apart.
		var epoch int64
		err := tx.QueryRow(ctx, "SELECT epoch FROM "+s.t("run")+" WHERE lane = $1 FOR NO KEY UPDATE", s.lane).Scan(&epoch)
		if errors.Is(err, pgx.ErrNoRows) || (err == nil && epoch != s.epoch) {
			return pipeline.ErrFenced
		}
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT part FROM "+s.t("part")+" WHERE lane = $1 AND unit = $2 ORDER BY n", s.lane, unit.Name)
		if err != nil {
			return err
		}
		have, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		bodies := make([]string, len(parts))
		for i, p := range parts {
			if bodies[i], err = encodePart(p); err != nil {
				return err
			}
		}
		if len(have) > 0 {
			if !slices.Equal(have, bodies) {
				return errors.New("other parts were fixed before")
			}
			return nil
		}
		for i, p := range parts {
			if _, err := tx.Exec(ctx, "INSERT INTO "+s.t("part")+" (lane, unit, n, part, at) VALUES ($1, $2, $3, $4, $5)",
				s.lane, unit.Name, p.N, bodies[i], quoteCursor(p.From)); err != nil {
				return err
			}
		}
		return nil
	})
	return pg.Classify("fixing the parts of "+unit.ID(), err)
}

// encodePart makes a part's JSON, with its cursors quoted: they may be any
// bytes.
func encodePart(p pipeline.Part) (string, error) {
	p.From, p.To = pipeline.Cursor(quoteCursor(p.From)), pipeline.Cursor(quoteCursor(p.To))
	body, err := json.Marshal(p)
	return string(body), err
}

func decodePart(body string) (p pipeline.Part, err error) {
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		return p, err
	}
	for _, c := range []*pipeline.Cursor{&p.From, &p.To} {
		s, err := strconv.Unquote(string(*c))
		if err != nil {
			return p, fmt.Errorf("reading the cursor of a part: %w", err)
		}
		*c = pipeline.Cursor(s)
	}
	return p, nil
}

// quoteCursor makes any cursor storable as text: quoted as in Go.
func quoteCursor(c pipeline.Cursor) string { return strconv.QuoteToASCII(string(c)) }
