// Package postgres writes Open WebUI's tables into PostgreSQL.
//
// The target is either a database in which this package makes the tables, as
// Open WebUI's own alembic would have, or one that Open WebUI created itself.
// For the load plain indexes, foreign keys and the alembic_version row are away;
// marks named "without:…" in the journal tell so, and how to put them back,
// until [Sink.Finish], and for the revision [Sink.Release], have done that. Rows are copied, and committed together
// with their cursor and lines in the journal that stands in the same database.
package postgres

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
	"outgrow/sink/pgstate"
)

// Config says where to write and what.
type Config struct {
	URL env.Secret
	// Schema is DATABASE_SCHEMA, "" for the first of the role's search path.
	Schema string
	// Head is the source's alembic revision.
	Head string
	// Writers is how many batches may be written at the same time; 0 means 2.
	Writers int
	// Replace empties a target that is in use, when the journal's Begin is
	// called for a run that is not already under way there.
	Replace bool
	// IndexMemory is maintenance_work_mem for building indexes and looking for
	// orphans, in MiB; 0 means 256. The server's own setting is used where it
	// is larger.
	IndexMemory int
	Log         *slog.Logger // may be nil
}

// Sink writes rows. It is safe for concurrent use.
type Sink struct {
	cfg    Config
	pool   *pgxpool.Pool
	schema string // effective; "" when the search path names no schema
	known  *schema.Schema
	store  *pgstate.Store

	mu     sync.Mutex // guards what follows and serialises the preparation
	tables map[string]*pg.Table
	keys   []foreignKey // of all tables, as Levels found them; nil before that
}

var (
	_ pipeline.Sink[*pipeline.Row]     = (*Sink)(nil)
	_ pipeline.Transactional           = (*Sink)(nil)
	_ pipeline.Finisher                = (*Sink)(nil)
	_ pipeline.Checker                 = (*Sink)(nil)
	_ pipeline.Putter[*pipeline.Row]   = (*Sink)(nil)
	_ pipeline.Releaser                = (*Sink)(nil)
	_ pipeline.Upserter[*pipeline.Row] = (*Sink)(nil)
	_ pipeline.Remover                 = (*Sink)(nil)
	_ pipeline.Leveler                 = (*Sink)(nil)
	_ pipeline.Peeker                  = (*journal)(nil)
)

// Open connects to the target. It changes nothing.
func Open(ctx context.Context, cfg Config) (*Sink, error) {
	if cfg.Writers <= 0 {
		cfg.Writers = 2
	}
	if cfg.IndexMemory <= 0 {
		cfg.IndexMemory = 256
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sink{cfg: cfg, schema: cfg.Schema}
	known, err := schema.LoadTarget(cfg.Head)
	if err != nil && !errors.Is(err, schema.ErrUnknownHead) {
		return nil, err
	}
	s.known = known
	// One connection holds the lock, one is for whoever asks how far it is.
	if s.pool, err = pg.Open(ctx, cfg.URL, pg.Options{Schema: cfg.Schema, MaxConns: int32(cfg.Writers) + 2}); err != nil {
		return nil, err
	}
	if cfg.Schema == "" {
		if err := s.pool.QueryRow(ctx, "SELECT coalesce(current_schema()::text, '')").Scan(&s.schema); err != nil {
			s.pool.Close()
			return nil, pg.Classify("asking for the schema", err)
		}
	}
	if s.store, err = pgstate.Open(ctx, s.pool, pipeline.Rows, s.schema); err != nil {
		s.pool.Close()
		return nil, err
	}
	return s, nil
}

// Close releases the lock and all connections.
func (s *Sink) Close() error {
	err := s.store.Close()
	s.pool.Close()
	return err
}

// Journal is the lane's journal in the target. With Config.Replace its Begin
// empties the target first.
func (s *Sink) Journal() pipeline.Journal { return &journal{s.store, s} }

// Fingerprint identifies database and schema without host or password.
func (s *Sink) Fingerprint(ctx context.Context) (string, error) { return pg.Fingerprint(ctx, s.pool) }

// Columns gives the target's columns by table, for those tables that can be
// written: as Inspect found them, or, while it has no tables yet or they are to be
// replaced by those of another head, from the schema that will be made.
func (s *Sink) Columns(t Target) map[string][]pg.Column {
	tables := t.tables
	if s.known != nil && (len(tables) == 0 || s.cfg.Replace && t.Head != s.cfg.Head) {
		tables = s.planned()
	}
	out := make(map[string][]pg.Column, len(tables))
	for name, t := range tables {
		if name != versionTable {
			out[name] = t.Columns
		}
	}
	return out
}

// writable lists Open WebUI's tables as they are or will be, without
// alembic_version.
func (s *Sink) writable(ctx context.Context) (map[string]*pg.Table, error) {
	there, err := pg.Tables(ctx, s.pool, s.schema)
	if err != nil {
		return nil, err
	}
	out := s.ours(there)
	if len(out) == 0 && s.known != nil {
		return s.planned(), nil
	}
	delete(out, versionTable)
	return out, nil
}

// planned lists the tables of the source's head without alembic_version.
func (s *Sink) planned() map[string]*pg.Table {
	out := map[string]*pg.Table{}
	for i := range s.known.Tables {
		out[s.known.Tables[i].Name] = pg.Planned(&s.known.Tables[i])
	}
	delete(out, versionTable)
	return out
}

func (s *Sink) t(name string) string { return pg.Ident(s.schema, name) }
