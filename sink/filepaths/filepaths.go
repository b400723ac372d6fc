// Package filepaths changes file.path in a database that Open WebUI uses
// already: of all rows in one transaction, the old values kept beside it, so
// that a switch of the storage provider can be taken back. Only the column path
// of the table file is changed (Open WebUI 0.12.4 reads files by it alone).
package filepaths

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/pipeline"
	"outgrow/sink/pgstate"
)

// Config says which database.
type Config struct {
	URL env.Secret
	// Schema is DATABASE_SCHEMA, "" for the first of the role's search path.
	Schema string
}

// Store is the paths of one database, and what they were. It is safe for
// concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	schema string
	prefix string // of outgrow's own tables
	there  bool   // they exist
}

// Row is a row of the table file that names a file.
type Row struct{ ID, Path string }

// page is how many rows are held at a time.
const page = 1000

// Names of outgrow's tables, behind the prefix.
const (
	switches = "path_switch" // one row a switch
	values   = "path_value"  // one row a switch and changed row
)

// Open connects and changes nothing. It fails with exit code 2 where there is no
// table file.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	pool, err := pg.Open(ctx, cfg.URL, pg.Options{Schema: cfg.Schema, MaxConns: 2})
	if err != nil {
		return nil, err
	}
	s := &Store{pool: pool, schema: cfg.Schema}
	if err := s.open(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	if s.schema == "" {
		if err := s.pool.QueryRow(ctx, "SELECT coalesce(current_schema()::text, '')").Scan(&s.schema); err != nil {
			return pg.Classify("asking for the schema", err)
		}
	}
	var has bool
	if err := s.pool.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", s.file()).Scan(&has); err != nil {
		return pg.Classify("looking for the table file", err)
	}
	if !has {
		return pipeline.Usage("looking for the table file", errors.New("the database holds no tables of Open WebUI"), "name the database that Open WebUI uses in DATABASE_URL, and its DATABASE_SCHEMA")
	}
	s.prefix, s.there, err = pgstate.Place(ctx, s.pool, switches, s.schema)
	return err
}

// Close ends all connections.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

func (s *Store) file() string          { return pg.Ident(s.schema, "file") }
func (s *Store) t(table string) string { return s.prefix + table }

// Others counts the sessions on this database of the role that the application
// has, besides outgrow's own: a running Open WebUI holds some.
func (s *Store) Others(ctx context.Context) (n int, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = session_user
		AND coalesce(application_name, '') <> 'outgrow'`).Scan(&n)
	return n, pg.Classify("looking for other sessions", err)
}

// Rows lists the rows that name a file, by pages in the order of their ids.
func (s *Store) Rows(ctx context.Context) iter.Seq2[[]Row, error] { return s.rows(ctx, s.pool, "") }

// Unlisted lists as Rows those rows that the switch has not changed.
func (s *Store) Unlisted(ctx context.Context, n int64) iter.Seq2[[]Row, error] {
	return s.rows(ctx, s.pool, fmt.Sprintf("AND NOT EXISTS (SELECT FROM %s v WHERE v.n = %d AND v.id = f.id)", s.t(values), n))
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func (s *Store) rows(ctx context.Context, q querier, where string) iter.Seq2[[]Row, error] {
	return func(yield func([]Row, error) bool) {
		for last := ""; ; {
			rows, err := q.Query(ctx, "SELECT f.id::text, f.path::text FROM "+s.file()+" f WHERE f.path <> '' AND f.id > $1 "+where+" ORDER BY f.id LIMIT $2", last, page)
			if err == nil {
				var list []Row
				if list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Row]); err == nil {
					if len(list) > 0 && !yield(list, nil) || len(list) < page {
						return
					}
					last = list[len(list)-1].ID
				}
			}
			if err != nil {
				yield(nil, pg.Classify("reading the table file", err))
				return
			}
		}
	}
}

// Switch is one change of the paths to another target.
type Switch struct {
	N      int64      `json:"n"`
	Target string     `json:"target"` // its fingerprint
	At     time.Time  `json:"at"`
	Rows   int64      `json:"rows"` // that were changed
	Back   *time.Time `json:"reverted,omitempty"`
}

// Switches lists the switches, the newest first.
func (s *Store) Switches(ctx context.Context) ([]Switch, error) {
	if !s.there {
		return nil, nil
	}
	return s.list(ctx, s.pool)
}

func (s *Store) list(ctx context.Context, q querier) ([]Switch, error) {
	rows, err := q.Query(ctx, "SELECT n, target, at, (SELECT count(*) FROM "+s.t(values)+" v WHERE v.n = s.n), back FROM "+s.t(switches)+" s ORDER BY n DESC")
	if err != nil {
		return nil, pg.Classify("reading the switches", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Switch])
	return out, pg.Classify("reading the switches", err)
}
