package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

func TestStages(t *testing.T) {
	t.Parallel()
	m := &pipeline.Meter{}
	for _, s := range []struct {
		lane pipeline.Lane
		what string
	}{
		{pipeline.Rows, "building 58 indexes"}, {pipeline.Vectors, "full-text index, 1 %"}, {pipeline.Vectors, "full-text index, 99 %"},
		{pipeline.Rows, "setting sequences"}, {pipeline.Rows, ""}, {pipeline.Rows, ""}, {pipeline.Rows, "setting sequences"},
	} {
		m.Step(s.lane, s.what)
	}
	var got []string
	for _, s := range m.Stages() {
		if s.From.IsZero() || !s.To.IsZero() && s.To.Before(s.From) {
			t.Errorf("%s: from %v to %v", s.What, s.From, s.To)
		}
		got = append(got, fmt.Sprintf("%s %s %t", s.Lane, s.What, s.To.IsZero()))
	}
	want := []string{"rows building 58 indexes false", "vectors full-text index, 99 % true", "rows setting sequences false", "rows setting sequences true"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	for i := range 2000 {
		m.Step(pipeline.Rows, "table "+string(rune('a'+i%26))+string(rune('a'+i/26%26)))
	}
	if n := len(m.Stages()); n > 256 {
		t.Errorf("%d stages are kept", n)
	}
	if m.Doing(pipeline.Rows) == "" {
		t.Error("a step beyond the last that is kept is not shown")
	}
	if (*pipeline.Meter)(nil).Stages() != nil {
		t.Error("no meter has stages")
	}
}

// flaky fails once, for a while.
type flaky struct {
	*pipetest.Memory[*pipeline.Row]
	failed bool
}

func (f *flaky) Write(ctx context.Context, b pipeline.Batch[*pipeline.Row]) (pipeline.Outcome, error) {
	if !f.failed {
		f.failed = true
		return pipeline.Outcome{}, pipeline.Transient(errors.New("for a while"))
	}
	return f.Memory.Write(ctx, b)
}

// What a process has done itself is told from what was done before it.
func TestMeterOfThisProcess(t *testing.T) {
	t.Parallel()
	table := &pipeline.Table{Name: "t", Columns: []string{"id"}, Key: []int{0}}
	e := pipetest.Expected[*pipeline.Row]{Unit: pipeline.Unit{Lane: pipeline.Rows, Name: "t"}}
	for i := range 40 {
		e.Records = append(e.Records, &pipeline.Row{Table: table, Values: []any{fmt.Sprintf("%03d", i)}})
	}
	source := pipetest.NewMemory(pipeline.Limits{Records: 9}, e)
	sink := &flaky{Memory: pipetest.NewMemory[*pipeline.Row](pipeline.Limits{})}
	state := &pipetest.MemoryState{}
	copied := func() (*pipeline.Meter, *pipeline.Count) {
		journal := state.Open()
		if _, err := journal.Begin(t.Context(), pipeline.Run{ID: "r"}); err != nil {
			t.Fatal(err)
		}
		meter := &pipeline.Meter{}
		if err := pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Row]{Source: source, Sink: sink, Journal: journal, Meter: meter,
			Backoff: pipeline.Backoff{Wait: func(context.Context, time.Duration) error { return nil }}}); err != nil {
			t.Fatal(err)
		}
		if err := journal.Close(); err != nil {
			t.Fatal(err)
		}
		return meter, meter.Units()[0]
	}
	meter, c := copied()
	counts, took := meter.Batches(pipeline.Rows).Read()
	var batches int64
	for _, n := range counts {
		batches += n
	}
	if c.Stored.Load() != 40 || c.Retried.Load() != 1 || c.Before.Load() != 0 || batches != 5 || took <= 0 {
		t.Errorf("stored %d, retried %d, before %d, %d batches in %v", c.Stored.Load(), c.Retried.Load(), c.Before.Load(), batches, took)
	}
	if len(counts) != len(pipeline.DurationBounds())+1 {
		t.Errorf("%d buckets for %d bounds", len(counts), len(pipeline.DurationBounds()))
	}
	if from, to := c.Times(); from.IsZero() || to.Before(from) {
		t.Errorf("from %v to %v", from, to)
	}
	_, c = copied()
	if c.Stored.Load() != 0 || c.Read.Load() != 40 || c.Before.Load() != 40 {
		t.Errorf("a second process: stored %d, read %d, before %d", c.Stored.Load(), c.Read.Load(), c.Before.Load())
	}
}
