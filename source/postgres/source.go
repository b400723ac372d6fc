// Package postgres reads Open WebUI's tables from PostgreSQL: to verify what was
// written there, and as a source. Values are canonical: nil, int64, bool or
// string, JSON as the text that is stored; columns that are not Open WebUI's may
// have other kinds, see pg.Reader.
//
// As a source ([Config.Snapshot]) every method sees the database as it was when
// it was opened, whichever connection reads: one transaction exports its
// snapshot and stays open until Close, all others import it. It takes no lock
// that a reader or writer of rows would wait for; only changing a table's
// definition, TRUNCATE and VACUUM FULL wait until Close. A reader's connection
// that is cut gives a transient error, and the part is read again from its
// cursor on the same snapshot. Should the exporting connection be cut, or the
// process end, the snapshot is gone (pg.ErrSnapshotLost): a resume takes a new
// one and goes on from the cursors, which are primary keys and hold on any
// snapshot; [Source.Identity] then tells whether anything was written in
// between, in which case a sync pass is needed.
//
// Rows come in the order of their primary key, text by its bytes whatever the
// collation: a cursor means the same after an upgrade of the server's locale
// data, or on a restored copy.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// Config says what to read.
type Config struct {
	URL env.Secret
	// Schema is DATABASE_SCHEMA, "" for the first of the role's search path.
	Schema string
	// Snapshot is for a migration's source: it lets everything be read as it was
	// when it was opened. Without it every call sees what is there by then.
	Snapshot bool
	// Columns gives, by table, the columns of a row and their order; a table
	// that is not named has all of its columns, in the catalog's order.
	Columns map[string][]string
	// MaxConns bounds how many parts and batches are read at the same time; 0
	// means 8.
	MaxConns int32
	// Limits of a batch; zero means 2,000 rows and 4 MiB.
	Limits pipeline.Limits
	// SpecialAfter gives Unit.After by table: file → files/uploads.
	SpecialAfter map[string][]string
}

// Source reads rows. It is safe for concurrent use.
type Source struct {
	pool   *pgxpool.Pool
	cfg    Config
	schema string
	shared *pg.Snapshot // nil without Config.Snapshot
	// known is the schema of the recorded head, nil where that is not known.
	known  *schema.Schema
	tables map[string]*pg.Table
	// denied are the tables that this role may not read; tables has none of them
	// on a snapshot.
	denied []string
	// bytewise tells of "table.column" that the order of its index is that of
	// its bytes.
	bytewise map[string]bool

	mu      sync.Mutex // guards what follows
	readers map[string]*table
	keys    map[string][]string
	cols    map[string][]string

	scanning sync.Mutex // guards what follows
	facts    *facts
}

var (
	_ pipeline.Source[*pipeline.Row] = (*Source)(nil)
	_ pipeline.Getter[*pipeline.Row] = (*Source)(nil)
	_ pipeline.Counter               = (*Source)(nil)
	_ pipeline.KeyLister             = (*Source)(nil)
	_ pipeline.Splitter              = (*Source)(nil)
	_ pipeline.Identifier            = (*Source)(nil)
	_ pipeline.Checker               = (*Source)(nil)
)

// Open connects. Every connection is read-only, and fails rather than be shown a
// part of the rows by a policy of row level security.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = 8
	}
	conns := cfg.MaxConns
	if cfg.Snapshot {
		conns += 2 // one holds the snapshot, one is for questions while all read
	}
	pool, err := pg.Open(ctx, cfg.URL, pg.Options{Schema: cfg.Schema, MaxConns: conns, AfterConnect: func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SET default_transaction_read_only = on; SET row_security = off")
		return err
	}})
	if err != nil {
		return nil, err
	}
	cfg.Limits = cfg.Limits.WithDefaults(2000, 4<<20)
	s := &Source{pool: pool, cfg: cfg, schema: cfg.Schema, readers: map[string]*table{}}
	if err := s.look(ctx); err != nil {
		_ = s.Close()
		return nil, pg.Classify("opening the database", err)
	}
	return s, nil
}

// look finds the tables, and takes the snapshot.
func (s *Source) look(ctx context.Context) (err error) {
	if s.schema == "" {
		if err := s.pool.QueryRow(ctx, "SELECT coalesce(current_schema()::text, '')").Scan(&s.schema); err != nil {
			return err
		}
	}
	if s.cfg.Snapshot {
		if err := s.freeze(ctx); err != nil {
			return err
		}
	}
	return s.view(ctx, func(q pg.Querier) error {
		if s.tables, err = pg.Tables(ctx, q, s.schema); err != nil {
			return err
		}
		if s.shared != nil {
			for _, name := range s.denied {
				delete(s.tables, name)
			}
		}
		s.bytewise, err = bytewise(ctx, q, s.schema)
		return err
	})
}

// freeze takes the snapshot.
func (s *Source) freeze(ctx context.Context) error {
	before, err := pg.Tables(ctx, s.pool, s.schema)
	if err != nil {
		return err
	}
	if before[version] == nil || before["user"] == nil {
		return s.foreign(ctx)
	}
	head, err := s.head(ctx, s.pool)
	if err != nil {
		return err
	}
	if s.known, err = schema.Load(head); err != nil && !errors.Is(err, schema.ErrUnknownHead) {
		return err
	}
	rows, err := s.pool.Query(ctx, `SELECT relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1 AND relkind IN ('r', 'p')
		AND NOT has_table_privilege(c.oid, 'SELECT') ORDER BY relname COLLATE "C"`, s.schema)
	if err != nil {
		return err
	}
	if s.denied, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return err
	}
	var lock []string
	for _, name := range sorted(before) {
		if s.ours(name) && !slices.Contains(s.denied, name) {
			lock = append(lock, s.t(name))
		}
	}
	s.shared, err = pg.TakeSnapshot(ctx, s.pool, pg.SnapshotOptions{Lock: lock})
	return err
}

// ours reports whether a table is Open WebUI's, as far as that can be told.
func (s *Source) ours(name string) bool {
	if s.known == nil || leftover(name) {
		return !others(name)
	}
	_, ok := s.known.Table(name)
	return ok
}

// version is alembic's table.
const version = "alembic_version"

// foreign says that there is no Open WebUI here, and where else there may be.
func (s *Source) foreign(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, `SELECT quote_ident(nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relname = $1 AND relkind = 'r' ORDER BY 1`, version)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	hint := "name the database that Open WebUI uses in DATABASE_URL, and DATABASE_SCHEMA if it has one"
	if len(found) > 0 {
		hint = "set DATABASE_SCHEMA: there is a table " + version + " in " + strings.Join(found, ", ")
	}
	return pipeline.Usage("opening the source database", fmt.Errorf("schema %q has no table %s or user: it is not Open WebUI's", s.schema, version), hint)
}

// Close ends the snapshot and all connections.
func (s *Source) Close() error {
	if s.shared != nil {
		s.shared.Close()
	}
	s.pool.Close()
	return nil
}

// Snapshot is what everything is read on, for other readers of the same database
// (source/pgvector) to see the same moment until Close; nil without
// Config.Snapshot.
func (s *Source) Snapshot() *pg.Snapshot { return s.shared }

// view lets f read, on the snapshot where there is one.
func (s *Source) view(ctx context.Context, f func(pg.Querier) error) error {
	if s.shared == nil {
		return f(s.pool)
	}
	return s.transaction(ctx, func(tx pgx.Tx) error { return f(tx) })
}

// transaction lets f read in one transaction, on the snapshot where there is one.
func (s *Source) transaction(ctx context.Context, f func(pgx.Tx) error) (err error) {
	var tx pgx.Tx
	if s.shared != nil {
		tx, err = s.shared.Begin(ctx)
	} else {
		tx, err = s.pool.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.RepeatableRead})
	}
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // of a cancelled ctx: ends the connection
	return f(tx)
}

// Head reads alembic_version; "" when there is no such table or row.
func (s *Source) Head(ctx context.Context) (head string, err error) {
	if s.tables[version] == nil {
		return "", nil
	}
	err = s.view(ctx, func(q pg.Querier) error {
		head, err = s.head(ctx, q)
		return err
	})
	return head, pg.Classify("reading the revision", err)
}

func (s *Source) head(ctx context.Context, q pg.Querier) (head string, err error) {
	err = q.QueryRow(ctx, "SELECT version_num::text FROM "+s.t(version)+" LIMIT 1").Scan(&head)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return head, err
}

// has reports whether there is such a table with these columns.
func (s *Source) has(name string, columns ...string) bool {
	t := s.tables[name]
	for _, c := range columns {
		if t == nil {
			return false
		}
		if _, ok := t.Column(c); !ok {
			return false
		}
	}
	return t != nil
}

// t is a table's name, quoted and with its schema.
func (s *Source) t(name string) string { return pg.Ident(s.schema, name) }
