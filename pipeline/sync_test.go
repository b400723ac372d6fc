package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"testing"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

// A target follows its source, pass by pass, whatever fails or dies in between,
// and with the digests lost.
func TestSyncFollows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			// Nobody else writes: nothing is ever taken for another's.
			exact := func(d *pipeline.Delta[*vec]) {
				d.Exact = seed%2 == 0
				d.Pure = func(pipeline.Unit) bool { return seed%3 > 0 }
				d.Conflict = func(c pipeline.Stray) { t.Errorf("%+v is taken for another's", c) }
			}
			for pass := range 8 {
				sink := &faulty{relational: w.target, rng: w.rng, errors: 0.1}
				if w.rng.IntN(2) == 0 {
					w.target.acts, sink.dieAt = 0, 1+w.rng.IntN(12)
					if _, err := w.sync(sink, exact); err != nil && !errors.Is(err, errDied) {
						t.Fatalf("pass %d: %v", pass, err)
					}
					w.live(w.rng.IntN(3))
					sink.dieAt = 0
				}
				if w.rng.IntN(4) == 0 {
					w.dir = filepath.Join(w.dir, "other")
				}
				if _, err := w.sync(sink, exact); err != nil {
					t.Fatalf("pass %d: %v", pass, err)
				}
				if w.follows(); t.Failed() {
					t.Fatalf("pass %d", pass)
				}
				w.live(w.rng.IntN(25))
			}
		})
	}
}

// Nothing is written, and nothing of the target is read, when nothing changed.
func TestSyncOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	for range 2 {
		if _, err := w.sync(w.target, nil); err != nil {
			t.Fatal(err)
		}
	}
	refused := int64(0)
	for u := range w.state.Open().Refusals(context.Background(), "") {
		if u.Reason == pipeline.Orphan || u.Reason == pipeline.Duplicate || u.Reason == pipeline.Invalid {
			refused++
		}
	}
	before, err := w.target.Identity(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	units, err := w.sync(w.target, func(d *pipeline.Delta[*vec]) { d.Target = nil })
	if err != nil {
		t.Fatal(err)
	}
	var sum pipeline.UnitSync
	for _, u := range units {
		sum.Add(u)
	}
	if sum.New+sum.Changed+sum.Deleted+sum.Refused != 0 || sum.Read != 40 || sum.Same != 40 {
		t.Errorf("a pass over nothing new counts %+v", sum)
	}
	if after, err := w.target.Identity(context.Background()); err != nil || after != before {
		t.Errorf("the target was written to (%v)", err)
	}
	if refused == 0 {
		t.Error("nothing was refused: the test shows too little")
	}
}

// A source that has suddenly lost much is not followed unless that is said.
func TestSyncRefusesToDeleteMuch(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, 2)
	w.grow(200)
	if _, err := w.sync(w.target, nil); err != nil {
		t.Fatal(err)
	}
	keys := w.keys(parents)
	if err := w.source.Delete(ctx, parents, keys[:len(keys)/2]); err != nil {
		t.Fatal(err)
	}
	before := len(w.target.all(parents))
	_, err := w.sync(w.target, func(d *pipeline.Delta[*vec]) { d.MayDelete = false })
	if !errors.Is(err, pipeline.ErrMany) || pipeline.ExitCode(err) != pipeline.ExitUsage || pipeline.HintOf(err) == "" {
		t.Errorf("losing half: %v", err)
	}
	if after := len(w.target.all(parents)); after != before {
		t.Errorf("%d records were removed", before-after)
	}
	w.source = pipetest.NewMemory[*vec](pipeline.Limits{})
	if _, err := w.sync(w.target, nil); err == nil || pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("an empty source: %v", err)
	}
	if after := len(w.target.all(parents)); after != before {
		t.Errorf("%d records were removed", before-after)
	}
}

// undroppable is a target in which collections share a place.
type undroppable struct{ *relational }

func (undroppable) Drop(context.Context, pipeline.Unit) error { return errors.ErrUnsupported }

// Of a collection that is gone all is removed, without asking, and counted: also
// where nothing was remembered of it, as after a migration of a stopped source.
func TestSyncCountsWhatIsDropped(t *testing.T) {
	t.Parallel()
	const n = 60
	more := pipeline.Unit{Lane: pipeline.Vectors, Name: "more"}
	for _, known := range []bool{true, false} {
		for name, sink := range map[string]func(*world) pipeline.Sink[*vec]{
			"dropped":          func(w *world) pipeline.Sink[*vec] { return w.target },
			"record by record": func(w *world) pipeline.Sink[*vec] { return undroppable{w.target} },
		} {
			w := newWorld(t, 4)
			for i := range n {
				w.set(more, w.record(fmt.Sprintf("m%d", i), "more"))
			}
			if _, err := w.sync(sink(w), nil); err != nil {
				t.Fatal(err)
			}
			if !known {
				w.dir = t.TempDir()
			}
			if err := w.source.Drop(context.Background(), more); err != nil {
				t.Fatal(err)
			}
			units, err := w.sync(sink(w), func(d *pipeline.Delta[*vec]) { d.MayDelete = false })
			if err != nil {
				t.Errorf("%s, known %v: %v", name, known, err)
			}
			gone := int64(0)
			for _, u := range units {
				gone += u.Deleted
			}
			if left := len(w.target.all(more)); left != 0 || gone != n {
				t.Errorf("%s, known %v: %d of %d records are left, %d were counted", name, known, left, n, gone)
			}
		}
	}
}

// A record that was repaired and put in by hand stays as long as its source does
// not change.
func TestSyncKeepsReplayed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, known := range []bool{true, false} {
		w := newWorld(t, 3)
		w.set(parents, w.record("broken", "bad"))
		if _, err := w.sync(w.target, nil); err != nil {
			t.Fatal(err)
		}
		j := w.state.Open()
		if _, err := w.target.Memory.Upsert(ctx, parents, []*vec{w.record("broken", "mended")}, pipeline.Upsert{}); err != nil {
			t.Fatal(err)
		}
		if _, err := pipeline.Settle(ctx, j, parents, []string{"broken"}, pipeline.Outcome{}); err != nil {
			t.Fatal(err)
		}
		if !known {
			w.dir = t.TempDir()
		}
		for range 2 {
			if _, err := w.sync(w.target, nil); err != nil {
				t.Fatal(err)
			}
			if got := w.target.all(parents)["broken"]; got == nil || *got.Text != "mended" {
				t.Errorf("known %v: the repaired record is gone or overwritten: %v", known, got)
			}
		}
		w.set(parents, w.record("broken", "whole again"))
		if _, err := w.sync(w.target, nil); err != nil {
			t.Fatal(err)
		}
		if got := w.target.all(parents)["broken"]; got == nil || *got.Text != "whole again" {
			t.Errorf("known %v: the source's change did not arrive: %v", known, got)
		}
	}
}

// Records that exchange unique values do so in one pass, and what refers to them
// is as before.
func TestSyncSwaps(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][]string{"two": {"p2", "p1"}, "three": {"p2", "p3", "p1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 5)
			n := len(order)
			for i := range n {
				w.set(parents, w.record(fmt.Sprintf("p%d", i+1), fmt.Sprintf("text %d", i+1)))
				w.set(children, w.record(fmt.Sprintf("c%d", i+1), fmt.Sprintf("p%d", i+1)))
			}
			exact := func(d *pipeline.Delta[*vec]) { d.Exact = true }
			if _, err := w.sync(w.target, exact); err != nil {
				t.Fatal(err)
			}
			for i, id := range order {
				w.set(parents, w.record(id, fmt.Sprintf("text %d", i+1)))
			}
			units, err := w.sync(w.target, exact)
			if err != nil {
				t.Fatal(err)
			}
			w.follows()
			var sum pipeline.UnitSync
			for _, u := range units {
				sum.Add(u)
			}
			if sum.Changed != int64(n) || sum.New+sum.Deleted+sum.Refused+sum.Conflicts != 0 {
				t.Errorf("counted: %+v", sum)
			}
			if units, err = w.sync(w.target, exact); err != nil {
				t.Fatal(err)
			}
			for _, u := range units {
				if u.New+u.Changed+u.Deleted+u.Refused+u.Conflicts != 0 {
					t.Errorf("another pass does something: %+v", u)
				}
			}
		})
	}
}

// hiding is a source that does not give one record, and holds it.
type hiding struct {
	*pipetest.Memory[*vec]
	key string
}

func (h *hiding) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*vec], error] {
	return func(yield func(pipeline.Batch[*vec], error) bool) {
		for b, err := range h.Memory.Read(ctx, part, after) {
			b.Records = slices.DeleteFunc(slices.Clone(b.Records), func(v *vec) bool { return v.ID == h.key })
			if b.Read = len(b.Records); !yield(b, err) {
				return
			}
		}
	}
}

func (h *hiding) Held(ctx context.Context, u pipeline.Unit, keys []string) (held []string, err error) {
	got, err := h.Get(ctx, u, keys)
	for k := range got {
		held = append(held, k)
	}
	return held, err
}

// What the source holds is not removed, even where it was not given; what it has no
// more is.
func TestSyncRemovesNothingHeld(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, 3)
	if _, err := w.sync(w.target, nil); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for key := range w.target.all(parents) {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	src := &hiding{w.source, keys[0]}
	from := func(d *pipeline.Delta[*vec]) { d.Source = src }
	_, err := w.sync(w.target, from)
	var e *pipeline.Error
	if !errors.Is(err, pipeline.ErrHeld) || !errors.As(err, &e) || e.Key != keys[0] || e.Unit != parents.ID() || e.Hint == "" || pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("a record that the source holds and did not give: %v", err)
	}
	if w.follows(); t.Failed() {
		t.FailNow()
	}
	src.key = ""
	if err := w.source.Delete(ctx, parents, keys[:1]); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sync(w.target, from); err != nil {
		t.Fatal(err)
	}
	if w.target.all(parents)[keys[0]] != nil {
		t.Error("what the source has no more is on the target")
	}
	w.follows()
}
