package chroma

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
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

	// the span being read
	ids   []string
	lists map[int64][]field
	seen  int64 // rows that join took before the one at which it stopped

	body   body // the record being put together
	buf    []byte
	vecBuf []byte
}

// read reads records, which must be sorted by row, until one of the limits is
// reached, and gives how many of them were looked at. The items are in r.items.
func (r *rowReader) read(ctx context.Context, records []record, maxBytes int64) (int, error) {
	r.items, r.bytes = r.items[:0], 0
	done := 0
	for done < len(records) {
		n := neighbours(records[done:], rowGap)
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

// span reads records whose rows lie close together: first their ids, then the
// rows of embedding_metadata, in the order in which they were stored wherever
// that is the order of the records, which is several times faster.
func (r *rowReader) span(ctx context.Context, records []record, maxBytes int64) (int, error) {
	lo, hi := records[0].row, records[len(records)-1].row
	if err := r.readLists(ctx, lo, hi); err != nil {
		return 0, err
	}
	if err := r.readIDs(ctx, records); err != nil {
		return 0, err
	}
	row, _, err := one(ctx, r.sn.db, "SELECT count(*), min(rowid), max(rowid) FROM embedding_metadata WHERE id BETWEEN ? AND ?", lo, hi)
	if err != nil {
		return 0, err
	}
	items, bytes := len(r.items), r.bytes
	if first, last := num(row[1]), num(row[2]); num(row[0]) == last-first+1 {
		n, err := r.join(ctx, records, maxBytes, "SELECT m.id, m.key, "+r.sn.catalog.value+", 0 FROM embedding_metadata m NOT INDEXED WHERE m.rowid BETWEEN ? AND ?", first, last)
		if err == nil && n < len(records) {
			err = r.whole(ctx, lo, records[n-1].row)
		}
		if !errors.Is(err, errOrder) {
			return n, err
		}
		r.items, r.bytes = r.items[:items], bytes
	}
	return r.join(ctx, records, maxBytes, "SELECT m.id, m.key, "+r.sn.catalog.value+", m.rowid FROM embedding_metadata m WHERE m.id BETWEEN ? AND ? ORDER BY m.id", lo, hi)
}

// errOrder says that the rows of the records lie among each other.
var errOrder = errors.New("not in order")

// whole makes sure that a reading which stopped early had seen every row of the
// records from lo to hi: an update puts a value behind those of later records.
func (r *rowReader) whole(ctx context.Context, lo, hi int64) error {
	row, _, err := one(ctx, r.sn.db, "SELECT count(*) FROM embedding_metadata WHERE id BETWEEN ? AND ?", lo, hi)
	if err == nil && num(row[0]) != r.seen {
		err = errOrder
	}
	return err
}

// readIDs reads the ids of a span.
func (r *rowReader) readIDs(ctx context.Context, records []record) error {
	r.ids = r.ids[:0]
	err := each(ctx, r.sn.db, func(v []driver.Value) error {
		if n := len(r.ids); n == len(records) || records[n].row != num(v[0]) {
			return fmt.Errorf("row %d of embeddings was not listed", num(v[0]))
		}
		r.ids = append(r.ids, str(v[1]))
		return nil
	}, "SELECT id, embedding_id FROM embeddings NOT INDEXED WHERE id BETWEEN ? AND ? AND segment_id = ? ORDER BY id",
		records[0].row, records[len(records)-1].row, r.x.coll.metaSeg)
	if err == nil && len(r.ids) != len(records) {
		err = fmt.Errorf("row %d of embeddings is not there", records[len(r.ids)].row)
	}
	return err
}

// join makes items of a span's records and the rows of embedding_metadata that
// query gives by id, until maxBytes is reached.
func (r *rowReader) join(ctx context.Context, records []record, maxBytes int64, query string, args ...any) (int, error) {
	done := 0
	last := int64(math.MinInt64)
	r.body.text, r.body.fields, r.seen = nil, r.body.fields[:0], 0
	// flush finishes the records before a row.
	flush := func(row int64) error {
		for done < len(records) && records[done].row < row {
			if err := r.finish(ctx, records[done], r.ids[done]); err != nil {
				return err
			}
			r.body.text, r.body.fields = nil, r.body.fields[:0]
			if done++; r.bytes >= maxBytes {
				return errStop
			}
		}
		return nil
	}
	err := each(ctx, r.sn.db, func(v []driver.Value) error {
		row := num(v[0])
		if row != last {
			if row < last {
				return errOrder
			}
			last = row
			if err := flush(row); err != nil {
				return err
			}
		}
		// Rows between may be those of other collections.
		if done < len(records) && records[done].row == row {
			r.add(num(v[3]), str(v[1]), v[2])
		}
		r.seen++
		return nil
	}, query, args...)
	if err == nil && r.bytes < maxBytes {
		if err = flush(math.MaxInt64); errors.Is(err, errStop) {
			err = nil
		}
	}
	return done, err
}

// add takes one row of embedding_metadata. Rows without a value are NaN:
// chromadb leaves the key out.
func (r *rowReader) add(ord int64, key string, value driver.Value) {
	switch v := value.(type) {
	case nil:
	case []byte: // see catalog.value
		r.body.fields = append(r.body.fields, field{key, ord, v[0] != 0})
	case string:
		if key == documentKey {
			r.body.text = &v
			return
		}
		r.body.fields = append(r.body.fields, field{key, ord, v})
	default:
		r.body.fields = append(r.body.fields, field{key, ord, v})
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
		if b, ok := value.([]byte); ok { // see catalog.value
			value = b[0] != 0
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
	}, "SELECT m.id, m.rowid, m.key, "+r.sn.catalog.value+` FROM embeddings e NOT INDEXED JOIN embedding_metadata_array m ON m.id = e.id
		WHERE e.id BETWEEN ? AND ? AND e.segment_id = ? ORDER BY e.id, m.rowid`, lo, hi, r.x.coll.metaSeg)
}

// finish makes an item of the record put together.
func (r *rowReader) finish(ctx context.Context, rec record, id string) error {
	r.body.fields = append(r.body.fields, r.lists[rec.row]...)
	if changes := r.x.changes[id]; len(changes) > 0 {
		if rec.at == goneHere {
			return nil
		}
		b, exists, err := r.sn.replayBody(ctx, true, r.body, changes)
		if err != nil || !exists {
			return err
		}
		r.body = b
	}
	return r.emit(id, r.body, rec.at)
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
	var stored, queued []int
	for i := range r.items {
		it := &r.items[i]
		switch _, inQueue := it.at.queued(); {
		case inQueue:
			queued = append(queued, i)
		case it.at >= 0:
			stored = append(stored, i)
		default:
			it.lose(pipeline.NeedsEmbedding, "the store has lost the vector of this record")
			if r.x.damage != nil {
				it.detail += ": " + r.x.damage.Error()
			}
		}
	}
	sort.Slice(stored, func(a, b int) bool { return r.items[stored[a]].at < r.items[stored[b]].at })
	slots := make([]place, len(stored))
	for i, n := range stored {
		slots[i] = r.items[n].at
	}
	if len(slots) > 0 {
		var err error
		r.vecBuf, err = r.x.seg.vectors(slots, r.vecBuf, func(i int, v []float32) { r.items[stored[i]].vector.Embedding = v })
		if err != nil {
			return err
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
		it.vector.Embedding = decodeVector(b, 1)
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
