package pipeline_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

// Of the same record the origin is the same, and of any other another one: its
// values count, their kinds, the columns' names and which are the key.
func TestOrigins(t *testing.T) {
	t.Parallel()
	head := func(key []int, columns ...string) *pipeline.Table {
		return &pipeline.Table{Name: "t", Columns: columns, Key: key}
	}
	ab, long := head([]int{0}, "a", "b"), strings.Repeat("x", 700)
	text := "text"
	all := []pipeline.Record{
		&pipeline.Row{Table: ab, Values: []any{"1", nil}}, &pipeline.Row{Table: ab, Values: []any{"1", ""}}, &pipeline.Row{Table: ab, Values: []any{int64(1), nil}},
		&pipeline.Row{Table: ab, Values: []any{1.0, nil}}, &pipeline.Row{Table: ab, Values: []any{true, nil}}, &pipeline.Row{Table: ab, Values: []any{[]byte("1"), nil}},
		&pipeline.Row{Table: ab, Values: []any{nil, "1"}}, &pipeline.Row{Table: ab, Values: []any{"1", int64(0)}}, &pipeline.Row{Table: ab, Values: []any{"1", false}},
		&pipeline.Row{Table: ab, Values: []any{"1", 0.0}}, &pipeline.Row{Table: ab, Values: []any{"1", []byte{}}},
		&pipeline.Row{Table: ab, Values: []any{long, "y"}}, &pipeline.Row{Table: ab, Values: []any{long + "y", ""}}, &pipeline.Row{Table: ab, Values: []any{long[1:], "xy"}},
		&pipeline.Row{Table: head([]int{0}, "a", "c"), Values: []any{"1", nil}}, &pipeline.Row{Table: head([]int{1}, "a", "b"), Values: []any{"1", nil}},
		&pipeline.Row{Table: head([]int{0, 1}, "a", "b"), Values: []any{"1", nil}}, &pipeline.Row{Table: head([]int{1, 0}, "a", "b"), Values: []any{"1", nil}},
		&pipeline.Row{Table: head([]int{0}, "ab"), Values: []any{"1"}},
		&vec{ID: "1"}, &vec{ID: "1", Text: &text}, &vec{ID: "1", Text: new("")}, &vec{ID: "1", Metadata: []byte("text")}, &vec{ID: "1", Embedding: []float32{0}},
		&vec{ID: "1", Embedding: []float32{0, 0}},
	}
	seen := map[pipeline.Sum]int{}
	o := pipeline.NewOrigins(1)
	for i, r := range all {
		sum := o.Of(r)
		if k, ok := seen[sum]; ok || sum == (pipeline.Sum{}) {
			t.Errorf("%d has the origin of %d", i, k)
		}
		seen[sum] = i
		if again := pipeline.NewOrigins(1).Of(r); again != sum {
			t.Errorf("%d has two origins", i)
		}
		if other := pipeline.NewOrigins(2).Of(r); other == sum {
			t.Errorf("%d has one origin under two seeds", i)
		}
	}
	if sum := o.Of(&pipeline.Object{Name: "x"}); sum != (pipeline.Sum{}) {
		t.Errorf("an object has the origin %x", sum)
	}
}

// What is as it was is not made again, whatever becomes of its key; what has
// changed, is new or gone is followed; other rules make all again.
func TestSyncSifts(t *testing.T) {
	t.Parallel()
	const n, batch = 210, 7
	for _, known := range []string{"by a pass", "by the copy"} {
		t.Run(known, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			w := newWorld(t, 1)
			w.source = pipetest.NewMemory[*vec](pipeline.Limits{Records: batch})
			u := pipeline.Unit{Lane: pipeline.Vectors, Name: "sifted"}
			w.rules = "1"
			var made atomic.Int64
			transforms := []pipeline.Transform[*vec]{func(u pipeline.Unit, v *vec) (*vec, []pipeline.Change, []pipeline.Refusal) {
				made.Add(1)
				if strings.HasPrefix(*v.Text, "none") {
					return nil, nil, []pipeline.Refusal{pipeline.NewRefusal(u, v, "text", pipeline.Invalid, "no")}
				}
				id := strings.TrimSuffix(v.ID, "!")
				return &vec{ID: id, Text: new(*v.Text + " " + w.rules), Embedding: v.Embedding}, []pipeline.Change{{Unit: u.ID(), Key: id, Column: "text", Reason: "rules"}}, nil
			}}
			pure := func(pipeline.Unit) bool { return true }
			how := func(d *pipeline.Delta[*vec]) { d.Pure, d.Transforms, d.Exact = pure, transforms, true }
			for i := range n {
				id := fmt.Sprintf("id %03d", i)
				if i%10 == 9 {
					id += "!"
				}
				w.set(u, w.record(id, fmt.Sprintf("text %d", i)))
			}
			w.set(u, w.record("id 001", "none"))
			pass := func(most int64, new, changed, deleted int64) {
				t.Helper()
				made.Store(0)
				units, err := w.sync(w.target, how)
				if err != nil {
					t.Fatal(err)
				}
				var sum pipeline.UnitSync
				for _, s := range units {
					sum.Add(s)
				}
				read := int64(len(w.keys(u)))
				if sum.New != new || sum.Changed != changed || sum.Deleted != deleted || sum.Conflicts != 0 || sum.Read != read || sum.Same != read-new-changed-sum.Refused {
					t.Errorf("counted: %+v", sum)
				}
				if made.Load() > most {
					t.Errorf("%d of %d records were made again, at most %d need to be", made.Load(), read, most)
				}
				want := map[string]string{}
				got, err := w.source.Get(ctx, u, w.keys(u))
				if err != nil {
					t.Fatal(err)
				}
				for id, v := range got {
					if !strings.HasPrefix(*v.Text, "none") {
						want[strings.TrimSuffix(id, "!")] = *v.Text + " " + w.rules
					}
				}
				there := w.target.all(u)
				for id, text := range want {
					if there[id] == nil || *there[id].Text != text {
						t.Errorf("%s is not on the target as it should be", id)
					}
				}
				if len(there) != len(want) {
					t.Errorf("the target holds %d records, not %d", len(there), len(want))
				}
			}
			if known == "by the copy" {
				d, j, done := w.begin(ctx)
				err := pipeline.Copy(ctx, pipeline.Job[*vec]{Source: w.source, Sink: w.target, Journal: j, Transforms: transforms, Digests: d, Pure: pure})
				done()
				if err != nil {
					t.Fatal(err)
				}
			} else {
				pass(n, n-1, 0, 0)
			}
			// All that has another key than before, or was refused, is made again, and
			// the first batches.
			const least = n/10 + 1 + 3*batch
			pass(least, 0, 0, 0)
			w.set(u, w.record("id 100", "changed"), w.record("id 109!", "changed"), w.record("id 900", "new"))
			if err := w.source.Delete(ctx, u, []string{"id 110", "id 119!"}); err != nil {
				t.Fatal(err)
			}
			pass(least+2, 1, 2, 2)
			pass(least, 0, 0, 0)
			w.rules = "2"
			pass(n, 0, n-2, 0)
			pass(least, 0, 0, 0)
		})
	}
}
