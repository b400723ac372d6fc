package pipeline_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"unsafe"
	"weak"

	"outgrow/pipeline"
)

// blocks is a source that puts the texts of a batch into one block, and knows
// which blocks are still in memory.
type blocks struct {
	n       int // batches
	each    int // records a batch
	size    int // of a record's text
	version int // of the first record of each batch; the others never change

	mu   sync.Mutex
	made []weak.Pointer[byte]
}

var blocksUnit = pipeline.Unit{Lane: pipeline.Vectors, Name: "blocks"}

func (b *blocks) Units(context.Context) ([]pipeline.Unit, error) {
	return []pipeline.Unit{blocksUnit}, nil
}

func (b *blocks) Close() error { return nil }

func (b *blocks) Read(_ context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*vec], error] {
	return func(yield func(pipeline.Batch[*vec], error) bool) {
		from, _ := strconv.Atoi(string(after))
		for i := from; i < b.n; i++ {
			if !yield(b.batch(part, i), nil) {
				return
			}
		}
	}
}

func (b *blocks) batch(part pipeline.Part, i int) pipeline.Batch[*vec] {
	block := make([]byte, b.each*b.size)
	b.mu.Lock()
	b.made = append(b.made, weak.Make(&block[0]))
	b.mu.Unlock()
	out := pipeline.Batch[*vec]{Part: part, Prev: pipeline.Cursor(strconv.Itoa(i)), Next: pipeline.Cursor(strconv.Itoa(i + 1))}
	for k := range b.each {
		piece := block[k*b.size : (k+1)*b.size]
		n := copy(piece, fmt.Sprintf("key %06d %d ", i, k))
		if k == 0 {
			copy(piece[n:], strconv.Itoa(b.version))
		}
		text := unsafe.String(&piece[0], len(piece))
		out.Records = append(out.Records, &vec{ID: text[:n], Text: &text})
		out.Bytes += int64(b.size)
	}
	out.Read = b.each
	return out
}

// alive counts the blocks in memory.
func (b *blocks) alive() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	runtime.GC()
	for _, p := range b.made {
		if p.Value() != nil {
			n++
		}
	}
	return n
}

// weighing is a target that weighs what it is given at once.
type weighing struct {
	*relational
	largest, most, calls int
	alive                func() int
}

func (w *weighing) Upsert(ctx context.Context, u pipeline.Unit, records []*vec, how pipeline.Upsert) (pipeline.Outcome, error) {
	w.mu.Lock()
	size := 0
	for _, r := range records {
		size += r.Size()
	}
	w.largest, w.calls = max(w.largest, size), w.calls+1
	if w.alive != nil {
		w.most = max(w.most, w.alive())
	}
	w.mu.Unlock()
	return w.relational.Upsert(ctx, u, records, how)
}

// A pass holds no more than it has to write, and that is bounded by bytes: of a
// batch of which little has changed nothing else stays in memory.
func TestSyncMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	src := &blocks{n: 200, each: 8, size: pipeline.TogetherBytes >> 8}
	sink := &weighing{relational: w.target}
	from := func(d *pipeline.Delta[*vec]) { d.Source, d.Exact = src, true }
	if _, err := w.sync(sink, from); err != nil {
		t.Fatal(err)
	}
	record := src.size + 128
	if sink.largest > pipeline.TogetherBytes+src.each*record || sink.calls < 2 {
		t.Errorf("%d bytes were written at once, in %d calls", sink.largest, sink.calls)
	}
	sink.largest, sink.calls, sink.alive = 0, 0, src.alive
	src.version++
	units, err := w.sync(sink, from)
	if err != nil || len(units) == 0 || units[0].Changed != int64(src.n) {
		t.Fatalf("%+v, %v", units, err)
	}
	if sink.calls != 1 || sink.largest > src.n*record {
		t.Errorf("%d bytes were written at once, in %d calls", sink.largest, sink.calls)
	}
	if sink.most > 4 {
		t.Errorf("%d of %d batches are in memory while what has changed of them is written", sink.most, src.n)
	}
}
