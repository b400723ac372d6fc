package chroma

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"outgrow/pipeline"
)

// minPart is how many records a part has at least.
const minPart = 20_000

// Split cuts a collection at rows of embeddings. The last part also has the
// records that only the queue knows.
func (s *Source) Split(ctx context.Context, unit pipeline.Unit, n int) ([]pipeline.Part, error) {
	if n <= 1 || unit.Records >= 0 && unit.Records < 2*minPart {
		return []pipeline.Part{{Unit: unit}}, nil
	}
	_, x, done, err := s.open(ctx, unit)
	if err != nil {
		return nil, err
	}
	defer done()
	n = max(1, min(n, len(x.records)/minPart))
	parts := make([]pipeline.Part, n)
	from := pipeline.Cursor("")
	for i := range parts {
		to := pipeline.Cursor("")
		if i < n-1 {
			to = position{n: x.records[(i+1)*len(x.records)/n-1].row}.cursor()
		}
		parts[i] = pipeline.Part{Unit: unit, N: i, From: from, To: to}
		from = to
	}
	return parts, nil
}

// Keys lists the ids of a collection, those without a vector included.
func (s *Source) Keys(ctx context.Context, unit pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		sn, x, done, err := s.open(ctx, unit)
		if err != nil {
			yield("", err)
			return
		}
		defer done()
		stopped := false
		err = x.ids(ctx, sn, func(id string) error {
			if stopped = stopped || !yield(id, nil); stopped {
				return errStop
			}
			return nil
		})
		if err != nil && !stopped {
			yield("", err)
		}
	}
}

// Get reads records by id. A record whose vector is lost is given without one. In
// a collection that is not there is none.
func (s *Source) Get(ctx context.Context, unit pipeline.Unit, keys []string) (map[string]*pipeline.Vector, error) {
	sn, x, done, err := s.open(ctx, unit)
	if errors.Is(err, errNoCollection) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer done()
	found := make(map[string]*pipeline.Vector, len(keys))
	r := &rowReader{sn: sn, x: x}
	var list []record
	var queued []pending
	for _, key := range keys {
		row, ok, err := one(ctx, sn.db, "SELECT id FROM embeddings WHERE segment_id = ? AND embedding_id = ?", x.coll.metaSeg, key)
		if err != nil {
			return nil, fmt.Errorf("looking up a record of %s: %w", unit.Name, err)
		}
		if ok {
			if i := x.after(num(row[0])); i > 0 {
				list = append(list, x.records[i-1])
			}
			continue
		}
		if len(x.changes[key]) > 0 {
			for _, p := range x.pending {
				if p.id == key {
					queued = append(queued, p)
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b record) int { return int(min(1, max(-1, a.row-b.row))) })
	list = slices.CompactFunc(list, func(a, b record) bool { return a.row == b.row })
	slices.SortFunc(queued, func(a, b pending) int { return int(min(1, max(-1, a.seq-b.seq))) })
	queued = slices.CompactFunc(queued, func(a, b pending) bool { return a.seq == b.seq })
	take := func() {
		for _, it := range r.items {
			found[it.vector.ID] = it.vector
		}
	}
	for len(list) > 0 {
		n, err := r.sparse(ctx, list)
		if err != nil {
			return nil, readingError(unit, err)
		}
		take()
		list = list[n:]
	}
	if len(queued) > 0 {
		if _, err := r.readPending(ctx, queued, 1<<62); err != nil {
			return nil, readingError(unit, err)
		}
		take()
	}
	return found, x.unmoved(sn)
}

// sparse reads the longest run of neighbours at the head of list. Other rows
// between them are not of the list, so only true neighbours go together.
func (r *rowReader) sparse(ctx context.Context, list []record) (int, error) {
	return r.read(ctx, list[:neighbours(list, 1)], 1<<62)
}
