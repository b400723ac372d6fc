// Package pgvector writes the vector lane into the table that Open WebUI's
// pgvector client reads (VECTOR_DB=pgvector). A batch, its cursor and its
// quarantine and ledger lines are one transaction. The secondary indexes are
// taken away for the load and put back by Finish; what is away stands in the
// journal's marks "without:index:NAME" until it is back.
package pgvector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	"outgrow/sink/pgstate"
)

// ErrInUse is returned by Prepare for a table with rows that this run's state
// did not write.
var ErrInUse = errors.New("document_chunk holds records that this run did not write")

// Config says where and how to write.
type Config struct {
	PG env.PGVectorConfig
	// Schema is DATABASE_SCHEMA. Open WebUI keeps the vectors' table in the
	// connection's current schema whatever it says; it only tells Check where
	// alembic_version stands.
	Schema  string
	Log     *slog.Logger // may be nil
	Writers int          // batches written at the same time; 0 means 2
	// Replace lets the journal's Begin empty the table and forget a run, unless
	// it is this very run under way.
	Replace bool
	// RowsHere: the row lane runs as well.
	RowsHere bool
}

// Sink is the writer. It is safe for concurrent use.
type Sink struct {
	cfg    Config
	layout vectors.PGLayout
	pool   *pgxpool.Pool
	store  *pgstate.Store
	schema string // where the table stands
	table  string // quoted, with its schema

	mu       sync.Mutex
	prepared bool
}

var (
	_ pipeline.Sink[*pipeline.Vector] = (*Sink)(nil)
	_ pipeline.Transactional          = (*Sink)(nil)
	_ pipeline.Finisher               = (*Sink)(nil)
	_ pipeline.Checker                = (*Sink)(nil)
)

// Open connects and changes nothing.
func Open(ctx context.Context, cfg Config) (*Sink, error) {
	if cfg.Writers <= 0 {
		cfg.Writers = 2
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	// One connection more holds the journal's lock, one serves its lookups.
	pool, err := pg.Open(ctx, cfg.PG.URL, pg.Options{MaxConns: int32(cfg.Writers) + 2})
	if err != nil {
		return nil, err
	}
	s := &Sink{cfg: cfg, layout: vectors.PG(cfg.PG), pool: pool}
	if err := s.locate(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

func (s *Sink) locate(ctx context.Context) error {
	var schema *string
	if err := s.pool.QueryRow(ctx, "SELECT current_schema()::text").Scan(&schema); err != nil {
		return pg.Classify("looking for the current schema", err)
	}
	if schema == nil {
		return pipeline.Environment("opening pgvector", errors.New("the role's search_path names no schema that exists"),
			"CREATE SCHEMA public, or set the role's search_path, so that Open WebUI can make its table there")
	}
	var err error
	s.schema, s.table = *schema, pg.Ident(*schema, vectors.Table)
	s.store, err = pgstate.Open(ctx, s.pool, pipeline.Vectors, s.schema)
	return err
}

// Journal stands in the target database.
func (s *Sink) Journal() pipeline.Journal { return &journal{s.store, s} }

// Pool is the sink's connections, for fingerprint and pooler checks.
func (s *Sink) Pool() *pgxpool.Pool { return s.pool }

// Close releases the journal's lock and the connections.
func (s *Sink) Close() error {
	err := s.store.Close()
	s.pool.Close()
	return err
}

// Prepare makes extension and table where they are missing, and takes the
// indexes away, once; it refuses a table that is not as the variables ask for,
// or that is in use.
func (s *Sink) Prepare(ctx context.Context, u pipeline.Unit) error {
	if u.Dim > s.layout.MaxLength {
		return pipeline.Usage("preparing "+u.ID(), fmt.Errorf("%d dimensions, the column holds %d", u.Dim, s.layout.MaxLength), lengthFix(u.Dim))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.prepared {
		return nil
	}
	f, err := s.look(ctx)
	if err != nil {
		return err
	}
	if f.installed == "" {
		if err := s.extend(ctx, f); err != nil {
			return err
		}
		if f, err = s.look(ctx); err != nil {
			return err
		}
	}
	if s.layout.Crypto {
		if err := s.extendCrypto(ctx, f); err != nil {
			return err
		}
	}
	for _, finding := range s.layoutFindings(f) {
		if finding.Severity == pipeline.Refuse {
			return pipeline.Usage("preparing pgvector", errors.New(finding.Text), finding.Fix)
		}
	}
	if err := s.sameKey(ctx, f); err != nil {
		return err
	}
	if err := s.make(ctx, f); err != nil {
		return pg.Classify("preparing "+vectors.Table, err)
	}
	s.prepared = true
	return nil
}

func (s *Sink) extend(ctx context.Context, f facts) error {
	if !s.cfg.PG.CreateExtension {
		return pipeline.Environment("preparing pgvector", errors.New("the extension vector is missing and PGVECTOR_CREATE_EXTENSION is false"), f.extensionFix())
	}
	if _, err := s.pool.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS vector"); err != nil {
		if pg.HasCode(err, "42501", "0A000", "58P01", "22023", "42704") { // not allowed, not installed on the server
			return pipeline.Environment("creating the extension vector", err, f.extensionFix())
		}
		return pg.Classify("creating the extension vector", err)
	}
	s.cfg.Log.Info("created the extension vector")
	return nil
}

// make creates the table and takes the indexes away in one transaction.
func (s *Sink) make(ctx context.Context, f facts) error {
	u, err := s.usage(ctx)
	if err != nil {
		return err
	}
	if u.complete {
		return nil // nothing is left to load, and the application may use the table
	}
	if u.foreign > 0 {
		return pipeline.Usage("preparing pgvector", fmt.Errorf("%w: %d of %d", ErrInUse, u.foreign, u.rows), inUseFix)
	}
	marks, err := s.store.Marked(ctx)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if !f.table {
			if _, err := tx.Exec(ctx, s.layout.CreateTable()); err != nil {
				return err
			}
		}
		return s.takeIndexes(ctx, tx, f, marks)
	})
}

const inUseFix = "name an empty database, or say --replace to delete the records of document_chunk that are there"
