package pipeline_test

import (
	"context"
	"testing"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

// A record that was refused as the target has another one of its key waits in the
// quarantine like any other, and is excused once that is agreed to. What differs
// for no such reason stays a difference, whatever is agreed to.
func TestDiffOfAnothersKey(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	ours := []*vec{{ID: "a", Text: text("same")}, {ID: "b", Text: text("ours")}}
	theirs := []*vec{{ID: "a", Text: text("same")}, {ID: "b", Text: text("theirs")}}
	for _, c := range []struct {
		name     string
		refused  []pipeline.Reason
		accepted []pipeline.Reason
		want     pipeline.UnitDiff
		kind     string
	}{
		{"not refused", nil, []pipeline.Reason{pipeline.Duplicate}, pipeline.UnitDiff{Equal: 1, Differs: 1}, pipeline.Differs},
		{"refused", []pipeline.Reason{pipeline.Duplicate}, nil, pipeline.UnitDiff{Equal: 1, Quarantined: 1}, pipeline.Quarantined},
		{"agreed to", []pipeline.Reason{pipeline.Duplicate}, []pipeline.Reason{pipeline.Duplicate}, pipeline.UnitDiff{Equal: 1, Excused: 1}, ""},
		{"agreed to in part", []pipeline.Reason{pipeline.Duplicate, pipeline.Invalid}, []pipeline.Reason{pipeline.Duplicate}, pipeline.UnitDiff{Equal: 1, Quarantined: 1}, pipeline.Quarantined},
		{"refused for what keeps a record off", []pipeline.Reason{pipeline.Invalid}, []pipeline.Reason{pipeline.Invalid}, pipeline.UnitDiff{Equal: 1, Differs: 1}, pipeline.Differs},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			source, target := memory(ours, pipeline.Limits{}), memory(theirs, pipeline.Limits{})
			journal := (&pipetest.MemoryState{}).Open()
			if _, err := journal.Begin(t.Context(), pipeline.Run{ID: "r"}); err != nil {
				t.Fatal(err)
			}
			var lines []pipeline.Refusal
			for i, reason := range c.refused {
				lines = append(lines, pipeline.NewRefusal(unit, ours[1], []string{"", "text"}[i], reason, "no"))
			}
			if err := journal.AddLines(t.Context(), lines, nil); err != nil {
				t.Fatal(err)
			}
			if err := journal.Accept(t.Context(), c.accepted); err != nil {
				t.Fatal(err)
			}
			var found []pipeline.Difference
			got, err := pipeline.Diff(t.Context(), pipeline.Comparison[*vec]{Source: source, Target: target, Journal: journal,
				Report: func(d pipeline.Difference) { found = append(found, d) },
				Equal: func(_ context.Context, _ pipeline.Unit, want, got *vec) ([]pipeline.Field, error) {
					if *want.Text == *got.Text {
						return nil, nil
					}
					return []pipeline.Field{{Column: "text", Got: *got.Text, Detail: "differs"}}, nil
				}})
			c.want.Unit, c.want.Source, c.want.Target = unit.ID(), 2, 2
			if err != nil || len(got) != 1 || got[0] != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
			if c.kind == "" != (len(found) == 0) || len(found) > 1 || len(found) == 1 && (found[0].Kind != c.kind || found[0].Key != "b") {
				t.Errorf("reported: %+v, want %q", found, c.kind)
			}
		})
	}
}
