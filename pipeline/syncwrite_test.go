package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"outgrow/pipeline"
	"outgrow/pipeline/digests"
	"outgrow/pipeline/pipetest"
)

// patching is a target that writes of a row only what it is told differs.
type patching struct {
	*pipetest.Memory[*pipeline.Row]
	mu             sync.Mutex
	values, whole  int // values written of rows, rows written whole
	wrong, missing []string
}

func (p *patching) Upsert(ctx context.Context, u pipeline.Unit, rows []*pipeline.Row, how pipeline.Upsert) (pipeline.Outcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range rows {
		at, ok := how.Differs[r.Key()]
		got, err := p.Get(ctx, u, []string{r.Key()})
		if err != nil {
			return pipeline.Outcome{}, err
		}
		old := got[r.Key()]
		if !ok {
			p.whole++
		} else if old == nil {
			p.missing = append(p.missing, r.Key())
		} else {
			p.values += len(at)
			patched := &pipeline.Row{Table: r.Table, Values: slices.Clone(old.Values)}
			for _, i := range at {
				if old.Values[i] == r.Values[i] {
					p.wrong = append(p.wrong, r.Key()+"."+r.Table.Columns[i])
				}
				patched.Values[i] = r.Values[i]
			}
			r = patched
		}
		if _, err := p.Memory.Upsert(ctx, u, []*pipeline.Row{r}, how); err != nil {
			return pipeline.Outcome{}, err
		}
	}
	return pipeline.Outcome{Written: len(rows)}, nil
}

// A target that writes of a row only the columns that it is told differ follows its
// source, and is told of no others; what it does not hold it gets whole.
func TestSyncTellsWhatDiffers(t *testing.T) {
	t.Parallel()
	ctx, rng := context.Background(), rand.New(rand.NewPCG(4, 2))
	table := &pipeline.Table{Name: "chat", Columns: []string{"id", "title", "chat", "updated_at"}, Key: []int{0}}
	unit := pipeline.Unit{Lane: pipeline.Rows, Name: "chat"}
	source := pipetest.NewMemory[*pipeline.Row](pipeline.Limits{Records: 40})
	target := &patching{Memory: pipetest.NewMemory[*pipeline.Row](pipeline.Limits{})}
	dir, state := t.TempDir(), &pipetest.MemoryState{}
	rows := map[string]*pipeline.Row{}
	put := func(id string, values ...any) {
		rows[id] = &pipeline.Row{Table: table, Values: append([]any{id}, values...)}
		if _, err := source.Upsert(ctx, unit, []*pipeline.Row{rows[id]}, pipeline.Upsert{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		put(fmt.Sprint(i), "title", "{}", int64(i))
	}
	changed := 0
	for pass := range 6 {
		target.values, target.whole = 0, 0
		d, err := digests.Open(ctx, dir, "run", "")
		if err != nil {
			t.Fatal(err)
		}
		j := state.Open()
		if _, err := j.Begin(ctx, pipeline.Run{ID: "run"}); err != nil {
			t.Fatal(err)
		}
		_, err = pipeline.Sync(ctx, pipeline.Delta[*pipeline.Row]{Source: source, Sink: target, Journal: j, Digests: d, Target: target, Exact: true,
			Conflict: func(c pipeline.Stray) { t.Errorf("%+v is taken for another's", c) },
			Equal: func(_ context.Context, _ pipeline.Unit, want, got *pipeline.Row) ([]pipeline.Field, error) {
				if slices.Equal(want.Values, got.Values) {
					return nil, nil
				}
				return []pipeline.Field{{Column: "title", Detail: "differs"}}, nil
			}})
		if _, cerr := d.Close(), j.Close(); err != nil || cerr != nil {
			t.Fatal(err, cerr)
		}
		got, err := target.Get(ctx, unit, slices.Collect(func(yield func(string) bool) {
			for id := range rows {
				if !yield(id) {
					return
				}
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		for id, want := range rows {
			if got[id] == nil || !slices.Equal(got[id].Values, want.Values) {
				t.Fatalf("pass %d: %s is %v, want %v", pass, id, got[id], want.Values)
			}
		}
		if whole := map[bool]int{true: 100, false: 1}[pass == 0]; target.whole != whole || target.values != changed || len(target.wrong)+len(target.missing) > 0 {
			t.Errorf("pass %d: %d rows written whole, want %d; %d values, want %d; wrong: %v, missing: %v", pass, target.whole, whole, target.values, changed, target.wrong, target.missing)
		}
		changed = 0
		for i := range 100 {
			id := fmt.Sprint(i)
			values := slices.Clone(rows[id].Values[1:])
			switch rng.IntN(5) {
			case 0:
				values[2] = values[2].(int64) + 1
				changed++
			case 1:
				values[0], values[1] = nil, fmt.Sprintf("{%d}", pass)
				changed++
				if rows[id].Values[1] != nil {
					changed++
				}
			case 2:
				if values[0] == nil {
					values[0] = "title again"
					changed++
				}
			}
			put(id, values...)
		}
		put(fmt.Sprintf("new-%d", pass), "title", nil, int64(1))
	}
}

// slow is a target that takes its time over parents.
type slow struct {
	*relational
	parents, early atomic.Int64 // that were written; children that came before all of them
	all            int64
}

func (s *slow) Upsert(ctx context.Context, u pipeline.Unit, records []*vec, how pipeline.Upsert) (pipeline.Outcome, error) {
	out, err := s.relational.Upsert(ctx, u, records, how)
	if u.Name == parents.Name {
		s.parents.Add(int64(out.Written))
	} else if s.parents.Load() < s.all {
		s.early.Add(int64(len(records)))
	}
	return out, err
}

// Nothing is written of a unit before all is that it refers to, though it may be read.
func TestSyncWritesInLevels(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 4} {
		w := newWorld(t, 5)
		if err := w.source.Drop(t.Context(), parents); err != nil {
			t.Fatal(err)
		}
		if err := w.source.Drop(t.Context(), children); err != nil {
			t.Fatal(err)
		}
		const all = 600
		for i := range all {
			w.set(children, w.record(fmt.Sprintf("child-%d", i), fmt.Sprintf("parent-%d", i*7%all)))
			w.set(parents, w.record(fmt.Sprintf("parent-%d", i), fmt.Sprint(i)))
		}
		sink := &slow{relational: w.target, all: all}
		units, err := w.sync(sink, func(d *pipeline.Delta[*vec]) { d.Workers, d.PartBytes = workers, 2<<10 })
		if err != nil {
			t.Fatal(err)
		}
		var sum pipeline.UnitSync
		for _, u := range units {
			sum.Add(u)
		}
		if sum.New != 2*all || sum.Refused > 0 || sink.early.Load() > 0 {
			t.Errorf("%d workers: %+v; %d children were written early", workers, sum, sink.early.Load())
		}
	}
}

// narrow is a target that cannot take children.
type narrow struct{ *relational }

var errNarrow = errors.New("no room for children")

func (n *narrow) Prepare(ctx context.Context, u pipeline.Unit) error {
	if u.Name == children.Name {
		return errNarrow
	}
	return n.relational.Prepare(ctx, u)
}

// What the target cannot take is told before anything is written.
func TestSyncPreparesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	if _, err := w.sync(&narrow{w.target}, nil); !errors.Is(err, errNarrow) {
		t.Fatal(err)
	}
	if w.target.acts > 0 {
		t.Errorf("the target was written to %d times", w.target.acts)
	}
}
