package chroma

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sort"
	"unicode/utf8"

	"outgrow/pipeline"
)

// item is a record as it was read, with what is wrong with it.
type item struct {
	vector *pipeline.Vector
	at     place
	// reason and detail are set when the record cannot be moved.
	reason pipeline.Reason
	detail string
}

// rowGap is how far apart the rows of a collection may lie to be read with one
// query.
const rowGap = 64

// rowReader reads the documents, metadata and vectors of one collection.
type rowReader struct {
	sn *snapshot
	x  *index

	items []item
	bytes int64

	// the record being put together
	row    int64
	id     string
	body   body
	lists  map[int64][]field
	buf    []byte
	vecBuf []byte
}

// read reads records, which must be sorted by row, until one of the limits is
// reached, and gives how many of them were looked at. The items are in r.items.
func (r *rowReader) read(ctx context.Context, records []record, maxBytes int64) (int, error) {
	r.items, r.bytes = r.items[:0], 0
	done := 0
	for done < len(records) {
		n := 1
		for done+n < len(records) && records[done+n].row-records[done+n-1].row <= rowGap {
			n++
		}
		k, err := r.span(ctx, records[done:done+n], maxBytes)
		if err != nil {
			return done, err
		}
		done += k
		if r.bytes >= maxBytes {
			break
		}
	}
	return done, r.vectors(ctx)
}

// span reads records whose rows lie close together.
func (r *rowReader) span(ctx context.Context, records []record, maxBytes int64) (int, error) {
	lo, hi := records[0].row, records[len(records)-1].row
	seg := r.x.coll.metaSeg
	if err := r.readLists(ctx, lo, hi); err != nil {
		return 0, err
	}
	done, open := 0, false
	// flush finishes the record being put together.
	flush := func() error {
		open = false
		for done < len(records) && records[done].row < r.row {
			done++ // not there any more: cannot be in a snapshot
		}
		if done == len(records) || records[done].row != r.row {
			return fmt.Errorf("row %d of embeddings was not listed", r.row)
		}
		at := records[done].at
		done++
		if err := r.finish(ctx, at); err != nil {
			return err
		}
		if r.bytes >= maxBytes {
			return errStop
		}
		return nil
	}
	err := each(ctx, r.sn.db, func(v []driver.Value) error {
		if row := num(v[0]); !open || row != r.row {
			if open {
				if err := flush(); err != nil {
					return err
				}
			}
			open, r.row, r.id = true, row, str(v[1])
			r.body.text, r.body.fields = nil, r.body.fields[:0]
		}
		if v[2] == nil {
			return nil // no metadata at all
		}
		r.add(num(v[2]), str(v[3]), v[4], v[5])
		return nil
	}, `SELECT e.id, e.embedding_id, m.rowid, m.key, coalesce(m.string_value, m.int_value, m.float_value), m.bool_value
		FROM embeddings e NOT INDEXED LEFT JOIN embedding_metadata m ON m.id = e.id
		WHERE e.id BETWEEN ? AND ? AND e.segment_id = ? ORDER BY e.id`, lo, hi, seg)
	if err == nil && open {
		err = flush()
	}
	if errors.Is(err, errStop) {
		err = nil
	}
	if err == nil && r.bytes < maxBytes {
		done = len(records)
	}
	return done, err
}

// add takes one row of embedding_metadata.
func (r *rowReader) add(ord int64, key string, value, boolean driver.Value) {
	switch {
	case boolean != nil:
		r.body.fields = append(r.body.fields, field{key, ord, num(boolean) != 0})
	case value == nil: // NaN: chromadb leaves the key out
	case key == documentKey:
		text := str(value)
		r.body.text = &text
	default:
		if b, ok := value.([]byte); ok {
			value = string(b)
		}
		r.body.fields = append(r.body.fields, field{key, ord, value})
	}
}

// readLists reads the metadata values that are lists.
func (r *rowReader) readLists(ctx context.Context, lo, hi int64) error {
	r.lists = nil
	if !r.sn.catalog.arrays {
		return nil
	}
	r.lists = map[int64][]field{}
	return each(ctx, r.sn.db, func(v []driver.Value) error {
		row, key, value := num(v[0]), str(v[2]), v[3]
		if v[4] != nil {
			value = num(v[4]) != 0
		}
		fields := r.lists[row]
		for i := range fields {
			if fields[i].key == key {
				fields[i].value = append(fields[i].value.([]any), value)
				return nil
			}
		}
		// After the scalars, which have their own rowids.
		r.lists[row] = append(fields, field{key, 1<<62 + num(v[1]), []any{value}})
		return nil
	}, `SELECT a.id, a.rowid, a.key, coalesce(a.string_value, a.int_value, a.float_value), a.bool_value
		FROM embeddings e NOT INDEXED JOIN embedding_metadata_array a ON a.id = e.id
		WHERE e.id BETWEEN ? AND ? AND e.segment_id = ? ORDER BY e.id, a.rowid`, lo, hi, r.x.coll.metaSeg)
}

// finish makes an item of the record put together.
func (r *rowReader) finish(ctx context.Context, at place) error {
	r.body.fields = append(r.body.fields, r.lists[r.row]...)
	if changes := r.x.changes[r.id]; len(changes) > 0 {
		if at == goneHere {
			return nil
		}
		b, exists, err := r.sn.replayBody(ctx, true, r.body, changes)
		if err != nil || !exists {
			return err
		}
		r.body = b
	}
	return r.emit(r.id, r.body, at)
}

func (r *rowReader) emit(id string, b body, at place) error {
	it := item{vector: &pipeline.Vector{ID: id, Text: b.text}, at: at}
	var err error
	it.vector.Metadata, r.buf, err = metadataJSON(r.buf, b.fields)
	if err == nil && (!utf8.ValidString(id) || (b.text != nil && !utf8.ValidString(*b.text))) {
		err = errNotUTF8
	}
	if err != nil {
		it.reason, it.detail = pipeline.Invalid, err.Error()
	}
	r.items = append(r.items, it)
	r.bytes += int64(it.vector.Size())
	if at != noPlace {
		r.bytes += int64(4 * r.x.dim)
	}
	return nil
}

// vectors fills in the vectors of the items.
func (r *rowReader) vectors(ctx context.Context) error {
	var queued []int
	for i := range r.items {
		it := &r.items[i]
		switch _, inQueue := it.at.queued(); {
		case inQueue:
			queued = append(queued, i)
		case it.at < 0:
			it.lose(pipeline.NeedsEmbedding, "the store has lost the vector of this record")
			if r.x.damage != nil {
				it.detail += ": " + r.x.damage.Error()
			}
		default:
			var err error
			if it.vector.Embedding, r.vecBuf, err = r.x.seg.vector(int64(it.at), r.vecBuf); err != nil {
				return err
			}
		}
	}
	sort.Slice(queued, func(a, b int) bool { return r.items[queued[a]].at > r.items[queued[b]].at })
	for from := 0; from < len(queued); {
		to := from + 1
		for to < len(queued) && r.items[queued[to-1]].at-r.items[queued[to]].at <= 4 {
			to++
		}
		if err := r.fromQueue(ctx, queued[from:to]); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// fromQueue reads the vectors of items that lie close together in the queue, in
// the order of the queue.
func (r *rowReader) fromQueue(ctx context.Context, items []int) error {
	lo, _ := r.items[items[0]].at.queued()
	hi, _ := r.items[items[len(items)-1]].at.queued()
	err := each(ctx, r.sn.db, func(v []driver.Value) error {
		if len(items) == 0 {
			return errStop
		}
		it := &r.items[items[0]]
		if it.at != inQueue(num(v[0])) {
			return nil
		}
		items = items[1:]
		b, _ := v[1].([]byte)
		if enc := str(v[2]); enc != "FLOAT32" || len(b)%4 != 0 || len(b) == 0 {
			it.lose(pipeline.Unreadable, fmt.Sprintf("a vector of %d bytes in encoding %q", len(b), enc))
			return nil
		}
		it.vector.Embedding = decodeVector(b)
		if n := len(it.vector.Embedding); r.x.dim > 0 && n != r.x.dim {
			it.lose(pipeline.Invalid, fmt.Sprintf("a vector of %d dimensions in a collection of %d", n, r.x.dim))
		}
		return nil
	}, "SELECT seq_id, vector, encoding FROM embeddings_queue WHERE seq_id BETWEEN ? AND ?", lo, hi)
	if err == nil && len(items) > 0 {
		err = fmt.Errorf("row %d of the queue is not there", -r.items[items[0]].at)
	}
	return err
}

// lose marks the item as one that cannot be moved; the first reason stays.
func (it *item) lose(reason pipeline.Reason, detail string) {
	if it.reason == "" {
		it.reason, it.detail = reason, detail
	}
}
