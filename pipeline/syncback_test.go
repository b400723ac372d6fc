package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"outgrow/pipeline"
)

// mortal dies once an act on a record of this key has taken effect, before anybody
// learns of it.
type mortal struct {
	*relational
	key string
}

func (m *mortal) Upsert(ctx context.Context, u pipeline.Unit, records []*vec, how pipeline.Upsert) (pipeline.Outcome, error) {
	out, err := m.relational.Upsert(ctx, u, records, how)
	if slices.ContainsFunc(records, func(v *vec) bool { return v.ID == m.key }) && out.Written > 0 {
		err = errors.Join(err, errDied)
	}
	return out, err
}

func (m *mortal) Remove(ctx context.Context, u pipeline.Unit, keys []string, before func(pipeline.Outcome) error) error {
	err := m.relational.Remove(ctx, u, keys, before)
	if slices.Contains(keys, m.key) {
		err = errors.Join(err, errDied)
	}
	return err
}

// What a pass was doing to a record when it died is not forgotten because the source
// takes back what that was for: the record is there as it is, or as it was before.
func TestSyncOfWhatCameBack(t *testing.T) {
	t.Parallel()
	const key = "back"
	// Some are refused before any target sees them.
	strict := []pipeline.Transform[*vec]{func(u pipeline.Unit, v *vec) (*vec, []pipeline.Change, []pipeline.Refusal) {
		if *v.Text == "none" {
			return nil, nil, []pipeline.Refusal{pipeline.NewRefusal(u, v, "text", pipeline.Invalid, "no")}
		}
		return v, nil, nil
	}}
	for name, change := range map[string]func(*world) error{
		"it was gone": func(w *world) error {
			return w.source.Delete(context.Background(), parents, []string{key})
		},
		"it was another": func(w *world) error {
			w.set(parents, w.record(key, "another"))
			return nil
		},
		"the target refused it": func(w *world) error {
			w.set(parents, w.record(key, "bad"))
			return nil
		},
		"it was refused before": func(w *world) error {
			w.set(parents, w.record(key, "none"))
			return nil
		},
	} {
		for _, sifts := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 5)
				was := w.record(key, "as it was")
				w.set(parents, was)
				how := func(d *pipeline.Delta[*vec]) {
					d.Transforms, d.Exact = strict, true
					d.Pure = func(pipeline.Unit) bool { return sifts }
				}
				for range 2 {
					if _, err := w.sync(w.target, how); err != nil {
						t.Fatal(err)
					}
				}
				if err := change(w); err != nil {
					t.Fatal(err)
				}
				if _, err := w.sync(&mortal{w.target, key}, how); !errors.Is(err, errDied) {
					t.Fatalf("the pass ended with %v: the test shows too little", err)
				}
				w.set(parents, was)
				if _, err := w.sync(w.target, how); err != nil {
					t.Fatal(err)
				}
				w.follows()
			})
		}
	}
}
