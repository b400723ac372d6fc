package pipetest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"outgrow/pipeline"
)

func collect[L any](t T, seq func(func(L, error) bool)) []L {
	t.Helper()
	var out []L
	for l, err := range seq {
		must(t, err, "listing lines")
		out = append(out, l)
	}
	return out
}

// cancelled gives a ctx that is over.
func cancelled(t T) context.Context {
	ctx, cancel := context.WithCancel(limited(t))
	cancel()
	return ctx
}

func (s *journalSuite) marks(t T) {
	dir, ctx := t.TempDir(), limited(t)
	j := s.begin(t, dir)
	want := map[string]string{}
	for i, v := range []string{"yes", "a b\nc", "日本", strings.Repeat("v", 100_000), `{"a":[1,2]}`, "'; --"} {
		name := fmt.Sprintf("fact %d/é'", i)
		want[name] = v
		must(t, j.Mark(ctx, name, "before"), "marking")
		must(t, j.Mark(ctx, name, v), "marking again")
	}
	must(t, j.Mark(ctx, "gone", "1"), "marking")
	must(t, j.Mark(ctx, "gone", ""), "taking a mark away")
	must(t, j.Mark(ctx, "never there", ""), "taking a mark away that is not there")
	j = s.again(t, dir, j)
	have, err := j.Marked(ctx)
	must(t, err, "reading marks")
	if !reflect.DeepEqual(have, want) {
		t.Errorf("marks %s, want %s", brief(have), brief(want))
	}
	have["added by the caller"] = "1"
	if again, _ := j.Marked(ctx); !reflect.DeepEqual(again, want) {
		t.Errorf("changing the result changes the marks")
	}
}

func (s *journalSuite) quarantine(t T) {
	dir, ctx := t.TempDir(), limited(t)
	j := s.begin(t, dir)
	line := func(unit, key, column string, reason pipeline.Reason) pipeline.Refusal {
		return pipeline.Refusal{Unit: unit, Key: key, Column: column, Reason: reason, Detail: "detail", Record: json.RawMessage(`{"a":1}`)}
	}
	change := pipeline.Change{Unit: "rows/a", Column: "c", Reason: pipeline.PathRewritten, Before: "b", After: "a"}
	second := change
	second.Column = "d"
	must(t, j.AddLines(ctx, []pipeline.Refusal{
		line("rows/a", "1", "x", pipeline.Orphan), line("rows/a", "1", "y", pipeline.Orphan), line("rows/a", "1", "x", pipeline.TooLong),
		line("rows/a", "2", "x", pipeline.Orphan), line("rows/b", "1", "x", pipeline.Orphan),
	}, []pipeline.Change{change, second}), "adding lines")
	must(t, j.Accept(ctx, []pipeline.Reason{pipeline.Orphan, pipeline.NotNull}), "accepting")
	must(t, j.Accept(ctx, []pipeline.Reason{pipeline.Orphan}), "accepting again")
	must(t, j.Accept(ctx, nil), "accepting nothing")
	j = s.again(t, dir, j)
	accepted, err := j.Accepted(ctx)
	must(t, err, "listing what is accepted")
	slices.Sort(accepted)
	if want := []pipeline.Reason{pipeline.NotNull, pipeline.Orphan}; !slices.Equal(accepted, want) {
		t.Errorf("accepted %q, want %q", accepted, want)
	}
	tallies := func(want ...pipeline.Tally) {
		t.Helper()
		refused, changed, err := j.Tallies(ctx)
		must(t, err, "counting")
		if !slices.Equal(sortTallies(refused), want) {
			t.Errorf("the quarantine counts %+v, want %+v", refused, want)
		}
		if want := []pipeline.Tally{{Unit: "rows/a", Reason: pipeline.PathRewritten, Count: 2}}; !slices.Equal(changed, want) {
			t.Errorf("the ledger counts %+v, want %+v", changed, want)
		}
	}
	// A record with two lines of one reason is one record.
	tallies(pipeline.Tally{Unit: "rows/a", Reason: pipeline.Orphan, Count: 2, Accepted: true}, pipeline.Tally{Unit: "rows/a", Reason: pipeline.TooLong, Count: 1},
		pipeline.Tally{Unit: "rows/b", Reason: pipeline.Orphan, Count: 1, Accepted: true})
	must(t, j.Release(ctx, "rows/a", []string{"1", "no such key", "\x00\xff"}), "releasing")
	must(t, j.Release(ctx, "rows/a", nil), "releasing nothing")
	j = s.again(t, dir, j)
	tallies(pipeline.Tally{Unit: "rows/a", Reason: pipeline.Orphan, Count: 1, Accepted: true},
		pipeline.Tally{Unit: "rows/b", Reason: pipeline.Orphan, Count: 1, Accepted: true})
	must(t, j.AddLines(ctx, []pipeline.Refusal{line("rows/a", "1", "x", pipeline.TooLong)}, nil), "refusing a released record again")
	if lines, err := j.Refused(ctx, "rows/a", "1"); err != nil || len(lines) != 1 {
		t.Errorf("a record that was released and refused again has the lines %+v, %v", lines, err)
	}
}

// rebase follows the source to another state.
func (s *journalSuite) rebase(t T) {
	dir, ctx := t.TempDir(), limited(t)
	j := s.just(t, dir)
	r, ok := j.(pipeline.Rebaser)
	if !ok {
		t.Skip("no Rebaser")
	}
	if err := r.Rebase(ctx, journalRun.Source); err == nil {
		t.Errorf("a run that was not begun was rebased")
	}
	_, err := j.Begin(ctx, journalRun)
	must(t, err, "beginning")
	later := journalRun
	later.Source.State = "2"
	begin := func() pipeline.Resumed {
		t.Helper()
		must(t, j.Close(), "closing")
		j = s.just(t, dir)
		res, err := j.Begin(ctx, later)
		must(t, err, "beginning")
		return res
	}
	for range 2 {
		if !begin().SourceChanged {
			t.Errorf("another state is not told of, or only once")
		}
	}
	must(t, j.(pipeline.Rebaser).Rebase(ctx, later.Source), "rebasing")
	if res := begin(); res.SourceChanged || res.Run.Source != later.Source || res.Run.ID != journalRun.ID {
		t.Errorf("after rebasing: %+v", res)
	}
	later.Source.State = "3"
	if !begin().SourceChanged {
		t.Errorf("a third state is not told of")
	}
}
