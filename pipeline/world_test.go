package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

func (r *relational) Remove(ctx context.Context, u pipeline.Unit, keys []string, before func(pipeline.Outcome) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.remove(ctx, u, keys, before)
}

func (r *relational) remove(ctx context.Context, u pipeline.Unit, keys []string, before func(pipeline.Outcome) error) error {
	var out pipeline.Outcome
	var gone []string
	if u.Name == parents.Name {
		for id, c := range r.all(children) {
			if slices.Contains(keys, *c.Text) {
				out.Refused = append(out.Refused, pipeline.NewRefusal(children, c, "text", pipeline.Orphan, "its parent left"))
				gone = append(gone, id)
			}
		}
	}
	if len(gone) > 0 {
		if err := before(out); err != nil {
			return err
		}
	}
	r.acts++
	return errors.Join(r.Memory.Delete(ctx, children, gone), r.Memory.Delete(ctx, u, keys))
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

// Remove may also fail when it has told what goes, and nothing has gone yet.
func (f *faulty) Remove(ctx context.Context, u pipeline.Unit, keys []string, before func(pipeline.Outcome) error) error {
	return f.around(func() error {
		return f.remove(ctx, u, keys, func(out pipeline.Outcome) error {
			err := before(out)
			if n := f.rng.Float64(); err == nil && n < f.errors {
				err = pipeline.Transient(errors.New("before the end"))
			} else if err == nil && n < 2*f.errors && f.dieAt > 0 {
				f.dieAt, err = 1, errDied
				f.acts++
			}
			return err
		})
	})
}

// world is a source that changes, and a target that follows it.
type world struct {
	tb     testing.TB
	source *pipetest.Memory[*vec]
	target *relational
	state  *pipetest.MemoryState
	dir    string
	rules  string
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
		switch w.rng.IntN(6) {
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
		case 3: // two records exchange their unique texts
			if other := keys[w.rng.IntN(len(keys))]; u.Name == parents.Name {
				w.swap(key, other)
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
	d, err := digests.Open(ctx, w.dir, "run", w.rules)
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

// swap lets two parents exchange their texts.
func (w *world) swap(a, b string) {
	w.tb.Helper()
	got, err := w.source.Get(context.Background(), parents, []string{a, b})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.set(parents, w.record(a, *got[b].Text), w.record(b, *got[a].Text))
}
