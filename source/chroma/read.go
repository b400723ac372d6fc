package chroma

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"

	"outgrow/pipeline"
)

// position is what a cursor says: the record after which to go on. The rows of
// embeddings come first ("r" and the row), then the records that only the queue
// has ("q" and the seq_id).
type position struct {
	queue bool
	n     int64
}

func (p position) cursor() pipeline.Cursor {
	phase := "r"
	if p.queue {
		phase = "q"
	}
	return pipeline.Cursor(phase + strconv.FormatInt(p.n, 10))
}

func parseCursor(c pipeline.Cursor) (position, error) {
	if c == "" {
		return position{n: math.MinInt64}, nil
	}
	n, err := strconv.ParseInt(string(c[1:]), 10, 64)
	if err != nil || (c[0] != 'r' && c[0] != 'q') {
		return position{}, fmt.Errorf("the cursor %q is not one of a Chroma store", c)
	}
	return position{c[0] == 'q', n}, nil
}

// Read yields the records of a part by row of embeddings. A record that cannot
// be moved, most often because its vector is lost, is among the batch's
// refusals instead of its records.
func (s *Source) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Vector], error] {
	return func(yield func(pipeline.Batch[*pipeline.Vector], error) bool) {
		if err := s.read(ctx, part, after, yield); err != nil {
			yield(pipeline.Batch[*pipeline.Vector]{}, err)
		}
	}
}

func (s *Source) read(ctx context.Context, part pipeline.Part, after pipeline.Cursor, yield func(pipeline.Batch[*pipeline.Vector], error) bool) error {
	start := after
	if start == "" {
		start = part.From
	}
	from, err := parseCursor(start)
	if err != nil {
		return err
	}
	sn, x, done, err := s.open(ctx, part.Unit)
	if err != nil {
		return err
	}
	defer done()
	if err := x.mismatch(); err != nil {
		return &pipeline.Error{Op: "reading collection", Unit: part.Unit.Name, Err: err}
	}
	end := len(x.records)
	if part.To != "" {
		to, err := parseCursor(part.To)
		if err != nil {
			return err
		}
		end = x.after(to.n)
	}
	r := &rowReader{sn: sn, x: x}
	at := end
	if !from.queue {
		at = x.after(from.n)
	}
	prev := after
	for at < end {
		n, err := r.read(ctx, x.records[at:min(end, at+s.cfg.Limits.Records)], s.cfg.Limits.Bytes)
		if err == nil {
			err = x.unmoved(sn)
		}
		if err != nil {
			return readingError(part.Unit, err)
		}
		at += n
		b := r.batch(part, prev, position{n: x.records[at-1].row}.cursor())
		if prev = b.Next; !yield(b, nil) {
			return nil
		}
	}
	if part.To != "" {
		return nil
	}
	i := 0
	if from.queue {
		i, _ = slices.BinarySearchFunc(x.pending, from.n+1, func(p pending, n int64) int { return int(min(1, max(-1, p.seq-n))) })
	}
	for i < len(x.pending) {
		n, err := r.readPending(ctx, x.pending[i:min(len(x.pending), i+s.cfg.Limits.Records)], s.cfg.Limits.Bytes)
		if err == nil {
			err = x.unmoved(sn)
		}
		if err != nil {
			return readingError(part.Unit, err)
		}
		i += n
		b := r.batch(part, prev, position{true, x.pending[i-1].seq}.cursor())
		if prev = b.Next; !yield(b, nil) {
			return nil
		}
	}
	return nil
}

// after gives the position of the first record after a row.
func (x *index) after(row int64) int {
	i, found := slices.BinarySearchFunc(x.records, row, func(r record, row int64) int {
		switch {
		case r.row < row:
			return -1
		case r.row > row:
			return 1
		}
		return 0
	})
	if found {
		i++
	}
	return i
}

// readPending reads records that only the queue has.
func (r *rowReader) readPending(ctx context.Context, list []pending, maxBytes int64) (int, error) {
	r.items, r.bytes = r.items[:0], 0
	n := 0
	for n < len(list) && r.bytes < maxBytes {
		p := list[n]
		n++
		b, exists, err := r.sn.replayBody(ctx, false, body{}, r.x.changes[p.id])
		if err != nil {
			return 0, err
		}
		if exists {
			if err := r.emit(p.id, b, p.at); err != nil {
				return 0, err
			}
		}
	}
	return n, r.vectors(ctx)
}

// batch hands over what was read last.
func (r *rowReader) batch(part pipeline.Part, prev, next pipeline.Cursor) pipeline.Batch[*pipeline.Vector] {
	b := pipeline.Batch[*pipeline.Vector]{
		Part: part, Prev: prev, Next: next, Read: len(r.items),
		Records: make([]*pipeline.Vector, 0, len(r.items)),
	}
	for _, it := range r.items {
		b.Bytes += int64(it.vector.Size())
		if it.reason == "" {
			b.Records = append(b.Records, it.vector)
			continue
		}
		b.Refused = append(b.Refused, pipeline.NewRefusal(part.Unit, it.vector, "", it.reason, it.detail))
	}
	clear(r.items)
	return b
}

// readingError names the collection; a change of the files stays retryable.
func readingError(unit pipeline.Unit, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, errMoved) {
		return err
	}
	return &pipeline.Error{Op: "reading collection", Unit: unit.Name, Err: err}
}
