package pgvector

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// Write commits a batch with its cursor and its lines.
func (s *Sink) Write(ctx context.Context, b pipeline.Batch[*pipeline.Vector]) (pipeline.Outcome, error) {
	var w writer
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		w = writer{Sink: s, unit: b.Part.Unit}
		if err := s.store.Move(ctx, tx, b.Part, b.Prev, b.Next); err != nil {
			return err
		}
		records, err := w.screen(ctx, tx, b.Records)
		if err != nil {
			return err
		}
		if err := w.put(ctx, tx, records, false); err != nil {
			return err
		}
		return s.store.Record(ctx, tx, pipeline.Step{Part: b.Part, Prev: b.Prev, Next: b.Next, Written: w.out.Written, Bytes: b.Bytes,
			Refused: append(append([]pipeline.Refusal(nil), b.Refused...), w.out.Refused...), Changed: b.Changed})
	})
	if err != nil {
		return pipeline.Outcome{}, pg.Classify("writing vectors", err)
	}
	return w.out, nil
}

type writer struct {
	*Sink
	unit pipeline.Unit
	out  pipeline.Outcome
}

func (w *writer) refuse(v *pipeline.Vector, column string, reason pipeline.Reason, format string, args ...any) {
	w.out.Refused = append(w.out.Refused, pipeline.NewRefusal(w.unit, v, column, reason, fmt.Sprintf(format, args...)))
}

// longText is the length from which a text is tried against the text index,
// which is away during the load: a tsvector holds 1 MiB at most, and takes a
// few bytes more than the words it is made of.
const longText = 64 << 10

// screen takes out what cannot be encoded, and what the server would take now
// and refuse later: texts that are too rich would stop the text index from ever
// being built.
func (w *writer) screen(ctx context.Context, tx pgx.Tx, records []*pipeline.Vector) ([]*pipeline.Vector, error) {
	kept := make([]*pipeline.Vector, 0, len(records))
	for _, v := range records {
		if column, reason, detail := w.layout.Refuses(v); reason != "" {
			w.refuse(v, column, reason, "%s", detail)
			continue
		}
		if v.Text != nil && len(*v.Text) > longText && !w.layout.Crypto {
			err := pgx.BeginFunc(ctx, tx, func(sp pgx.Tx) error {
				_, err := sp.Exec(ctx, "SELECT to_tsvector('simple', $1::text) IS NULL", *v.Text)
				return err
			})
			if pg.IsData(err) {
				w.refuse(v, "text", reasonOf(err), "Open WebUI's text index cannot hold it: %s", message(err))
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		kept = append(kept, v)
	}
	return kept, nil
}

// put copies records inside a savepoint. Those that the server refuses are
// found by halving; equal ids are looked up first, because they come in crowds.
func (w *writer) put(ctx context.Context, tx pgx.Tx, records []*pipeline.Vector, lookedUp bool) error {
	if len(records) == 0 {
		return nil
	}
	err := pgx.BeginFunc(ctx, tx, func(sp pgx.Tx) error {
		if w.layout.Crypto {
			return w.encrypt(ctx, sp, records, "")
		}
		_, err := sp.Conn().PgConn().CopyFrom(ctx, &stream{layout: w.layout, collection: w.unit.Name, records: records},
			"COPY "+w.table+" ("+vectors.Columns+") FROM STDIN (FORMAT binary)")
		return err
	})
	switch {
	case err == nil:
		w.out.Written += len(records)
		return nil
	case !pg.IsData(err):
		return err
	case pg.HasCode(err, "23505") && !lookedUp:
		rest, err := w.duplicates(ctx, tx, records)
		if err != nil {
			return err
		}
		return w.put(ctx, tx, rest, true)
	case len(records) == 1:
		if !pg.HasCode(err, "23505") {
			w.refuse(records[0], "", reasonOf(err), "%s", message(err))
			return nil
		}
		rest, err := w.duplicates(ctx, tx, records)
		if err == nil && len(rest) > 0 {
			w.refuse(records[0], "id", pipeline.Duplicate, "another record holds this id")
		}
		return err
	}
	half := len(records) / 2
	if err := w.put(ctx, tx, records[:half], lookedUp); err != nil {
		return err
	}
	return w.put(ctx, tx, records[half:], lookedUp)
}

// duplicates refuses the records whose id is in the table, and gives the rest.
func (w *writer) duplicates(ctx context.Context, tx pgx.Tx, records []*pipeline.Vector) ([]*pipeline.Vector, error) {
	ids := make([]string, len(records))
	for i, v := range records {
		ids[i] = v.ID
	}
	rows, err := tx.Query(ctx, "SELECT id, collection_name FROM "+w.table+" WHERE id = ANY ($1)", ids)
	if err != nil {
		return nil, err
	}
	holder := map[string]string{}
	var id, name string
	if _, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error { holder[id] = name; return nil }); err != nil {
		return nil, err
	}
	rest := make([]*pipeline.Vector, 0, len(records))
	for _, v := range records {
		if name, ok := holder[v.ID]; ok {
			w.refuse(v, "id", pipeline.Duplicate, "collection %q holds this id already, and pgvector keeps an id once for all collections", name)
		} else {
			rest = append(rest, v)
		}
	}
	return rest, nil
}

func reasonOf(err error) pipeline.Reason {
	if pg.HasCode(err, "54", "22001") {
		return pipeline.TooLong
	}
	return pipeline.Invalid
}

// message is what the server said, without the row's values (its DETAIL).
func message(err error) string {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Message + " (" + pe.Code + ")"
	}
	return err.Error()
}
