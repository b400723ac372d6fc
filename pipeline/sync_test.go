package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"outgrow/pipeline"
	"outgrow/pipeline/digests"
	"outgrow/pipeline/pipetest"
)

type vec = pipeline.Vector

var (
	parents  = pipeline.Unit{Lane: pipeline.Vectors, Name: "parents"}
	children = pipeline.Unit{Lane: pipeline.Vectors, Name: "children"}
)

// relational is a target in which a child's text names its parent, and the
// parents' texts are unique, as rows under foreign keys and unique indexes.
type relational struct {
	*pipetest.Memory[*vec]
	mu   sync.Mutex // one transaction at a time
	acts int        // calls that changed it
}

func (r *relational) all(u pipeline.Unit) map[string]*vec {
	var keys []string
	for k := range r.Memory.Keys(context.Background(), u) {
		keys = append(keys, k)
	}
	got, _ := r.Memory.Get(context.Background(), u, keys)
	return got
}

func (r *relational) Levels(_ context.Context, units []pipeline.Unit) ([][]pipeline.Unit, error) {
	var first, second []pipeline.Unit
	for _, u := range units {
		if u.Name == children.Name {
			second = append(second, u)
		} else {
			first = append(first, u)
		}
	}
	return [][]pipeline.Unit{first, second}, nil
}

func (r *relational) refuse(u pipeline.Unit, v *vec) *pipeline.Refusal {
	no := func(reason pipeline.Reason) *pipeline.Refusal {
		l := pipeline.NewRefusal(u, v, "text", reason, "no")
		return &l
	}
	if strings.HasPrefix(*v.Text, "bad") {
		return no(pipeline.Invalid)
	}
	switch u.Name {
	case children.Name:
		if r.all(parents)[*v.Text] == nil {
			return no(pipeline.Orphan)
		}
	case parents.Name:
		for id, o := range r.all(parents) {
			if id != v.ID && *o.Text == *v.Text {
				return no(pipeline.Duplicate)
			}
		}
	}
	return nil
}

func (r *relational) Upsert(ctx context.Context, u pipeline.Unit, records []*vec, how pipeline.Upsert) (pipeline.Outcome, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.upsert(ctx, u, records, how)
}

func (r *relational) upsert(ctx context.Context, u pipeline.Unit, records []*vec, how pipeline.Upsert) (pipeline.Outcome, error) {
	var out pipeline.Outcome
	r.acts++
	for _, v := range records {
		if no := r.refuse(u, v); no != nil {
			out.Refused = append(out.Refused, *no)
			continue
		}
		if _, err := r.Memory.Upsert(ctx, u, []*vec{v}, how); err != nil {
			return out, err
		}
		out.Written++
	}
	return out, nil
}

func (r *relational) Remove(ctx context.Context, u pipeline.Unit, keys []string) (pipeline.Outcome, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.remove(ctx, u, keys)
}

func (r *relational) remove(ctx context.Context, u pipeline.Unit, keys []string) (pipeline.Outcome, error) {
	var out pipeline.Outcome
	r.acts++
	if u.Name == parents.Name {
		for id, c := range r.all(children) {
			if slices.Contains(keys, *c.Text) {
				out.Refused = append(out.Refused, pipeline.NewRefusal(children, c, "text", pipeline.Orphan, "its parent left"))
				if err := r.Memory.Delete(ctx, children, []string{id}); err != nil {
					return out, err
				}
			}
		}
	}
	return out, r.Memory.Delete(ctx, u, keys)
}

// faulty makes acts fail before or after they took effect, or for good.
type faulty struct {
	*relational
	rng    *rand.Rand
	dieAt  int
	errors float64
}

var errDied = errors.New("died")

func (f *faulty) around(act func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dieAt > 0 && f.acts >= f.dieAt {
		return errDied
	}
	if f.rng.Float64() < f.errors {
		return pipeline.Transient(errors.New("before"))
	}
	if err := act(); err != nil {
		return err
	}
	if f.rng.Float64() < f.errors {
		return pipeline.Transient(errors.New("after"))
	}
	return nil
}

func (f *faulty) Upsert(ctx context.Context, u pipeline.Unit, records []*vec, how pipeline.Upsert) (out pipeline.Outcome, err error) {
	err = f.around(func() (err error) { out, err = f.upsert(ctx, u, records, how); return err })
	return out, err
}

// Remove that is repeated cannot tell again what it took along, so its answer is
// not lost here: a backend does both in one transaction.
func (f *faulty) Remove(ctx context.Context, u pipeline.Unit, keys []string) (out pipeline.Outcome, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dieAt > 0 && f.acts >= f.dieAt {
		return out, errDied
	}
	return f.remove(ctx, u, keys)
}

// world is a source that changes, and a target that follows it.
type world struct {
	tb     testing.TB
	source *pipetest.Memory[*vec]
	target *relational
	state  *pipetest.MemoryState
	dir    string
	rng    *rand.Rand
	n      int
	extra  int // collections made so far
}

func newWorld(tb testing.TB, seed uint64) *world {
	w := &world{tb: tb, source: pipetest.NewMemory[*vec](pipeline.Limits{Records: 7}), target: &relational{Memory: pipetest.NewMemory[*vec](pipeline.Limits{})},
		state: &pipetest.MemoryState{}, dir: tb.TempDir(), rng: rand.New(rand.NewPCG(seed, 9))}
	w.set(parents)
	w.set(children)
	w.grow(40)
	return w
}

func (w *world) set(u pipeline.Unit, records ...*vec) {
	w.tb.Helper()
	if err := w.source.Prepare(context.Background(), u); err != nil {
		w.tb.Fatal(err)
	}
	if _, err := w.source.Upsert(context.Background(), u, records, pipeline.Upsert{}); err != nil {
		w.tb.Fatal(err)
	}
}

func (w *world) keys(u pipeline.Unit) (keys []string) {
	for k := range w.source.Keys(context.Background(), u) {
		keys = append(keys, k)
	}
	return keys
}

func (w *world) record(id, text string) *vec {
	return &vec{ID: id, Text: &text, Embedding: []float32{w.rng.Float32()}}
}

// grow adds records, some of which are refused.
func (w *world) grow(n int) {
	w.tb.Helper()
	for range n {
		w.n++
		id := fmt.Sprintf("id-%04d", w.n)
		if w.rng.IntN(2) == 0 {
			text := "text " + id
			if w.rng.IntN(10) == 0 {
				text = "bad " + id
			}
			w.set(parents, w.record(id, text))
			continue
		}
		parent := "nobody"
		if keys := w.keys(parents); len(keys) > 0 && w.rng.IntN(10) > 0 {
			parent = keys[w.rng.IntN(len(keys))]
		}
		w.set(children, w.record(id, parent))
	}
}

// live does what users do: they add, change, move unique texts on, delete.
func (w *world) live(n int) {
	w.tb.Helper()
	ctx := context.Background()
	for range n {
		u := []pipeline.Unit{parents, children}[w.rng.IntN(2)]
		keys := w.keys(u)
		if len(keys) == 0 {
			w.grow(3)
			continue
		}
		key := keys[w.rng.IntN(len(keys))]
		got, err := w.source.Get(ctx, u, []string{key})
		if err != nil {
			w.tb.Fatal(err)
		}
		switch w.rng.IntN(5) {
		case 0:
			w.grow(1)
		case 1:
			if err := w.source.Delete(ctx, u, []string{key}); err != nil {
				w.tb.Fatal(err)
			}
		case 2: // a unique text goes to a new record, its holder gets another one
			if u.Name == parents.Name {
				w.n++
				text := *got[key].Text
				w.set(u, w.record(key, fmt.Sprintf("text %d", w.n)), w.record(fmt.Sprintf("aa-%04d", w.n), text))
			}
		default:
			w.set(u, w.record(key, *got[key].Text)) // another embedding
		}
	}
	if w.rng.IntN(3) == 0 {
		w.extra++
		u := pipeline.Unit{Lane: pipeline.Vectors, Name: fmt.Sprintf("more-%d", w.extra)}
		w.set(u, w.record("x", "x"), w.record("y", "y"))
	} else if w.extra > 0 && w.rng.IntN(3) == 0 {
		if err := w.source.Drop(ctx, pipeline.Unit{Lane: pipeline.Vectors, Name: fmt.Sprintf("more-%d", w.rng.IntN(w.extra)+1)}); err != nil {
			w.tb.Fatal(err)
		}
	}
}

// begin opens what a pass keeps, as another process would; done closes it.
func (w *world) begin(ctx context.Context) (d *digests.Store, j *pipetest.MemoryJournal, done func()) {
	w.tb.Helper()
	d, err := digests.Open(ctx, w.dir, "run")
	if err != nil {
		w.tb.Fatal(err)
	}
	j = w.state.Open()
	done = func() { _, _ = d.Close(), j.Close() }
	if _, err := j.Begin(ctx, pipeline.Run{ID: "run"}); err != nil {
		done()
		w.tb.Fatal(err)
	}
	return d, j, done
}

// sync makes one pass with a sink.
func (w *world) sync(sink pipeline.Sink[*vec], change func(*pipeline.Delta[*vec])) ([]pipeline.UnitSync, error) {
	w.tb.Helper()
	ctx := context.Background()
	d, j, done := w.begin(ctx)
	defer done()
	delta := pipeline.Delta[*vec]{Source: w.source, Sink: sink, Journal: j, Digests: d, Target: w.target, Equal: equalVec, MayDelete: true,
		Backoff: pipeline.Backoff{Attempts: 30, Base: 1, Max: 1}}
	if change != nil {
		change(&delta)
	}
	return pipeline.Sync(ctx, delta)
}

func equalVec(_ context.Context, _ pipeline.Unit, want, got *vec) ([]pipeline.Field, error) {
	if *want.Text == *got.Text && slices.Equal(want.Embedding, got.Embedding) {
		return nil, nil
	}
	return []pipeline.Field{{Column: "text", Detail: "differs"}}, nil
}

// follows fails unless every record of the source is on the target as it is or
// in the quarantine for a reason that holds, and nothing else is in either.
func (w *world) follows() {
	w.tb.Helper()
	ctx := context.Background()
	j := w.state.Open()
	units, err := w.source.Units(ctx)
	if err != nil {
		w.tb.Fatal(err)
	}
	names := map[string]bool{}
	for _, u := range units {
		names[u.ID()] = true
		there := w.target.all(u)
		keys := w.keys(u)
		got, err := w.source.Get(ctx, u, keys)
		if err != nil {
			w.tb.Fatal(err)
		}
		for _, k := range keys {
			lines, err := j.Refused(ctx, u.ID(), k)
			if err != nil {
				w.tb.Fatal(err)
			}
			switch t := there[k]; {
			case t != nil && len(lines) > 0:
				w.tb.Errorf("%s %s is on the target and in the quarantine", u.ID(), k)
			case t != nil:
				if fields, _ := equalVec(ctx, u, got[k], t); len(fields) > 0 {
					w.tb.Errorf("%s %s differs", u.ID(), k)
				}
			case len(lines) == 0:
				w.tb.Errorf("%s %s is lost", u.ID(), k)
			case w.target.refuse(u, got[k]) == nil:
				w.tb.Errorf("%s %s is in the quarantine without a reason: %v", u.ID(), k, lines)
			}
			delete(there, k)
		}
		for k := range there {
			w.tb.Errorf("%s %s is on the target alone", u.ID(), k)
		}
		for l := range j.Refusals(ctx, u.ID()) {
			if got[l.Key] == nil {
				w.tb.Errorf("%s %s is in the quarantine alone", u.ID(), l.Key)
			}
		}
	}
	there, err := w.target.Units(ctx)
	if err != nil {
		w.tb.Fatal(err)
	}
	for _, u := range there {
		if !names[u.ID()] {
			w.tb.Errorf("%s is on the target alone", u.ID())
		}
	}
}

// A target follows its source, pass by pass, whatever fails or dies in between,
// and with the digests lost.
func TestSyncFollows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			for pass := range 8 {
				sink := &faulty{relational: w.target, rng: w.rng, errors: 0.1}
				if w.rng.IntN(2) == 0 {
					w.target.acts, sink.dieAt = 0, 1+w.rng.IntN(12)
					if _, err := w.sync(sink, nil); err != nil && !errors.Is(err, errDied) {
						t.Fatalf("pass %d: %v", pass, err)
					}
					w.live(w.rng.IntN(3))
					sink.dieAt = 0
				}
				if w.rng.IntN(4) == 0 {
					w.dir = filepath.Join(w.dir, "other")
				}
				if _, err := w.sync(sink, nil); err != nil {
					t.Fatalf("pass %d: %v", pass, err)
				}
				// Unique values that were swapped need another pass.
				if _, err := w.sync(sink, nil); err != nil {
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
