package milvus

import (
	"context"
	"fmt"
	"iter"
	"strings"

	layout "outgrow/mappings/milvus"
	"outgrow/pipeline"
)

// A cursor is "=" and the last id, so that the id "" has one too.
func cursor(id string) pipeline.Cursor { return pipeline.Cursor("=" + id) }

func bounds(from, to pipeline.Cursor) (b layout.Bounds) {
	b.After, b.From = strings.CutPrefix(string(from), "=")
	b.To = strings.TrimPrefix(string(to), "=")
	return b
}

// Read yields the records behind the cursor in the order of their ids. Where a
// batch ends depends on the records in it only, so reading after its Prev gives
// the same batch.
func (s *Source) Read(ctx context.Context, part pipeline.Part, from pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Vector], error] {
	return func(yield func(pipeline.Batch[*pipeline.Vector], error) bool) {
		if from == "" {
			from = part.From
		}
		r := reader{Source: s, batch: pipeline.Batch[*pipeline.Vector]{Part: part, Prev: from}, yield: yield, page: firstPage}
		ok, err := r.run(ctx, bounds(from, part.To))
		if err != nil {
			yield(pipeline.Batch[*pipeline.Vector]{}, fmt.Errorf("reading %s: %w", part.Unit.ID(), err))
		} else if ok && r.batch.Read > 0 {
			r.flush()
		}
	}
}

// firstPage is how many records are asked for before their size is known.
const firstPage = 64

type reader struct {
	*Source
	batch pipeline.Batch[*pipeline.Vector] // being filled
	last  string                           // id of the last record in it
	yield func(pipeline.Batch[*pipeline.Vector], error) bool
	page  int // records to ask for
}

// run reads to the part's end; false when the consumer has had enough.
func (r *reader) run(ctx context.Context, at layout.Bounds) (bool, error) {
	unit := r.batch.Part.Unit
	c, err := r.collection(ctx, unit)
	if err != nil || c == nil {
		return true, err
	}
	if at.At, err = r.store.Now(ctx); err != nil {
		return false, err
	}
	filter, columns := layout.Filter(r.cfg.Store, unit.Name), layout.Columns(c)
	for {
		free, err := r.slot(ctx)
		if err != nil {
			return false, err
		}
		p, err := r.store.Page(ctx, c.Name, filter, columns, at, r.page)
		free()
		if err != nil || p.Len() == 0 {
			return err == nil, err
		}
		at.From, at.After = true, strings.Clone(p.ID(p.Len()-1))
		size := int64(0)
		for i := range p.Len() {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			v, err := p.Record(i)
			size += int64(v.Size())
			if !r.add(v, err) {
				return false, nil
			}
		}
		// The next page takes about as much as a batch.
		r.page = min(max(int(r.cfg.Limits.Bytes/max(1, size/int64(p.Len()))), 1), r.cfg.Limits.Records, layout.MaxPage)
	}
}

// add takes a record into the batch, and yields the batch when it is full.
func (r *reader) add(v *pipeline.Vector, bad error) bool {
	if bad != nil {
		r.batch.Refused = append(r.batch.Refused, pipeline.NewRefusal(r.batch.Part.Unit, v, layout.FieldData, pipeline.Unreadable, bad.Error()))
	} else {
		r.batch.Records = append(r.batch.Records, v)
	}
	r.batch.Read++
	r.batch.Bytes += int64(v.Size())
	r.last = v.ID
	if r.batch.Bytes >= r.cfg.Limits.Bytes || r.batch.Read >= r.cfg.Limits.Records {
		return r.flush()
	}
	return true
}

func (r *reader) flush() bool {
	b := r.batch
	b.Next = cursor(r.last)
	r.batch = pipeline.Batch[*pipeline.Vector]{Part: b.Part, Prev: b.Next}
	return r.yield(b, nil)
}

// splitFrom is the number of records from which a collection is cut into parts.
const splitFrom = 10_000

// Split cuts a collection by the first two characters of its ids, which Open
// WebUI makes at random in hexadecimal; other ids are in one of the parts too.
func (s *Source) Split(_ context.Context, u pipeline.Unit, n int) ([]pipeline.Part, error) {
	if u.Records < splitFrom || n < 2 {
		return []pipeline.Part{{Unit: u}}, nil
	}
	n = min(n, 64)
	parts := make([]pipeline.Part, n)
	for i := range parts {
		parts[i] = pipeline.Part{Unit: u, N: i}
		if i > 0 {
			parts[i].From = cursor(fmt.Sprintf("%02x", i*256/n))
			parts[i-1].To = parts[i].From
		}
	}
	return parts, nil
}
