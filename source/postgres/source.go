// Package postgres reads Open WebUI's tables from PostgreSQL: to verify what was
// written there, and as a source. Values are canonical: nil, int64, bool or
// string, JSON as the text that is stored.
package postgres

import (
	"context"
	"errors"
	"fmt"
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
	// Columns gives, by table, the columns of a row and their order; a table
	// that is not named has all of its columns, in the catalog's order.
	Columns map[string][]string
	// MaxConns bounds how many parts and batches are read at the same time; 0
	// means 8.
	MaxConns int32
	// Limits of a batch; zero means 2,000 rows and 4 MiB.
	Limits pipeline.Limits
}

// Source reads rows. It is safe for concurrent use.
type Source struct {
	pool   *pgxpool.Pool
	cfg    Config
	schema string

	mu      sync.Mutex
	tables  map[string]*pg.Table
	readers map[string]*table
}

var (
	_ pipeline.Source[*pipeline.Row] = (*Source)(nil)
	_ pipeline.Getter[*pipeline.Row] = (*Source)(nil)
	_ pipeline.Counter               = (*Source)(nil)
	_ pipeline.KeyLister             = (*Source)(nil)
	_ pipeline.Splitter              = (*Source)(nil)
)

// Open connects. Every connection is read-only.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	pool, err := pg.Open(ctx, cfg.URL, pg.Options{Schema: cfg.Schema, MaxConns: cfg.MaxConns, AfterConnect: func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SET default_transaction_read_only = on")
		return err
	}})
	if err != nil {
		return nil, err
	}
	cfg.Limits = cfg.Limits.WithDefaults(2000, 4<<20)
	s := &Source{pool: pool, cfg: cfg, schema: cfg.Schema, readers: map[string]*table{}}
	if s.schema == "" {
		err = pool.QueryRow(ctx, "SELECT coalesce(current_schema()::text, '')").Scan(&s.schema)
	}
	if err == nil {
		s.tables, err = pg.Tables(ctx, pool, s.schema)
	}
	if err != nil {
		pool.Close()
		return nil, pg.Classify("opening the database", err)
	}
	return s, nil
}

// Close ends all connections.
func (s *Source) Close() error {
	s.pool.Close()
	return nil
}

// Head reads alembic_version; "" when there is no such table or row.
func (s *Source) Head(ctx context.Context) (string, error) {
	if s.tables["alembic_version"] == nil {
		return "", nil
	}
	var head string
	err := s.pool.QueryRow(ctx, "SELECT version_num::text FROM "+pg.Ident(s.schema, "alembic_version")+" LIMIT 1").Scan(&head)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return head, pg.Classify("reading the revision", err)
}

// Units lists Open WebUI's tables with estimates of the planner: those of the
// recorded head, or, when that is unknown or not there, all but the ones known
// to be somebody else's.
func (s *Source) Units(ctx context.Context) ([]pipeline.Unit, error) {
	head, err := s.Head(ctx)
	if err != nil {
		return nil, err
	}
	known, err := schema.Load(head)
	if err != nil && !errors.Is(err, schema.ErrUnknownHead) {
		return nil, err
	}
	// Sizes and estimates change while the connection is open.
	tables, err := pg.Tables(ctx, s.pool, s.schema)
	if err != nil {
		return nil, err
	}
	var units []pipeline.Unit
	for _, name := range sorted(tables) {
		if known != nil {
			if _, ok := known.Table(name); !ok {
				continue
			}
		} else if strings.HasPrefix(name, "_outgrow_") || strings.HasPrefix(name, "document_chunk") || name == "migratehistory" {
			continue
		}
		if name == "alembic_version" {
			continue
		}
		units = append(units, pipeline.Unit{Lane: pipeline.Rows, Name: name, Records: tables[name].Rows, Bytes: tables[name].Bytes})
	}
	return units, nil
}

// Count counts the rows of a table.
func (s *Source) Count(ctx context.Context, unit pipeline.Unit) (int64, error) {
	var n int64
	err := s.pool.QueryRow(ctx, "SELECT count(*) FROM "+pg.Ident(s.schema, unit.Name)).Scan(&n)
	return n, pg.Classify("counting "+unit.ID(), err)
}

// table is what is needed to read one table by its key.
type table struct {
	name   string // quoted, with its schema
	reader *pg.Reader
	keys   []pg.Column // of the primary key
}

// open finds a table; errors.ErrUnsupported when it has no primary key.
func (s *Source) open(unit pipeline.Unit) (*table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.readers[unit.Name]; t != nil {
		return t, nil
	}
	found := s.tables[unit.Name]
	if found == nil {
		return nil, &pipeline.Error{Op: "reading", Unit: unit.ID(), Err: fmt.Errorf("there is no such table in schema %q", s.schema)}
	}
	if found.Key == nil {
		return nil, &pipeline.Error{Op: "reading", Unit: unit.ID(), Err: fmt.Errorf("the table has no primary key: %w", errors.ErrUnsupported)}
	}
	reader, err := pg.NewReader(found, s.cfg.Columns[unit.Name])
	if err != nil {
		return nil, err
	}
	t := &table{name: pg.Ident(s.schema, unit.Name), reader: reader}
	for _, k := range found.Key {
		c, _ := found.Column(k)
		t.keys = append(t.keys, c)
	}
	s.readers[unit.Name] = t
	return t, nil
}

// cast is the type that a key's text is cast to.
func cast(c pg.Column) string {
	switch c.Type {
	case schema.Text, schema.Varchar:
		return "text" // a text parameter serves an index on varchar too
	}
	return string(c.Type)
}

// keyList is "a, b", the primary key's columns.
func (t *table) keyList(alias string) string {
	names := make([]string, len(t.keys))
	for i, c := range t.keys {
		names[i] = alias + pg.Ident(c.Name)
	}
	return strings.Join(names, ", ")
}
