package chroma

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// Operations of the queue.
const (
	opAdd    = 0
	opUpsert = 2
	opDelete = 3
)

// documentKey is the metadata key under which Chroma keeps the document.
const documentKey = "chroma:document"

// value is one row of embedding_metadata, or of embedding_metadata_array.
type value struct {
	key  string
	v    any // string, int64, float64 or bool
	list bool
}

// kind names the type as a collection's schema does.
func (v value) kind() string {
	switch v.v.(type) {
	case string:
		return "string"
	case int64:
		return "int"
	case float64:
		return "float"
	}
	return "bool"
}

// record is what goes into the tables, and what came from the source.
type record struct {
	id      string
	text    *string
	values  []value
	vector  []byte
	dim     int
	whole   *pipeline.Vector
	changes []pipeline.Change
}

// encode takes a record apart as the tables have it.
func encode(v *pipeline.Vector) (*record, error) {
	r := &record{id: v.ID, text: v.Text, dim: len(v.Embedding), vector: make([]byte, 0, 4*len(v.Embedding))}
	for _, f := range v.Embedding {
		r.vector = binary.LittleEndian.AppendUint32(r.vector, math.Float32bits(f))
	}
	if len(v.Metadata) == 0 {
		return r, nil
	}
	members, err := vectors.Members(v.Metadata)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if x, ok := chromahttp.Scalar(m.Value); ok {
			r.values = append(r.values, value{m.Key, x, false})
			continue
		}
		list, ok := chromahttp.Values(m.Value)
		if !ok {
			return nil, fmt.Errorf("the value of %.80q is of a type that Chroma does not have", m.Key)
		}
		for _, e := range list {
			x, ok := chromahttp.Scalar(e)
			if !ok {
				return nil, fmt.Errorf("the value of %.80q is of a type that Chroma does not have", m.Key)
			}
			r.values = append(r.values, value{m.Key, x, true})
		}
	}
	return r, nil
}

// writer changes the records of one collection in one transaction.
type writer struct {
	st  *store
	l   *collection
	tx  *sql.Tx
	row int64 // the last one of embeddings
	seq int64 // the last one of the queue
	was int64 // seq when the transaction began
	// text is the row up to which the full-text index is kept with the records;
	// Finish adds what comes after.
	text                               int64
	queue, embeddings, scalars, arrays *inserter
	fulltext                           *inserter
}

// errUnsettled is returned for a store that Chroma has left in the middle.
var errUnsettled = errors.New("the queue has records that Chroma has not taken into its tables yet")

func (st *store) begin(ctx context.Context, tx *sql.Tx, l *collection) (*writer, error) {
	w := &writer{st: st, l: l, tx: tx, text: math.MaxInt64,
		queue:      newInserter(tx, "embeddings_queue (seq_id, operation, topic, id, vector, encoding)", 6),
		embeddings: newInserter(tx, "embeddings (id, segment_id, embedding_id, seq_id)", 4),
		scalars:    newInserter(tx, "embedding_metadata (id, key, string_value, int_value, float_value, bool_value)", 6),
		arrays:     newInserter(tx, "embedding_metadata_array (id, key, string_value, int_value, float_value, bool_value)", 6),
		fulltext:   newInserter(tx, "embedding_fulltext_search (rowid, string_value)", 2)}
	// The number of a row of the queue is never used again, so it must be above
	// all that any segment has seen.
	err := tx.QueryRowContext(ctx, `SELECT coalesce((SELECT max(id) FROM embeddings), 0),
		max(coalesce((SELECT max(seq_id) FROM embeddings_queue), 0), coalesce((SELECT max(seq_id) FROM max_seq_id), 0))`).Scan(&w.row, &w.seq)
	w.was = w.seq
	if err != nil {
		return nil, err
	}
	if st.partial {
		return w, tx.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM embedding_fulltext_search_docsize").Scan(&w.text)
	}
	var unsettled bool
	err = tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM embeddings_queue WHERE seq_id > coalesce((SELECT seq_id FROM max_seq_id WHERE segment_id = ?), 0) AND topic = ?)",
		l.metaSeg, l.topic()).Scan(&unsettled)
	if err == nil && unsettled {
		err = pipeline.Environment("writing to the Chroma store", errUnsettled, "start Open WebUI once, open the collection, stop it, then run the same command")
	}
	return w, err
}

// there is where a record is.
type there struct{ row, seq int64 }

// find looks records up by id.
func (w *writer) find(ctx context.Context, ids []string) (map[string]there, error) {
	out := map[string]there{}
	for some := range slices.Chunk(ids, 500) {
		if err := w.findSome(ctx, some, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (w *writer) findSome(ctx context.Context, ids []string, out map[string]there) error {
	args := []any{w.l.metaSeg}
	for _, id := range ids {
		args = append(args, id)
	}
	rows, err := w.tx.QueryContext(ctx, "SELECT embedding_id, id, seq_id FROM embeddings WHERE segment_id = ? AND embedding_id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var at there
		if err := rows.Scan(&id, &at.row, &at.seq); err != nil {
			return err
		}
		out[id] = at
	}
	return rows.Err()
}

// remove takes a record out of the tables and out of the queue. With gone the
// queue says so to an index that has it; else a new row will.
func (w *writer) remove(ctx context.Context, id string, at there, gone bool) error {
	for _, q := range []struct {
		text string
		args []any
		skip bool
	}{
		{"DELETE FROM embedding_metadata WHERE id = ?", []any{at.row}, false},
		{"DELETE FROM embedding_metadata_array WHERE id = ?", []any{at.row}, false},
		{"DELETE FROM embedding_fulltext_search WHERE rowid = ?", []any{at.row}, at.row > w.text},
		{"DELETE FROM embeddings WHERE id = ?", []any{at.row}, false},
		{"DELETE FROM embeddings_queue WHERE seq_id = ? AND topic = ? AND id = ?", []any{at.seq, w.l.topic(), id}, false},
	} {
		if q.skip {
			continue
		}
		if _, err := w.tx.ExecContext(ctx, q.text, q.args...); err != nil {
			return err
		}
	}
	if !gone {
		return nil
	}
	w.seq++
	return w.queue.add(ctx, w.seq, opDelete, w.l.topic(), id, nil, nil)
}

// add writes a record; row is the one that it had, 0 for none. The queue gets
// the vector only: what its metadata would say stands in the tables, up to the
// number in max_seq_id.
func (w *writer) add(ctx context.Context, r *record, row int64) error {
	op := opUpsert
	if row == 0 {
		op = opAdd
		w.row++
		row = w.row
	}
	w.seq++
	if err := w.queue.add(ctx, w.seq, op, w.l.topic(), r.id, r.vector, "FLOAT32"); err != nil {
		return err
	}
	if err := w.embeddings.add(ctx, row, w.l.metaSeg, r.id, w.seq); err != nil {
		return err
	}
	if r.text != nil {
		if err := w.scalars.add(ctx, row, documentKey, *r.text, nil, nil, nil); err != nil {
			return err
		}
		if row <= w.text {
			if err := w.fulltext.add(ctx, row, *r.text); err != nil {
				return err
			}
		}
	}
	for _, v := range r.values {
		args := []any{row, v.key, nil, nil, nil, nil}
		switch x := v.v.(type) {
		case string:
			args[2] = x
		case int64:
			args[3] = x
		case float64:
			args[4] = x
		case bool:
			args[5] = int64(0)
			if x {
				args[5] = int64(1)
			}
		}
		into := w.scalars
		if v.list {
			into = w.arrays
		}
		if err := into.add(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// end writes what is left, and up to where the metadata segment is.
func (w *writer) end(ctx context.Context) error {
	for _, i := range []*inserter{w.queue, w.embeddings, w.scalars, w.arrays, w.fulltext} {
		if err := i.flush(ctx); err != nil {
			return err
		}
	}
	if w.seq == w.was {
		return nil
	}
	_, err := w.tx.ExecContext(ctx, "INSERT INTO max_seq_id (segment_id, seq_id) VALUES (?, ?) ON CONFLICT (segment_id) DO UPDATE SET seq_id = excluded.seq_id", w.l.metaSeg, w.seq)
	return err
}

// rowsAtOnce is how many rows a statement inserts.
const rowsAtOnce = 50

// inserter inserts rows into one table, many at a time.
type inserter struct {
	tx    *sql.Tx
	into  string
	width int
	args  []any
	full  *sql.Stmt // for rowsAtOnce rows
}

func newInserter(tx *sql.Tx, into string, width int) *inserter {
	return &inserter{tx: tx, into: into, width: width}
}

func (i *inserter) text(rows int) string {
	tuple := "(?" + strings.Repeat(", ?", i.width-1) + ")"
	return "INSERT INTO " + i.into + " VALUES " + tuple + strings.Repeat(", "+tuple, rows-1)
}

func (i *inserter) add(ctx context.Context, args ...any) (err error) {
	i.args = append(i.args, args...)
	if len(i.args) < rowsAtOnce*i.width {
		return nil
	}
	if i.full == nil {
		if i.full, err = i.tx.PrepareContext(ctx, i.text(rowsAtOnce)); err != nil {
			return err
		}
	}
	_, err = i.full.ExecContext(ctx, i.args...)
	i.args = i.args[:0]
	return err
}

func (i *inserter) flush(ctx context.Context) error {
	if len(i.args) == 0 {
		return nil
	}
	_, err := i.tx.ExecContext(ctx, i.text(len(i.args)/i.width), i.args...)
	i.args = i.args[:0]
	return err
}
