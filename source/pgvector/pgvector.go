// Package pgvector reads the vector lane from the table of Open WebUI's
// pgvector client. A unit is a collection, under its own name. Records come in
// the order of their ids: the ids of a collection are listed in pages, which
// costs one narrow scan of the collection's index a page, and the records are
// then fetched by the primary key, so no query sorts texts or vectors.
package pgvector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
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
	// padding behind it is taken off. A unit's own Dim comes first.
	Dim int
	// IDPage is how many ids are listed at once; 0 means 50,000.
	IDPage int
}

// Source is the reader. It is safe for concurrent use.
type Source struct {
	cfg   Config
	pool  *pgxpool.Pool
	table string
}

var (
	_ pipeline.Source[*pipeline.Vector] = (*Source)(nil)
	_ pipeline.Getter[*pipeline.Vector] = (*Source)(nil)
	_ pipeline.Counter                  = (*Source)(nil)
	_ pipeline.KeyLister                = (*Source)(nil)
)

// Open connects, for reading only.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	if cfg.PG.PGCrypto {
		return nil, pipeline.Usage("opening pgvector", errors.New("PGVECTOR_PGCRYPTO=true is not in this version of outgrow"),
			"wait for a version that reads encrypted tables")
	}
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
	pool, err := pg.Open(ctx, cfg.PG.URL, pg.Options{MaxConns: int32(cfg.Readers) + 1, AfterConnect: func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SET default_transaction_read_only = on")
		return err
	}})
	if err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, pool: pool, table: pg.Ident(vectors.Table)}, nil
}

// Close ends the connections.
func (s *Source) Close() error { s.pool.Close(); return nil }

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
	rows, err := s.pool.Query(ctx, `SELECT collection_name, count(*) FROM `+s.table+` GROUP BY collection_name ORDER BY collection_name COLLATE "C"`)
	if err != nil {
		return nil, pg.Classify("listing the collections", err)
	}
	var total int64
	units, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pipeline.Unit, error) {
		u := pipeline.Unit{Lane: pipeline.Vectors, Dim: s.cfg.Dim}
		err := row.Scan(&u.Name, &u.Records)
		total += u.Records
		return u, err
	})
	for i := range units {
		units[i].Bytes = int64(float64(*bytes) * float64(units[i].Records) / float64(total))
	}
	return units, pg.Classify("listing the collections", err)
}

// Count counts a collection's records.
func (s *Source) Count(ctx context.Context, u pipeline.Unit) (n int64, err error) {
	err = s.pool.QueryRow(ctx, "SELECT count(*) FROM "+s.table+" WHERE collection_name = $1", u.Name).Scan(&n)
	return n, pg.Classify("counting "+u.ID(), err)
}

// Keys lists a collection's ids.
func (s *Source) Keys(ctx context.Context, u pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		rows, err := s.pool.Query(ctx, "SELECT id FROM "+s.table+" WHERE collection_name = $1", u.Name)
		if err != nil {
			yield("", pg.Classify("listing keys of "+u.ID(), err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			err := rows.Scan(&id)
			if !yield(id, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield("", pg.Classify("listing keys of "+u.ID(), err))
		}
	}
}

// selectSQL needs all results in binary: jsonb is then a version byte and the
// text, a vector its elements as they are stored.
const selectSQL = "SELECT id, vector, text, vmetadata FROM "

var binary = pgx.QueryResultFormats{pgx.BinaryFormatCode}

// Get fetches records by id.
func (s *Source) Get(ctx context.Context, u pipeline.Unit, keys []string) (map[string]*pipeline.Vector, error) {
	able := make([]string, 0, len(keys))
	for _, k := range keys { // text that PostgreSQL cannot hold is no id
		if utf8.ValidString(k) && strings.IndexByte(k, 0) < 0 {
			able = append(able, k)
		}
	}
	rows, err := s.pool.Query(ctx, selectSQL+s.table+" WHERE id = ANY ($1) AND collection_name = $2", binary, able, u.Name)
	if err != nil {
		return nil, pg.Classify("reading "+u.ID(), err)
	}
	out := make(map[string]*pipeline.Vector, len(keys))
	defer rows.Close()
	for rows.Next() {
		v, err := s.decode(rows.RawValues(), u)
		if err != nil {
			return nil, err
		}
		out[v.ID] = v
	}
	return out, pg.Classify("reading "+u.ID(), rows.Err())
}

// A cursor is "=" and the last id, so that the id "" has one too.
func cursor(id string) pipeline.Cursor { return pipeline.Cursor("=" + id) }

// Read yields the records behind the cursor in the order of the database's own
// collation of ids. Where a batch ends depends on the records in it only, so
// reading after its Prev gives the same batch.
func (s *Source) Read(ctx context.Context, part pipeline.Part, from pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Vector], error] {
	return func(yield func(pipeline.Batch[*pipeline.Vector], error) bool) {
		if from == "" {
			from = part.From
		}
		r := reader{Source: s, batch: pipeline.Batch[*pipeline.Vector]{Part: part, Prev: from}, yield: yield}
		ok, err := r.run(ctx, from)
		if err != nil {
			yield(pipeline.Batch[*pipeline.Vector]{}, pg.Classify("reading "+part.Unit.ID(), err))
		} else if ok && len(r.batch.Records) > 0 {
			r.flush()
		}
	}
}

type reader struct {
	*Source
	batch pipeline.Batch[*pipeline.Vector] // being filled
	yield func(pipeline.Batch[*pipeline.Vector], error) bool
}

// run reads to the part's end; false when the consumer has had enough.
func (r *reader) run(ctx context.Context, at pipeline.Cursor) (bool, error) {
	for {
		ids, err := r.ids(ctx, at)
		if err != nil {
			return false, err
		}
		for page := range slices.Chunk(ids, r.cfg.Limits.Records) {
			if ok, err := r.page(ctx, page); !ok || err != nil {
				return false, err
			}
		}
		if len(ids) < r.cfg.IDPage {
			return true, nil
		}
		at = cursor(ids[len(ids)-1])
	}
}

func (r *reader) ids(ctx context.Context, at pipeline.Cursor) ([]string, error) {
	part := r.batch.Part
	sql, args := "SELECT id FROM "+r.table+" WHERE collection_name = $1", []any{part.Unit.Name}
	bound := func(c pipeline.Cursor, op string) {
		if id, ok := strings.CutPrefix(string(c), "="); ok {
			args = append(args, id)
			sql += fmt.Sprintf(" AND id %s $%d", op, len(args))
		}
	}
	bound(at, ">")
	bound(part.To, "<=")
	rows, err := r.pool.Query(ctx, fmt.Sprintf("%s ORDER BY id LIMIT %d", sql, r.cfg.IDPage), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// page fetches the records of some ids and yields the batches that they fill.
// Ids that were deleted since they were listed are passed over.
func (r *reader) page(ctx context.Context, ids []string) (bool, error) {
	unit := r.batch.Part.Unit
	rows, err := r.pool.Query(ctx, selectSQL+r.table+" WHERE id = ANY ($1) AND collection_name = $2 ORDER BY id", binary, ids, unit.Name)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		v, err := r.decode(rows.RawValues(), unit)
		if err != nil {
			return false, err
		}
		r.batch.Records = append(r.batch.Records, v)
		r.batch.Bytes += int64(v.Size())
		if r.batch.Bytes >= r.cfg.Limits.Bytes || len(r.batch.Records) >= r.cfg.Limits.Records {
			if !r.flush() {
				return false, nil
			}
		}
	}
	return true, rows.Err()
}

func (r *reader) flush() bool {
	b := r.batch
	b.Next, b.Read = cursor(b.Records[len(b.Records)-1].ID), len(b.Records)
	r.batch = pipeline.Batch[*pipeline.Vector]{Part: b.Part, Prev: b.Next}
	return r.yield(b, nil)
}

func (s *Source) decode(raw [][]byte, u pipeline.Unit) (*pipeline.Vector, error) {
	v := &pipeline.Vector{ID: string(raw[0])}
	if raw[1] != nil {
		dim := u.Dim
		if dim == 0 {
			dim = s.cfg.Dim
		}
		var err error
		if v.Embedding, err = vectors.Parse(raw[1], dim); err != nil {
			return nil, &pipeline.Error{Op: "reading", Unit: u.ID(), Key: v.ID, Err: err}
		}
	}
	if raw[2] != nil {
		text := string(raw[2])
		v.Text = &text
	}
	if m := raw[3]; m != nil {
		if len(m) == 0 || m[0] != 1 {
			return nil, &pipeline.Error{Op: "reading", Unit: u.ID(), Key: v.ID, Err: errors.New("jsonb of an unknown version")}
		}
		v.Metadata = append([]byte(nil), m[1:]...)
	}
	return v, nil
}
