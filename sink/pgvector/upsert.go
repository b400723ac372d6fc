package pgvector

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

var (
	_ pipeline.Upserter[*pipeline.Vector] = (*Sink)(nil)
	_ pipeline.Deleter                    = (*Sink)(nil)
	_ pipeline.Dropper                    = (*Sink)(nil)
)

// Upsert writes records over those of the same id and collection, never over
// another collection's, in one transaction.
func (s *Sink) Upsert(ctx context.Context, unit pipeline.Unit, records []*pipeline.Vector, _ pipeline.Upsert) (pipeline.Outcome, error) {
	var w writer
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		w = writer{Sink: s, unit: unit}
		_, err := w.upsertAll(ctx, tx, records)
		return err
	})
	if err != nil {
		return pipeline.Outcome{}, pg.Classify("writing records into "+unit.ID(), err)
	}
	return w.out, nil
}

// Delete removes records of the unit by id.
func (s *Sink) Delete(ctx context.Context, unit pipeline.Unit, keys []string) error {
	able := make([]string, 0, len(keys))
	for _, k := range keys {
		if pg.Holds(k) {
			able = append(able, k)
		}
	}
	if len(able) == 0 || !pg.Holds(unit.Name) {
		return ctx.Err()
	}
	_, err := s.pool.Exec(ctx, "DELETE FROM "+s.table+" WHERE collection_name = $1 AND id = ANY ($2)", unit.Name, able)
	return pg.Classify("deleting from "+unit.ID(), err)
}

// Drop removes all records of the unit.
func (s *Sink) Drop(ctx context.Context, unit pipeline.Unit) error {
	if !pg.Holds(unit.Name) {
		return ctx.Err()
	}
	_, err := s.pool.Exec(ctx, "DELETE FROM "+s.table+" WHERE collection_name = $1", unit.Name)
	return pg.Classify("deleting "+unit.ID(), err)
}
