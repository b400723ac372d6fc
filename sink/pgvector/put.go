package pgvector

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

var _ pipeline.Putter[*pipeline.Vector] = (*Sink)(nil)

// Put writes repaired records: over those of the same id and collection, never
// over another collection's. Records, ledger lines and the release from the
// quarantine are one transaction.
func (s *Sink) Put(ctx context.Context, unit pipeline.Unit, records []*pipeline.Vector) (pipeline.Outcome, error) {
	var w writer
	var keys []string
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		w = writer{Sink: s, unit: unit}
		var err error
		if keys, err = w.upsertAll(ctx, tx, records); err != nil {
			return err
		}
		for _, key := range keys {
			w.out.Changed = append(w.out.Changed, pipeline.Replay(unit, key))
		}
		if err := s.store.Lines(ctx, tx, nil, w.out.Changed); err != nil {
			return err
		}
		return s.store.ReleaseTx(ctx, tx, unit.ID(), keys)
	})
	if err != nil {
		return pipeline.Outcome{}, pg.Classify("putting records into "+unit.ID(), err)
	}
	return w.out, nil
}

// upsertSQL replaces a record of the same collection.
const upsertSQL = " ON CONFLICT (id) DO UPDATE SET vector = excluded.vector, text = excluded.text, vmetadata = excluded.vmetadata WHERE d.collection_name = excluded.collection_name"

// upsertAll writes the records that can be held over those of their ids, and
// gives the keys of those that were.
func (w *writer) upsertAll(ctx context.Context, tx pgx.Tx, records []*pipeline.Vector) (keys []string, err error) {
	kept, err := w.screen(ctx, tx, records)
	if err != nil {
		return nil, err
	}
	for _, v := range kept {
		done, err := w.upsert(ctx, tx, v)
		if err != nil {
			return nil, err
		}
		if done {
			keys = append(keys, v.ID)
			w.out.Written++
		}
	}
	return keys, nil
}

var errElsewhere = errors.New("another collection holds the id")

func (w *writer) upsert(ctx context.Context, tx pgx.Tx, v *pipeline.Vector) (bool, error) {
	var metadata *string
	if v.Metadata != nil {
		m := string(v.Metadata)
		metadata = &m
	}
	err := pgx.BeginFunc(ctx, tx, func(sp pgx.Tx) error {
		if w.layout.Crypto {
			return w.encrypt(ctx, sp, []*pipeline.Vector{v}, upsertSQL)
		}
		tag, err := sp.Exec(ctx, "INSERT INTO "+w.table+" AS d ("+vectors.Columns+") VALUES ($1, $2::text::"+w.layout.ColumnType()+", $3, $4, $5::text::jsonb)"+
			upsertSQL,
			v.ID, w.literal(v.Embedding), w.unit.Name, v.Text, metadata)
		if err == nil && tag.RowsAffected() == 0 {
			err = errElsewhere
		}
		return err
	})
	switch {
	case errors.Is(err, errElsewhere):
		_, err := w.duplicates(ctx, tx, []*pipeline.Vector{v})
		return false, err
	case pg.IsData(err):
		w.refuse(v, "", reasonOf(err), "%s", message(err))
		return false, nil
	}
	return err == nil, err
}

// literal is the padded vector as text; the shortest decimal of a float32 is
// read back as the same float32.
func (w *writer) literal(v []float32) string {
	b := []byte{'['}
	for i := range w.layout.MaxLength {
		if i > 0 {
			b = append(b, ',')
		}
		if i < len(v) {
			b = strconv.AppendFloat(b, float64(v[i]), 'g', -1, 32)
		} else {
			b = append(b, '0')
		}
	}
	return string(append(b, ']'))
}
