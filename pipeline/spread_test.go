package pipeline_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

// ordered notes the parts in the order of their batches.
type ordered struct {
	*pipetest.Memory[*pipeline.Row]
	parts []string
}

func (o *ordered) Write(ctx context.Context, b pipeline.Batch[*pipeline.Row]) (pipeline.Outcome, error) {
	o.parts = append(o.parts, fmt.Sprint(b.Part.Unit.Name, b.Part.N))
	return o.Memory.Write(ctx, b)
}

func TestSpread(t *testing.T) {
	t.Parallel()
	table := &pipeline.Table{Name: "t", Columns: []string{"id"}, Key: []int{0}}
	unit := func(name string, records int, after ...string) pipetest.Expected[*pipeline.Row] {
		e := pipetest.Expected[*pipeline.Row]{Unit: pipeline.Unit{Lane: pipeline.Rows, Name: name, After: after}}
		for i := range records {
			e.Records = append(e.Records, &pipeline.Row{Table: table, Values: []any{fmt.Sprintf("%03d", i)}})
		}
		return e
	}
	size := int64(unit("x", 1).Records[0].Size())
	source := pipetest.NewMemory(pipeline.Limits{}, unit("waits", 1, "rows/small"), unit("large", 40), unit("middle", 20), unit("small", 1))
	units, err := source.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spread bool
		units  []pipeline.Unit
		want   []string
	}{
		{false, units[1:], []string{"large0", "large1", "large2", "large3", "large4", "middle0", "middle1", "middle2", "small0"}},
		{true, units, []string{"large0", "middle0", "large1", "large2", "middle1", "large3", "large4", "middle2", "small0", "waits0"}},
	} {
		sink := &ordered{Memory: pipetest.NewMemory[*pipeline.Row](pipeline.Limits{})}
		journal := (&pipetest.MemoryState{}).Open()
		if _, err := journal.Begin(t.Context(), pipeline.Run{ID: "r"}); err != nil {
			t.Fatal(err)
		}
		err := pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Row]{Source: source, Sink: sink, Journal: journal, Units: c.units, Workers: 1, PartBytes: 9 * size, Spread: c.spread})
		if err != nil || !slices.Equal(sink.parts, c.want) {
			t.Errorf("spread %t: %v, %v", c.spread, sink.parts, err)
		}
	}
}
