package pipeline_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"outgrow/pipeline"
)

// What somebody else has written on the target since the last pass is told and
// left alone, whatever the source says of it, unless that is overruled.
func TestSyncLeavesWhatOthersWrote(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, 21)
	for _, id := range []string{"changed", "removed", "both changed", "changed, removed", "changed there", "removed there", "made equal"} {
		w.set(parents, w.record(id, "text "+id))
	}
	var mu sync.Mutex
	told := map[string]bool{}
	exact := func(d *pipeline.Delta[*vec]) {
		d.Exact = true
		d.Conflict = func(c pipeline.Stray) {
			mu.Lock()
			defer mu.Unlock()
			told[c.Key] = c.Kind == pipeline.StrayConflict && c.Unit == parents.ID()
		}
	}
	if _, err := w.sync(w.target, exact); err != nil {
		t.Fatal(err)
	}
	// The source.
	equal := w.record("made equal", "new text made equal")
	w.set(parents, w.record("changed", "new text changed"), w.record("both changed", "new text both changed"), w.record("removed there", "new text removed there"),
		w.record("made on both", "made on the source"), w.record("new", "text new"), equal)
	if err := w.source.Delete(ctx, parents, []string{"removed", "changed, removed"}); err != nil {
		t.Fatal(err)
	}
	// Somebody else.
	if _, err := w.target.Memory.Upsert(ctx, parents, []*vec{w.record("both changed", "theirs 1"), w.record("changed, removed", "theirs 2"), w.record("changed there", "theirs 3"),
		w.record("made on both", "theirs 4"), equal}, pipeline.Upsert{}); err != nil {
		t.Fatal(err)
	}
	if err := w.target.Memory.Delete(ctx, parents, []string{"removed there"}); err != nil {
		t.Fatal(err)
	}
	for pass := range 2 {
		clear(told)
		units, err := w.sync(w.target, exact)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(told)); !slices.Equal(got, []string{"both changed", "changed, removed", "made on both"}) {
			t.Errorf("pass %d: told %v", pass, told)
		}
		var sum pipeline.UnitSync
		for _, u := range units {
			sum.Add(u)
		}
		want := pipeline.UnitSync{Conflicts: 3}
		if pass == 0 {
			want.New, want.Changed, want.Deleted = 1, 3, 1
		}
		if sum.Read, sum.Same = 0, 0; sum != want {
			t.Errorf("pass %d: %+v, want %+v", pass, sum, want)
		}
		got := w.target.all(parents)
		for key, want := range map[string]string{"changed": "new text changed", "both changed": "theirs 1", "changed, removed": "theirs 2", "changed there": "theirs 3",
			"made on both": "theirs 4", "removed there": "new text removed there", "new": "text new", "made equal": "new text made equal"} {
			if got[key] == nil || *got[key].Text != want {
				t.Errorf("pass %d: %s on the target is %v, want %q", pass, key, got[key], want)
			}
		}
		if got["removed"] != nil {
			t.Errorf("pass %d: what the source has removed is there", pass)
		}
	}
	if _, err := w.sync(w.target, func(d *pipeline.Delta[*vec]) { d.Exact, d.MayOverwrite = true, true }); err != nil {
		t.Fatal(err)
	}
	// What the source has not changed since is not looked at.
	w.set(parents, w.record("changed there", "changed at last"))
	if _, err := w.sync(w.target, func(d *pipeline.Delta[*vec]) { d.Exact, d.MayOverwrite = true, true }); err != nil {
		t.Fatal(err)
	}
	w.follows()
}
