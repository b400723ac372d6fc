package pipetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"outgrow/pipeline"
)

// lines repeats steps and lines in this and in another process: each line is
// there once, as it came first.
func (s *journalSuite) lines(t T) {
	dir, ctx := t.TempDir(), limited(t)
	j, unit := s.begin(t, dir), journalUnit("chat")
	part := pipeline.Part{Unit: unit}
	must(t, j.Fix(ctx, unit, []pipeline.Part{part}), "fixing")
	refusal := pipeline.Refusal{Unit: unit.ID(), Key: "1", Column: "user_id", Reason: pipeline.Orphan, Detail: "user 7 is gone",
		Record: json.RawMessage(`{"table":"chat","values":{"id":9007199254740993,"x":1.50,"t":"\u0000 ü"}}`)}
	change := pipeline.Change{Unit: unit.ID(), Key: "2", Column: "title", Reason: "nul", Before: pipeline.Digest("a"), After: pipeline.Digest(nil), Note: "one NUL stripped"}
	must(t, j.Advance(ctx, pipeline.Step{Part: part, Next: "1", Refused: []pipeline.Refusal{refusal, refusal}, Changed: []pipeline.Change{change, change}}), "advancing")
	for range 2 {
		later, after := refusal, change
		later.Detail, after.Note = "said otherwise", "said otherwise"
		must(t, j.AddLines(ctx, []pipeline.Refusal{later}, []pipeline.Change{after}), "adding the lines again")
		j = s.again(t, dir, j)
	}
	must(t, j.AddLines(ctx, nil, nil), "adding no lines")
	parts, err := j.Parts(ctx, unit)
	must(t, err, "reading the parts")
	must(t, j.Advance(ctx, pipeline.Step{Part: part, Prev: parts[0].At, Next: "2", Refused: []pipeline.Refusal{refusal}, Changed: []pipeline.Change{change}}), "advancing")
	refused, changed := collect(t, j.Refusals(ctx, "")), collect(t, j.Changes(ctx, ""))
	if len(refused) != 1 || !sameRefusal(refused[0], refusal) {
		t.Errorf("the quarantine holds %+v, want only %+v", refused, refusal)
	}
	if len(changed) != 1 || changed[0] != change {
		t.Errorf("the ledger holds %+v, want only %+v", changed, change)
	}
}

// lineKeys stores lines whose keys are as odd as keys can be, and some that
// look alike when they are joined without care.
func (s *journalSuite) lineKeys(t T) {
	dir, ctx := t.TempDir(), limited(t)
	j, long := s.begin(t, dir), strings.Repeat("k", 10_000)
	keys := []string{"", " ", "a", "A", "a ", "\x00", "a\x00b", "a\x1fb", "a\x1f", "\x1fa", "\xff", "\xff\xfe", "\xc3\x28", "\uFFFD", "é", "e\u0301", "\n", "1",
		long + "1", long + "2", `a"b\c'd`, "日本", `\x00`, `\000`, "NULL"}
	var refused []pipeline.Refusal
	var changed []pipeline.Change
	add := func(unit, key, column string, reason pipeline.Reason) {
		refused = append(refused, pipeline.Refusal{Unit: unit, Key: key, Column: column, Reason: reason, Detail: fmt.Sprint(len(refused)), Record: json.RawMessage(`[]`)})
		changed = append(changed, pipeline.Change{Unit: unit, Key: key, Column: column, Reason: reason, Before: "1", After: "2", Note: fmt.Sprint(len(changed))})
	}
	for _, k := range keys {
		add("rows/a", k, "c", pipeline.Orphan)
	}
	for _, l := range [][4]string{{"rows/a", "k", "b/c", "r"}, {"rows/a", "k/b", "c", "r"}, {"rows/a", "k", "b", "c/r"}, {"rows/a", "k\x1fb", "c", "r"},
		{"rows/a", "k", "b\x1fc", "r"}, {"rows/a/k", "b", "c", "r"}, {"rows/a", "k", "", "r"}, {"rows/b", "k", "", "r"}} {
		add(l[0], l[1], l[2], pipeline.Reason(l[3]))
	}
	for range 2 {
		must(t, j.AddLines(ctx, refused, changed), "adding lines with odd keys")
		j = s.again(t, dir, j)
	}
	if n, m := len(collect(t, j.Refusals(ctx, ""))), len(collect(t, j.Changes(ctx, ""))); n != len(refused) || m != len(changed) {
		t.Errorf("%d and %d lines came back of %d and %d", n, m, len(refused), len(changed))
	}
	for i, want := range refused {
		lines, err := j.Refused(ctx, want.Unit, want.Key)
		must(t, err, "looking %.40q up", want.Key)
		changes, err := j.Changed(ctx, want.Unit, want.Key)
		must(t, err, "looking %.40q up", want.Key)
		found := 0
		for n, l := range lines {
			if sameRefusal(l, want) && len(changes) == len(lines) {
				found++
			}
			if l.Key != want.Key || changes[n].Key != want.Key {
				t.Errorf("looking %.40q up gives lines of %.40q and %.40q", want.Key, l.Key, changes[n].Key)
			}
		}
		if found != 1 {
			t.Errorf("line %d, key %.40q, column %q, reason %q: %d of %d lines under its key", i, want.Key, want.Column, want.Reason, found, len(lines))
		}
	}
	for _, k := range keys {
		must(t, j.Release(ctx, "rows/a", []string{k}), "releasing %.40q", k)
		if lines, err := j.Refused(ctx, "rows/a", k); err != nil || len(lines) > 0 {
			t.Errorf("after its release %.40q has %d lines, %v", k, len(lines), err)
		}
	}
	if n := len(collect(t, j.Refusals(ctx, ""))); n != len(refused)-len(keys) {
		t.Errorf("%d lines are left, want %d", n, len(refused)-len(keys))
	}
	must(t, j.AddLines(ctx, []pipeline.Refusal{{Unit: "rows/a", Key: "odd text", Reason: pipeline.Invalid, Detail: "a\x00b\xff", Record: json.RawMessage(`{}`)}},
		[]pipeline.Change{{Unit: "rows/a", Key: "odd text", Note: "a\x00b\xff"}}), "adding lines whose text is odd")
}

// listing lists by unit, stops early and is cancelled.
func (s *journalSuite) listing(t T) {
	j, ctx := s.begin(t, t.TempDir()), limited(t)
	var refused []pipeline.Refusal
	var changed []pipeline.Change
	for i := range 700 {
		unit := "rows/" + []string{"a", "b"}[i%2]
		refused = append(refused, pipeline.Refusal{Unit: unit, Key: fmt.Sprint(i), Reason: pipeline.Orphan, Record: json.RawMessage(`{"i":` + fmt.Sprint(i) + `}`)})
		changed = append(changed, pipeline.Change{Unit: unit, Key: fmt.Sprint(i), Reason: "nul", Before: "1", After: "2"})
	}
	must(t, j.AddLines(ctx, refused, changed), "adding lines")
	for range 30 { // stops early: what it holds must be given back
		for _, err := range j.Refusals(ctx, "") {
			must(t, err, "listing the quarantine")
			break
		}
		for _, err := range j.Changes(ctx, "rows/b") {
			must(t, err, "listing the ledger")
			break
		}
	}
	for unit, want := range map[string]int{"": 700, "rows/a": 350, "rows/b": 350, "rows/c": 0, "rows/": 0} {
		if n, m := len(collect(t, j.Refusals(ctx, unit))), len(collect(t, j.Changes(ctx, unit))); n != want || m != want {
			t.Errorf("unit %q lists %d and %d lines, want %d", unit, n, m, want)
		}
	}
	var last error
	for _, err := range j.Refusals(cancelled(t), "") {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("listing with a cancelled ctx ends with %v", last)
	}
}
