// Package pgvector reads the vector lane from the table of Open WebUI's
// pgvector client. A unit is a collection, under its own name. Records come in
// the order of their ids: the ids of a collection are listed in pages, which
// costs one narrow scan of the collection's index a page, and the records are
// then fetched by the primary key, so no query sorts texts or vectors. With
// PGVECTOR_PGCRYPTO the server decrypts; the key is a bound parameter.
package pgvector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// Config says what to read.
type Config struct {
	PG     env.PGVectorConfig
	Log    *slog.Logger    // may be nil
	Limits pipeline.Limits // of a batch; 1000 records or 8 MiB by default
	// Readers is how many parts are read at the same time; 0 means 4.
	Readers int
	// Dim is the dimension of the embedding model where it is known: the
	// padding behind it is taken off. A unit's own Dim comes first. With 0,
	// Units finds it out, see [Dimension].
	Dim int
	// Snapshot lets all readers see the table as it was when it was opened, for
	// a migration's source. It holds a transaction open until Close.
	Snapshot bool
	// Shared is a snapshot of this very database that is held already, by the
	// reader of its rows: this one reads on it, too, and leaves it open. nil for
	// one of its own, or none.
	Shared *pg.Snapshot
	// IDPage is how many ids are listed at once; 0 means 50,000.
	IDPage int
}

// Source is the reader. It is safe for concurrent use.
type Source struct {
	cfg    Config
	layout vectors.PGLayout
	pool   *pgxpool.Pool
	table  string
	shared *pg.Snapshot // nil for none
}

var (
	_ pipeline.Source[*pipeline.Vector] = (*Source)(nil)
	_ pipeline.Getter[*pipeline.Vector] = (*Source)(nil)
	_ pipeline.Counter                  = (*Source)(nil)
	_ pipeline.KeyLister                = (*Source)(nil)
	_ pipeline.Splitter                 = (*Source)(nil)
	_ pipeline.Searcher                 = (*Source)(nil)
	_ pipeline.Identifier               = (*Source)(nil)
)

// Open connects, for reading only.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	if cfg.Readers <= 0 {
		cfg.Readers = 4
	}
	if cfg.IDPage <= 0 {
		cfg.IDPage = 50_000
	}
	cfg.Limits = cfg.Limits.WithDefaults(1000, 8<<20)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	pool, err := pg.Open(ctx, cfg.PG.URL, pg.Options{MaxConns: int32(cfg.Readers) + 2, AfterConnect: func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SET default_transaction_read_only = on")
		return err
	}})
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, layout: vectors.PG(cfg.PG), pool: pool, table: pg.Ident(vectors.Table)}
	if err := s.encrypted(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	s.shared = cfg.Shared
	if cfg.Snapshot && s.shared == nil {
		if s.shared, err = pg.TakeSnapshot(ctx, pool, pg.SnapshotOptions{}); err != nil {
			pool.Close()
			return nil, err
		}
	}
	return s, nil
}

// encrypted compares the table, where it is there, with PGVECTOR_PGCRYPTO.
func (s *Source) encrypted(ctx context.Context) error {
	var bytea *bool
	err := s.pool.QueryRow(ctx, `SELECT (SELECT atttypid = 'bytea'::regtype FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'vmetadata')`, vectors.Table).Scan(&bytea)
	if err != nil {
		return pg.Classify("looking at "+vectors.Table, err)
	}
	switch {
	case bytea == nil || *bytea == s.cfg.PG.PGCrypto:
		return nil
	case *bytea:
		return pipeline.Usage("opening pgvector", errors.New("document_chunk is encrypted, PGVECTOR_PGCRYPTO is not true"), "set PGVECTOR_PGCRYPTO=true and PGVECTOR_PGCRYPTO_KEY")
	}
	return pipeline.Usage("opening pgvector", errors.New("PGVECTOR_PGCRYPTO is true, document_chunk is not encrypted"), "set PGVECTOR_PGCRYPTO=false")
}

// Close ends the connections.
func (s *Source) Close() error {
	if s.shared != nil && s.shared != s.cfg.Shared {
		s.shared.Close()
	}
	s.pool.Close()
	return nil
}

// Units lists the collections by name. Bytes is the table's size shared out by
// records.
func (s *Source) Units(ctx context.Context) ([]pipeline.Unit, error) {
	var bytes *int64
	if err := s.pool.QueryRow(ctx, "SELECT pg_table_size(to_regclass($1))", vectors.Table).Scan(&bytes); err != nil {
		return nil, pg.Classify("looking for "+vectors.Table, err)
	}
	if bytes == nil {
		return nil, pipeline.Environment("listing the collections", fmt.Errorf("there is no table %s", vectors.Table),
			"check PGVECTOR_DB_URL: is this the database that Open WebUI keeps its vectors in?")
	}
	units, err := s.collections(ctx)
	var total int64
	for _, u := range units {
		total += u.Records
	}
	for i := range units {
		units[i].Bytes = int64(float64(*bytes) * float64(units[i].Records) / float64(total))
	}
	return units, classify("listing the collections", err)
}

// Count counts a collection's records.
func (s *Source) Count(ctx context.Context, u pipeline.Unit) (n int64, err error) {
	err = s.view(ctx, func(q pg.Querier) error {
		return q.QueryRow(ctx, "SELECT count(*) FROM "+s.table+" WHERE collection_name = $1", u.Name).Scan(&n)
	})
	return n, classify("counting "+u.ID(), err)
}

// Keys lists a collection's ids.
func (s *Source) Keys(ctx context.Context, u pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		stopped := false
		err := s.view(ctx, func(q pg.Querier) error {
			rows, err := q.Query(ctx, "SELECT id FROM "+s.table+" WHERE collection_name = $1", u.Name)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var id string
				if err := rows.Scan(&id); err != nil {
					return err
				}
				if stopped = !yield(id, nil); stopped {
					return nil
				}
			}
			return rows.Err()
		})
		if err != nil && !stopped {
			yield("", classify("listing keys of "+u.ID(), err))
		}
	}
}

// Get fetches records by id.
func (s *Source) Get(ctx context.Context, u pipeline.Unit, keys []string) (map[string]*pipeline.Vector, error) {
	able := make([]string, 0, len(keys))
	for _, k := range keys { // text that PostgreSQL cannot hold is no id
		if utf8.ValidString(k) && strings.IndexByte(k, 0) < 0 {
			able = append(able, k)
		}
	}
	out := make(map[string]*pipeline.Vector, len(keys))
	err := s.view(ctx, func(q pg.Querier) error {
		return s.rows(ctx, q, u, able, "", func(v *pipeline.Vector) bool { out[v.ID] = v; return true })
	})
	return out, classify("reading "+u.ID(), err)
}
