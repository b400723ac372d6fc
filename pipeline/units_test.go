package pipeline_test

import (
	"context"
	"errors"
	"testing"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

// What a run has written to a unit that one of the sides has no more is a
// difference, and nothing that a pass settles by itself.
func TestUnitsThatAreGone(t *testing.T) {
	t.Parallel()
	table, folder := pipeline.UnitOf("rows/a"), pipeline.UnitOf("files/b")
	content := func(u pipeline.Unit, n int) pipetest.Expected[*vec] {
		e := pipetest.Expected[*vec]{Unit: u}
		for i := range n {
			text := ""
			e.Records = append(e.Records, &vec{ID: string(rune('a' + i)), Text: &text})
		}
		return e
	}
	all := []pipetest.Expected[*vec]{content(unit, 3), content(table, 30), content(folder, 30)}
	for _, c := range []struct {
		name            string
		source, target  []pipetest.Expected[*vec]
		units           []pipeline.Unit // that the lane works on, nil for all
		missing, extra  int64
		sync            error
		left            int // on the target after the pass
		mayDelete, gone bool
	}{
		{name: "both have all", source: all, target: all, left: 63},
		{name: "the source has lost a table", source: all[:1], target: all[:2], extra: 30, sync: pipeline.ErrMany, left: 33},
		{name: "the source has lost a folder", source: all[:1], target: []pipetest.Expected[*vec]{all[0], all[2]}, extra: 30, sync: pipeline.ErrMany, left: 33},
		{name: "the source has lost a table, as it should", source: all[:1], target: all[:2], extra: 30, left: 3, mayDelete: true},
		{name: "the target has lost a table", source: all[:2], target: all[:1], units: []pipeline.Unit{unit}, missing: 30, left: 3, gone: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w := &world{tb: t, source: pipetest.NewMemory(pipeline.Limits{}, c.source...), target: &relational{Memory: pipetest.NewMemory(pipeline.Limits{}, c.target...)},
				state: &pipetest.MemoryState{}, dir: t.TempDir()}
			j := w.state.Open()
			if _, err := j.Begin(ctx, pipeline.Run{ID: "run"}); err != nil {
				t.Fatal(err)
			}
			for _, e := range all {
				if err := j.Fix(ctx, e.Unit, []pipeline.Part{{Unit: e.Unit}}); err != nil {
					t.Fatal(err)
				}
			}
			var found []pipeline.Difference
			diffs, err := pipeline.Diff(ctx, pipeline.Comparison[*vec]{Source: w.source, Target: w.target.Memory, Units: c.units, Journal: j, Equal: equalVec,
				Report: func(d pipeline.Difference) { found = append(found, d) }})
			var sum pipeline.UnitDiff
			for _, d := range diffs {
				sum.Add(d)
			}
			if err != nil || sum.Missing != c.missing || sum.Extra != c.extra || len(found) != int(min(c.missing+c.extra, 1)) {
				t.Errorf("%+v, %+v, %v", sum, found, err)
			}
			_ = j.Close()
			_, err = w.sync(w.target, func(d *pipeline.Delta[*vec]) { d.Units, d.MayDelete = c.units, c.mayDelete })
			switch {
			case c.gone && (pipeline.ExitCode(err) != pipeline.ExitUsage || pipeline.HintOf(err) == ""), !c.gone && !errors.Is(err, c.sync):
				t.Errorf("the pass: %v, want %v", err, c.sync)
			}
			left := 0
			for _, e := range all {
				n, err := w.target.Count(context.Background(), e.Unit)
				if err != nil {
					t.Fatal(err)
				}
				left += int(n)
			}
			if left != c.left {
				t.Errorf("%d records are left, not %d", left, c.left)
			}
		})
	}
}
