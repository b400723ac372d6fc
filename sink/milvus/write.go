package milvus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	layout "outgrow/mappings/milvus"
	"outgrow/pipeline"
)

// Write writes a batch. It may be repeated.
func (s *Sink) Write(ctx context.Context, b pipeline.Batch[*pipeline.Vector]) (pipeline.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return pipeline.Outcome{}, context.Cause(ctx)
	}
	return s.write(ctx, b.Part.Unit, b.Records)
}

func (s *Sink) write(ctx context.Context, u pipeline.Unit, records []*pipeline.Vector) (pipeline.Outcome, error) {
	w := writer{Sink: s, unit: u}
	kept := w.screen(records)
	if len(kept) == 0 {
		return w.out, nil
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return pipeline.Outcome{}, context.Cause(ctx)
	}
	dim := u.Dim
	if dim == 0 {
		dim = len(kept[0].Embedding)
	}
	c, err := s.make(ctx, u, dim)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	if kept, err = w.fitting(ctx, c, kept); err == nil {
		err = w.put(ctx, c, kept)
	}
	if layout.NotFound(err) { // dropped by someone: look again, and make it again
		s.forget(c.Name)
		err = pipeline.Transient(err)
	}
	if err != nil {
		return pipeline.Outcome{}, err
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

// screen refuses what no collection of this layout can hold.
func (w *writer) screen(records []*pipeline.Vector) []*pipeline.Vector {
	kept := make([]*pipeline.Vector, 0, len(records))
	for _, v := range records {
		if column, reason, detail := layout.Refuses(w.cfg.Store, w.store.Layout, w.unit.Name, v); reason != "" {
			w.refuse(v, column, reason, "%s", detail)
		} else {
			kept = append(kept, v)
		}
	}
	return kept
}

// fitting refuses vectors of another dimension, and in a shared collection the
// ids that another logical collection holds: an upsert would take them from it.
func (w *writer) fitting(ctx context.Context, c *layout.Collection, records []*pipeline.Vector) ([]*pipeline.Vector, error) {
	taken := map[string]string{}
	if c.Shared() {
		ids := make([]string, len(records))
		for i, v := range records {
			ids[i] = v.ID
		}
		if err := w.store.Load(ctx, c.Name); err != nil {
			return nil, err
		}
		expr, _ := layout.Among(ids)
		p, err := w.store.Query(ctx, c.Name, expr+" and "+layout.FieldResource+" != "+layout.Quote(w.unit.Name), []string{layout.FieldID, layout.FieldResource}, 0, 0)
		if err != nil {
			return nil, err
		}
		for i := range p.Len() {
			taken[strings.Clone(p.ID(i))] = strings.Clone(p.Resource(i))
		}
	}
	kept := make([]*pipeline.Vector, 0, len(records))
	for _, v := range records {
		switch other, is := taken[v.ID]; {
		case is:
			w.refuse(v, "id", pipeline.Duplicate, "collection %q holds this id already, and %s keeps an id once", other, c.Name)
		case len(v.Embedding) != c.Dim:
			w.refuse(v, "vector", Dimension, "%d dimensions, collection %s has %d", len(v.Embedding), c.Name, c.Dim)
		default:
			kept = append(kept, v)
		}
	}
	return kept, nil
}

// put writes records; those that the server refuses are found by halving.
func (w *writer) put(ctx context.Context, c *layout.Collection, records []*pipeline.Vector) error {
	if len(records) == 0 {
		return nil
	}
	err := w.store.Upsert(ctx, c, w.unit.Name, records)
	switch {
	case err == nil:
		w.out.Written += len(records)
		return nil
	case !layout.Rejected(err):
		return err
	case len(records) == 1:
		var e *layout.StatusError
		if !errors.As(err, &e) {
			return err
		}
		w.refuse(records[0], "", pipeline.Invalid, "the server refuses it: %s", e)
		return nil
	}
	half := len(records) / 2
	if err := w.put(ctx, c, records[:half]); err != nil {
		return err
	}
	return w.put(ctx, c, records[half:])
}

var errNoJournal = errors.New("there is no journal to release the records from")

// Put writes repaired records over those of the same id, then writes the ledger
// and releases them from the quarantine.
func (s *Sink) Put(ctx context.Context, u pipeline.Unit, records []*pipeline.Vector) (pipeline.Outcome, error) {
	if s.cfg.Journal == nil {
		return pipeline.Outcome{}, fmt.Errorf("putting records into %s: %w", u.ID(), errNoJournal)
	}
	out, err := s.write(ctx, u, records)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	return pipeline.Settle(ctx, s.cfg.Journal, u, pipeline.Accepted(records, out), out)
}
