package chromahttp

import (
	"context"
	"errors"
	"iter"
	"strings"

	"outgrow/mappings/chromahttp"
	"outgrow/pipeline"
)

// A cursor is "=" and the last id. Ids are ordered by their bytes.
func cursor(id string) pipeline.Cursor { return pipeline.Cursor("=" + id) }

// Read yields the records behind the cursor in the order of their ids. Where a
// batch ends depends on the records in it only, so reading after its Prev gives
// the same batch. Records that are deleted while they are read are passed over.
func (s *Source) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Vector], error] {
	return func(yield func(pipeline.Batch[*pipeline.Vector], error) bool) {
		if after == "" {
			after = part.From
		}
		r := reader{fetcher: fetcher{Source: s}, batch: pipeline.Batch[*pipeline.Vector]{Part: part, Prev: after}, yield: yield}
		ok, err := r.run(ctx, after)
		if err != nil {
			yield(pipeline.Batch[*pipeline.Vector]{}, named(err, part.Unit))
		} else if ok && len(r.batch.Records) > 0 {
			r.flush()
		}
	}
}

type reader struct {
	fetcher
	batch pipeline.Batch[*pipeline.Vector] // being filled
	yield func(pipeline.Batch[*pipeline.Vector], error) bool
}

// run reads to the part's end; false when the consumer has had enough.
func (r *reader) run(ctx context.Context, after pipeline.Cursor) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	var ids *idList
	err := r.with(ctx, r.batch.Part.Unit.Name, func(l *chromahttp.Collection) (err error) {
		r.collection = l
		ids, err = r.list(ctx, l, after, r.batch.Part.To)
		return err
	})
	if err != nil || ids == nil {
		return true, err
	}
	defer ids.close()
	page, stopped := make([]string, 0, r.cfg.Limits.Records), false
	take := func() error {
		err := r.fetch(ctx, page, func(v *pipeline.Vector) bool {
			r.batch.Records = append(r.batch.Records, v)
			r.batch.Bytes += int64(v.Size())
			if r.batch.Bytes >= r.cfg.Limits.Bytes || len(r.batch.Records) >= r.cfg.Limits.Records {
				stopped = !r.flush()
			}
			return !stopped
		})
		page = page[:0]
		return err
	}
	for id, err := range ids.sorted() {
		if err != nil {
			return false, err
		}
		if page = append(page, id); len(page) == cap(page) {
			if err := take(); err != nil || stopped {
				return false, err
			}
		}
	}
	err = take()
	return !stopped, err
}

func (r *reader) flush() bool {
	b := r.batch
	b.Next, b.Read = cursor(b.Records[len(b.Records)-1].ID), len(b.Records)
	r.batch = pipeline.Batch[*pipeline.Vector]{Part: b.Part, Prev: b.Next}
	return r.yield(b, nil)
}

// list gives the ids behind one cursor and up to another.
func (s *Source) list(ctx context.Context, l *chromahttp.Collection, after, to pipeline.Cursor) (*idList, error) {
	low, hasLow := strings.CutPrefix(string(after), "=")
	high, hasHigh := strings.CutPrefix(string(to), "=")
	ids := newIDList(s.cfg.Temp, s.cfg.SortBytes)
	err := s.client.IDs(ctx, l.ID, func(id string) error {
		if hasLow && id <= low || hasHigh && id > high {
			return nil
		}
		return ids.add(id)
	})
	if err != nil {
		ids.close()
		return nil, err
	}
	return ids, nil
}

// Split cuts a collection into ranges of ids with the same number of records.
func (s *Source) Split(ctx context.Context, u pipeline.Unit, n int) (parts []pipeline.Part, err error) {
	err = s.with(ctx, u.Name, func(l *chromahttp.Collection) error {
		ids, err := s.list(ctx, l, "", "")
		if err != nil {
			return err
		}
		defer ids.close()
		parts = nil
		n = min(n, ids.count)
		from, seen := pipeline.Cursor(""), 0
		for id, err := range ids.sorted() {
			if err != nil {
				return err
			}
			if seen++; len(parts) < n-1 && seen == ids.count*(len(parts)+1)/n {
				parts = append(parts, pipeline.Part{Unit: u, N: len(parts), From: from, To: cursor(id)})
				from = cursor(id)
			}
		}
		parts = append(parts, pipeline.Part{Unit: u, N: len(parts), From: from})
		return nil
	})
	return parts, named(err, u)
}

// fetcher reads records by id in pages whose size follows the records'.
type fetcher struct {
	*Source
	collection *chromahttp.Collection
	page       int // ids at once, 0 before the first
}

// answer is how many bytes of JSON a page should have, and limit how many it
// may have: an element takes three times as much there as in memory.
const answer = 4 << 20

// fetch gives the records of some ids in the order of the ids; ids that are not
// there are passed over. It stops when each gives false.
func (f *fetcher) fetch(ctx context.Context, ids []string, each func(*pipeline.Vector) bool) error {
	if f.page == 0 {
		f.page = max(answer/(12*f.collection.Dim()+overhead), 1)
	}
	for len(ids) > 0 {
		some := ids[:min(f.page, len(ids), f.client.MaxBatch)]
		found, err := f.client.Get(ctx, f.collection.ID, some, 4*f.cfg.Limits.Bytes)
		if errors.Is(err, chromahttp.ErrTooMuch) {
			f.page = max(len(some)/2, 1)
			continue
		} else if err != nil {
			return err
		}
		by := make(map[string]*pipeline.Vector, len(found))
		for _, v := range found {
			by[v.ID] = v
		}
		for _, id := range some {
			if v := by[id]; v != nil && !each(v) {
				return nil
			}
		}
		ids = ids[len(some):]
	}
	return nil
}
