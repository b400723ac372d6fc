package localstate

import (
	"errors"
	"testing"

	"outgrow/pipeline"
)

func TestRestart(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	run := pipeline.Run{ID: "a", Source: pipeline.Identity{Stable: "s", State: "1"}, Target: "t"}
	old, err := Open(ctx, dir, pipeline.Files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Begin(ctx, run); err != nil {
		t.Fatal(err)
	}
	unit := pipeline.Unit{Lane: pipeline.Files, Name: "uploads"}
	if err := old.Fix(ctx, unit, []pipeline.Part{{Unit: unit}}); err != nil {
		t.Fatal(err)
	}
	if err := old.AddLines(ctx, []pipeline.Refusal{{Unit: unit.ID(), Key: "k", Reason: pipeline.Invalid, Record: []byte("{}")}}, nil); err != nil {
		t.Fatal(err)
	}
	old.release() // as if its process had lost the lock

	s, err := Open(ctx, dir, pipeline.Files)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	run.ID, run.Target = "b", "another target"
	res, err := s.Restart(ctx, run)
	if err != nil || !res.Fresh {
		t.Fatalf("restart: %+v, %v", res, err)
	}
	if parts, err := s.All(ctx); len(parts) != 0 || err != nil {
		t.Errorf("parts are left: %+v, %v", parts, err)
	}
	if refused, _, err := s.Tallies(ctx); len(refused) != 0 || err != nil {
		t.Errorf("quarantine is left: %+v, %v", refused, err)
	}
	if p, err := s.Peek(ctx); err != nil || p == nil || p.ID != "b" {
		t.Errorf("the run is %+v, %v", p, err)
	}
	if err := old.FinishPart(ctx, pipeline.Part{Unit: unit}); !errors.Is(err, pipeline.ErrFenced) {
		t.Errorf("an earlier process is not fenced: %v", err)
	}
}
