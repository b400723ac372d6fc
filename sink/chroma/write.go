package chroma

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"outgrow/pipeline"
)

// Write makes a batch durable in one transaction. Records that are there are
// replaced.
func (s *Sink) Write(ctx context.Context, b pipeline.Batch[*pipeline.Vector]) (pipeline.Outcome, error) {
	return s.write(ctx, b.Part.Unit, b.Records)
}

func (s *Sink) write(ctx context.Context, u pipeline.Unit, all []*pipeline.Vector) (pipeline.Outcome, error) {
	var out pipeline.Outcome
	if err := ctx.Err(); err != nil {
		return out, context.Cause(ctx)
	}
	records := make([]*record, 0, len(all))
	for _, v := range all {
		kept, changes, refusals := s.change(u, v)
		out.Refused = append(out.Refused, refusals...)
		if kept == nil {
			continue
		}
		r, err := encode(kept)
		if err != nil { // the transform has let it through
			out.Refused = append(out.Refused, pipeline.NewRefusal(u, v, "vmetadata", pipeline.Invalid, err.Error()))
			continue
		}
		r.whole, r.changes = v, changes
		records = append(records, r)
	}
	if len(records) == 0 {
		return out, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.store(ctx)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	l := st.collections[u.Name]
	if l == nil {
		return pipeline.Outcome{}, &pipeline.Error{Op: "writing vectors to", Unit: u.ID(), Err: errors.New("the collection was not prepared")}
	}
	dim := l.dim
	kept := records[:0]
	for _, r := range records {
		if dim == 0 {
			dim = r.dim
		}
		if r.dim != dim {
			out.Refused = append(out.Refused, pipeline.NewRefusal(u, r.whole, "vector", pipeline.Invalid, fmt.Sprintf("%d dimensions in a collection of %d", r.dim, dim)))
			continue
		}
		out.Changed = append(out.Changed, r.changes...)
		kept = append(kept, r)
	}
	if len(kept) == 0 {
		return out, nil
	}
	if err := st.put(ctx, l, kept, dim); err != nil {
		return pipeline.Outcome{}, s.failed(ctx, "writing vectors to "+u.ID(), err)
	}
	out.Written = len(kept)
	return out, nil
}

// put writes records of one dimension in a transaction.
func (st *store) put(ctx context.Context, l *collection, records []*record, dim int) error {
	// Of an id that comes twice the last counts.
	last := make(map[string]int, len(records))
	for i, r := range records {
		last[r.id] = i
	}
	found := map[keyType]bool{}
	for _, r := range records {
		for _, v := range r.values {
			found[keyType{v.key, v.kind()}] = true
		}
	}
	schema, err := l.learn(found)
	if err != nil {
		return err
	}
	err = st.tx(ctx, func(tx *sql.Tx) error {
		if dim != l.dim || schema != "" {
			if _, err := tx.ExecContext(ctx, "UPDATE collections SET dimension = ?, schema_str = coalesce(nullif(?, ''), schema_str) WHERE id = ?", dim, schema, l.id); err != nil {
				return err
			}
		}
		w, err := st.begin(ctx, tx, l)
		if err != nil {
			return err
		}
		ids := make([]string, 0, len(last))
		for id := range last {
			ids = append(ids, id)
		}
		there, err := w.find(ctx, ids)
		if err != nil {
			return err
		}
		for i, r := range records {
			if last[r.id] != i {
				continue
			}
			old, ok := there[r.id]
			if ok {
				if err := w.remove(ctx, r.id, old, false); err != nil {
					return err
				}
			}
			if err := w.add(ctx, r, old.row); err != nil {
				return err
			}
		}
		return w.end(ctx)
	})
	if err == nil {
		l.dim = dim
		if schema != "" {
			l.schema = schema
			for k := range found {
				l.keys[k] = true
			}
		}
	}
	return err
}

// Delete removes records by id.
func (s *Sink) Delete(ctx context.Context, u pipeline.Unit, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, err := s.look(); err != nil || p == (place{}) {
		return s.failed(ctx, "deleting from "+u.ID(), err)
	}
	st, err := s.store(ctx)
	if err != nil {
		return err
	}
	l := st.collections[u.Name]
	if l == nil {
		return nil
	}
	return s.failed(ctx, "deleting from "+u.ID(), st.tx(ctx, func(tx *sql.Tx) error {
		w, err := st.begin(ctx, tx, l)
		if err != nil {
			return err
		}
		there, err := w.find(ctx, keys)
		if err != nil {
			return err
		}
		for id, old := range there {
			if err := w.remove(ctx, id, old, true); err != nil {
				return err
			}
		}
		return w.end(ctx)
	}))
}
