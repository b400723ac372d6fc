package pipeline_test

import (
	"context"
	"errors"
	"testing"

	"outgrow/pipeline"
)

// strays reads the world's source once for what it got after the last pass.
func (w *world) strays(carry bool) (sum pipeline.UnitStrays, kinds map[string]string, err error) {
	w.tb.Helper()
	ctx := context.Background()
	d, j, done := w.begin(ctx)
	defer done()
	units, err := w.source.Units(ctx)
	if err != nil {
		w.tb.Fatal(err)
	}
	kinds = map[string]string{}
	found, err := pipeline.Strays(ctx, pipeline.Delta[*vec]{Source: w.source, Sink: w.target, Journal: j, Digests: d, Target: w.target, Equal: equalVec, Units: units, Workers: 1,
		Backoff: pipeline.Backoff{Attempts: 3, Base: 1, Max: 1}}, carry, func(s pipeline.Stray) {
		w.target.mu.Lock()
		defer w.target.mu.Unlock()
		kinds[s.Key] = s.Kind
	})
	for _, u := range found {
		sum.Add(u)
	}
	return sum, kinds, err
}

// Strays are named, carried over where the target has nothing else, and never
// taken for an order to remove or to overwrite.
func TestStrays(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, 11)
	w.set(parents, w.record("mine", "text mine"), w.record("both", "text both"), w.record("gone", "text gone"), w.record("left", "text left"))
	if _, _, err := w.strays(false); !errors.Is(err, pipeline.ErrUnknown) {
		t.Errorf("nothing is known before a pass: %v", err)
	}
	if _, err := w.sync(w.target, nil); err != nil {
		t.Fatal(err)
	}
	if sum, _, err := w.strays(false); err != nil || sum.Any() {
		t.Errorf("after a pass: %+v, %v", sum, err)
	}
	// The old side gets, changes and loses records; the new one has moved on.
	w.set(children, w.record("a child", "the parent"))
	w.set(parents, w.record("the parent", "text parent"), w.record("mine", "text mine 2"), w.record("both", "text both 2"), w.record("gone", "text gone 2"), w.record("made", "old"))
	if err := w.source.Delete(ctx, parents, []string{"left"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.target.Memory.Upsert(ctx, parents, []*vec{w.record("both", "text of the new side"), w.record("made", "new")}, pipeline.Upsert{}); err != nil {
		t.Fatal(err)
	}
	if err := w.target.Memory.Delete(ctx, parents, []string{"gone"}); err != nil {
		t.Fatal(err)
	}
	sum, _, err := w.strays(false)
	if want := (pipeline.UnitStrays{New: 3, Changed: 3, Removed: 1}); err != nil || sum != want {
		t.Errorf("named %+v, want %+v (%v)", sum, want, err)
	}
	sum, kinds, err := w.strays(true)
	if want := (pipeline.UnitStrays{New: 2, Changed: 1, Removed: 1, Conflicts: 3, Carried: 3}); err != nil || sum != want {
		t.Errorf("carried %+v, want %+v (%v)", sum, want, err)
	}
	for key, want := range map[string]string{"a child": pipeline.StrayNew, "the parent": pipeline.StrayNew, "mine": pipeline.StrayChanged,
		"both": pipeline.StrayConflict, "gone": pipeline.StrayConflict, "made": pipeline.StrayConflict} {
		if kinds[key] != want {
			t.Errorf("%s is told as %q, want %q", key, kinds[key], want)
		}
	}
	got := w.target.all(parents)
	for key, want := range map[string]string{"mine": "text mine 2", "both": "text of the new side", "made": "new", "left": "text left"} {
		if got[key] == nil || *got[key].Text != want {
			t.Errorf("%s on the target is %v, want %q", key, got[key], want)
		}
	}
	if got["gone"] != nil || w.target.all(children)["a child"] == nil {
		t.Error("a record that the target has removed is back, or a new one is not there")
	}
	sum, _, err = w.strays(true)
	if want := (pipeline.UnitStrays{Removed: 1, Conflicts: 3}); err != nil || sum != want {
		t.Errorf("the second time %+v, want %+v (%v)", sum, want, err)
	}
}
