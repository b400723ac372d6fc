package chroma

import (
	"context"
	"errors"
	"fmt"

	"outgrow/pipeline"
)

// searchBytes is how much of vectors is held at a time while they are compared.
const searchBytes = 4 << 20

// Search compares every vector that the store would give back. There is nothing
// but that: an index is Chroma's own, which makes one when a collection is used
// for the first time.
func (s *Source) Search(ctx context.Context, unit pipeline.Unit, queries [][]float32, k int, exact bool) ([][]pipeline.Hit, error) {
	if !exact {
		return nil, fmt.Errorf("searching an embedded Chroma through an index: %w", errors.ErrUnsupported)
	}
	sn, x, done, err := s.open(ctx, unit)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := x.mismatch(); err != nil {
		return nil, &pipeline.Error{Op: "searching collection", Unit: unit.Name, Err: err}
	}
	near := pipeline.NewNearest(queries, k)
	r := &rowReader{sn: sn, x: x}
	look := func() {
		for _, it := range r.items {
			if it.reason == "" {
				near.Add(it.vector.ID, it.vector.Embedding)
			}
		}
	}
	page := min(max(1, searchBytes/(4*max(1, x.dim))), s.cfg.Limits.Records)
	for at := 0; at < len(x.records); at += page {
		if err := r.bare(ctx, x.records[at:min(at+page, len(x.records))]); err != nil {
			return nil, readingError(unit, err)
		}
		look()
	}
	for list := x.pending; len(list) > 0; {
		n, err := r.readPending(ctx, list[:min(len(list), page)], s.cfg.Limits.Bytes)
		if err != nil {
			return nil, readingError(unit, err)
		}
		look()
		list = list[n:]
	}
	if err := x.unmoved(sn); err != nil {
		return nil, readingError(unit, err)
	}
	return near.Hits(), nil
}

// bare reads the ids and vectors alone of records, which must be sorted by row.
func (r *rowReader) bare(ctx context.Context, records []record) error {
	r.items = r.items[:0]
	for len(records) > 0 {
		n := neighbours(records, rowGap)
		if err := r.readIDs(ctx, records[:n]); err != nil {
			return err
		}
		for i, rec := range records[:n] {
			if rec.at != goneHere {
				r.items = append(r.items, item{vector: &pipeline.Vector{ID: r.ids[i]}, at: rec.at})
			}
		}
		records = records[n:]
	}
	return r.vectors(ctx)
}

// neighbours counts the records at the head of a list whose rows lie no further
// apart than gap.
func neighbours(list []record, gap int64) int {
	n := 1
	for n < len(list) && list[n].row-list[n-1].row <= gap {
		n++
	}
	return n
}
