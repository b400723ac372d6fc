package pgvector

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

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
			yield(pipeline.Batch[*pipeline.Vector]{}, classify("reading "+part.Unit.ID(), err))
		} else if ok && len(r.batch.Records)+len(r.batch.Refused) > 0 {
			r.flush()
		}
	}
}

type reader struct {
	*Source
	batch pipeline.Batch[*pipeline.Vector] // being filled
	last  string                           // id in it
	// opened: the key has decrypted something.
	opened bool
	yield  func(pipeline.Batch[*pipeline.Vector], error) bool
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

func (r *reader) ids(ctx context.Context, at pipeline.Cursor) (ids []string, err error) {
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
	err = r.view(ctx, func(q pg.Querier) error {
		rows, err := q.Query(ctx, fmt.Sprintf("%s ORDER BY id LIMIT %d", sql, r.cfg.IDPage), args...)
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return ids, err
}

// page fetches the records of some ids and yields the batches that they fill.
// Ids that were deleted since they were listed are passed over.
func (r *reader) page(ctx context.Context, ids []string) (bool, error) {
	if r.cfg.PG.PGCrypto {
		return r.secret(ctx, ids)
	}
	stopped := false
	err := r.view(ctx, func(q pg.Querier) error {
		return r.rows(ctx, q, r.batch.Part.Unit, ids, " ORDER BY id", func(v *pipeline.Vector) bool {
			stopped = !r.take(v)
			return !stopped
		})
	})
	return !stopped, err
}

// take adds a record to the batch; false when the consumer has had enough.
func (r *reader) take(v *pipeline.Vector) bool {
	r.batch.Records = append(r.batch.Records, v)
	r.batch.Bytes += int64(v.Size())
	r.last = v.ID
	return !r.full() || r.flush()
}

func (r *reader) full() bool {
	return r.batch.Bytes >= r.cfg.Limits.Bytes || len(r.batch.Records)+len(r.batch.Refused) >= r.cfg.Limits.Records
}

func (r *reader) flush() bool {
	b := r.batch
	b.Next, b.Read = cursor(r.last), len(b.Records)+len(b.Refused)
	r.batch = pipeline.Batch[*pipeline.Vector]{Part: b.Part, Prev: b.Next}
	return r.yield(b, nil)
}
