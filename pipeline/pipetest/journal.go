package pipetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"outgrow/pipeline"
)

// TestJournal checks a journal against every contract of [pipeline.Journal].
// open opens the journal that dir names, as a new process would: several may
// be open on one dir, each dir that the suite hands in is fresh.
func TestJournal(t *testing.T, open func(t testing.TB, dir string) pipeline.Journal) {
	CheckJournal(std{t}, open)
}

// CheckJournal is TestJournal for any T.
func CheckJournal(t T, open func(t testing.TB, dir string) pipeline.Journal) {
	s := &journalSuite{open}
	t.Run("Begin", s.begins)
	t.Run("Pair", s.pair)
	t.Run("SourceChanged", s.sourceChanged)
	t.Run("Rebase", s.rebase)
	t.Run("Locked", s.locked)
	t.Run("Unbegun", s.unbegun)
	t.Run("Fix", s.fix)
	t.Run("Advance", s.advance)
	t.Run("Race", s.race)
	t.Run("Fence", s.fence)
	t.Run("Lines", s.lines)
	t.Run("LineKeys", s.lineKeys)
	t.Run("Listing", s.listing)
	t.Run("Quarantine", s.quarantine)
	t.Run("Marks", s.marks)
}

type journalSuite struct {
	open func(t testing.TB, dir string) pipeline.Journal
}

var journalRun = pipeline.Run{ID: "7f3a", Source: pipeline.Identity{Stable: "source", State: "1"}, Target: "target", Version: "test"}

// begin opens and begins; the caller closes, and so does the end of the test.
func (s *journalSuite) begin(t T, dir string) pipeline.Journal {
	t.Helper()
	j := s.just(t, dir)
	_, err := j.Begin(limited(t), journalRun)
	must(t, err, "beginning")
	return j
}

func (s *journalSuite) just(t T, dir string) pipeline.Journal {
	j := s.open(t, dir)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// again closes and begins anew, as the next process does.
func (s *journalSuite) again(t T, dir string, j pipeline.Journal) pipeline.Journal {
	t.Helper()
	must(t, j.Close(), "closing")
	return s.begin(t, dir)
}

func (s *journalSuite) begins(t T) {
	dir, ctx := t.TempDir(), limited(t)
	epoch := int64(0)
	for n := range 3 {
		j := s.just(t, dir)
		run := journalRun
		if n > 0 {
			run.ID, run.Version = "other", "later"
		}
		res, err := j.Begin(ctx, run)
		must(t, err, "beginning")
		if res.Fresh != (n == 0) || res.SourceChanged || res.Complete != (n == 2) || res.Run != journalRun {
			t.Errorf("process %d finds %+v", n, res)
		}
		if res.Epoch <= epoch {
			t.Errorf("epoch %d follows %d", res.Epoch, epoch)
		}
		epoch = res.Epoch
		if n == 1 {
			must(t, j.Mark(ctx, "complete", "yes"), "marking")
		}
		must(t, j.Close(), "closing")
		must(t, j.Close(), "closing twice")
	}
}

func (s *journalSuite) pair(t T) {
	dir, ctx := t.TempDir(), limited(t)
	must(t, s.begin(t, dir).Close(), "closing")
	for _, change := range []func(*pipeline.Run){
		func(r *pipeline.Run) { r.Source.Stable = "another source" },
		func(r *pipeline.Run) { r.Target = "another target" },
	} {
		run, j := journalRun, s.just(t, dir)
		change(&run)
		if _, err := j.Begin(ctx, run); !errors.Is(err, pipeline.ErrOtherPair) {
			t.Errorf("beginning with %+v: %v, want ErrOtherPair", run, err)
		}
		must(t, j.Close(), "closing")
	}
	s.begin(t, dir)
}

func (s *journalSuite) sourceChanged(t T) {
	dir, ctx := t.TempDir(), limited(t)
	for n, state := range []string{"1", "1", "2", "1", "1"} {
		j, run := s.just(t, dir), journalRun
		run.Source.State = state
		res, err := j.Begin(ctx, run)
		must(t, err, "beginning")
		if want := n >= 2; res.SourceChanged != want {
			t.Errorf("process %d, state %s: SourceChanged is %v, want %v", n, state, res.SourceChanged, want)
		}
		if res.Run.Source.State != "1" {
			t.Errorf("the run as it was first begun now says %+v", res.Run)
		}
		must(t, j.Close(), "closing")
	}
}

func (s *journalSuite) locked(t T) {
	dir, ctx := t.TempDir(), limited(t)
	first, unit := s.begin(t, dir), journalUnit("chat")
	must(t, first.Fix(ctx, unit, []pipeline.Part{{Unit: unit}}), "fixing")
	second := s.just(t, dir)
	if _, err := second.Begin(ctx, journalRun); !errors.Is(err, pipeline.ErrLocked) {
		t.Fatalf("beginning twice at the same time: %v, want ErrLocked", err)
	}
	// Whoever may not begin may look, as status does.
	if parts, err := second.Parts(ctx, unit); err != nil || len(parts) != 1 {
		t.Errorf("looking while another works: %+v, %v", parts, err)
	}
	must(t, first.Advance(ctx, pipeline.Step{Part: pipeline.Part{Unit: unit}, Next: "1"}), "advancing in the first process")
	must(t, first.Close(), "closing")
	if _, err := second.Begin(ctx, journalRun); err != nil {
		t.Errorf("beginning once the other has ended: %v", err)
	}
}

// unbegun asks a journal in which nothing was begun yet.
func (s *journalSuite) unbegun(t T) {
	j, ctx := s.just(t, t.TempDir()), limited(t)
	all, err := j.All(ctx)
	if err != nil || len(all) > 0 {
		t.Errorf("All: %+v, %v", all, err)
	}
	marks, err := j.Marked(ctx)
	if err != nil || len(marks) > 0 {
		t.Errorf("Marked: %+v, %v", marks, err)
	}
	refused, changed, err := j.Tallies(ctx)
	if err != nil || len(refused)+len(changed) > 0 {
		t.Errorf("Tallies: %+v, %+v, %v", refused, changed, err)
	}
	accepted, err := j.Accepted(ctx)
	if err != nil || len(accepted) > 0 {
		t.Errorf("Accepted: %+v, %v", accepted, err)
	}
	lines, err := j.Refused(ctx, "rows/chat", "1")
	if err != nil || len(lines) > 0 {
		t.Errorf("Refused: %+v, %v", lines, err)
	}
	for _, err := range j.Refusals(ctx, "") {
		t.Errorf("Refusals: a line, or %v", err)
	}
}

func journalUnit(name string) pipeline.Unit {
	return pipeline.Unit{Lane: pipeline.Rows, Name: name, Label: "Ünit", Records: 7, Bytes: -1, After: []string{"files/uploads"}, Dim: 3}
}

// oddCursors are what a reader may use as a cursor.
var oddCursors = []pipeline.Cursor{"1", "\x00", "\x1f|\x1e", "\xff\xfe\x80", `"quoted" \ and 'single'`, "日本\u2028\n\r\t", " ", pipeline.Cursor(strings.Repeat("c", 10_000))}

func (s *journalSuite) fix(t T) {
	dir, ctx := t.TempDir(), limited(t)
	j := s.begin(t, dir)
	unit, other := journalUnit("chat"), journalUnit("file")
	if have, err := j.Parts(ctx, unit); have != nil || err != nil {
		t.Errorf("parts that were not fixed: %+v, %v", have, err)
	}
	var parts []pipeline.Part
	from := pipeline.Cursor("")
	for i, c := range oddCursors {
		parts = append(parts, pipeline.Part{Unit: unit, N: i, From: from, To: c})
		from = c
	}
	parts = append(parts, pipeline.Part{Unit: unit, N: len(parts), From: from})
	must(t, j.Fix(ctx, unit, parts), "fixing")
	must(t, j.Fix(ctx, other, []pipeline.Part{{Unit: other}}), "fixing another unit")
	if err := j.Fix(ctx, unit, parts[:1]); err == nil {
		t.Errorf("fixing other parts is no error")
	}
	j = s.again(t, dir, j)
	if err := j.Fix(ctx, unit, []pipeline.Part{{Unit: unit, N: 99}}); err == nil {
		t.Errorf("fixing other parts in another process is no error")
	}
	have, err := j.Parts(ctx, unit)
	must(t, err, "reading the parts")
	if len(have) != len(parts) {
		t.Errorf("%d parts were fixed, %d came back", len(parts), len(have))
	}
	for i, p := range have[:min(len(have), len(parts))] {
		if !reflect.DeepEqual(p, pipeline.Progress{Part: parts[i], At: parts[i].From}) {
			t.Errorf("part %d was fixed as %s and came back as %s", i, brief(parts[i]), brief(p))
		}
	}
	all, err := j.All(ctx)
	must(t, err, "listing all parts")
	if len(all) != len(parts)+1 {
		t.Errorf("%d parts in all, want %d", len(all), len(parts)+1)
	}
}

func (s *journalSuite) advance(t T) {
	dir, ctx := t.TempDir(), limited(t)
	j, unit := s.begin(t, dir), journalUnit("chat")
	part, idle := pipeline.Part{Unit: unit, N: 3}, pipeline.Part{Unit: unit, N: 4, From: "x"}
	must(t, j.Fix(ctx, unit, []pipeline.Part{part, idle}), "fixing")
	if err := j.Advance(ctx, pipeline.Step{Part: pipeline.Part{Unit: unit, N: 5}, Next: "1"}); err == nil {
		t.Errorf("advancing a part that was not fixed is no error")
	}
	at := pipeline.Cursor("")
	for i, c := range oddCursors {
		line := pipeline.Refusal{Unit: unit.ID(), Key: fmt.Sprint(i), Reason: pipeline.Orphan, Record: json.RawMessage(`{}`)}
		step := pipeline.Step{Part: part, Prev: at, Next: c, Written: 10, Bytes: 1 << 33, Refused: []pipeline.Refusal{line}}
		must(t, j.Advance(ctx, step), "advancing to %.40q", c)
		// The same once more, and from a place that never was.
		line.Key += " again"
		step.Refused = []pipeline.Refusal{line}
		for _, prev := range []pipeline.Cursor{at, "nowhere"} {
			step.Prev, step.Next = prev, "elsewhere"
			if err := j.Advance(ctx, step); !errors.Is(err, pipeline.ErrFenced) {
				t.Errorf("advancing from %.40q at %.40q: %v, want ErrFenced", prev, c, err)
			}
		}
		if at = c; i%2 == 0 {
			j = s.again(t, dir, j)
		}
	}
	must(t, j.FinishPart(ctx, part), "finishing")
	must(t, j.FinishPart(ctx, part), "finishing twice")
	j = s.again(t, dir, j)
	have, err := j.Parts(ctx, unit)
	must(t, err, "reading the parts")
	n := int64(len(oddCursors))
	want := []pipeline.Progress{{Part: part, At: at, Done: true, Written: 10 * n, Refused: n, Bytes: n << 33}, {Part: idle, At: "x"}}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("the parts stand at %s, want %s", brief(have), brief(want))
	}
	refused, _, err := j.Tallies(ctx)
	must(t, err, "counting")
	if len(refused) != 1 || refused[0].Count != n {
		t.Errorf("%+v after %d steps with one line each: lines of fenced steps must not be stored", refused, n)
	}
}

// race moves one cursor from many goroutines: exactly one wins each step. Other
// parts move at the same time.
func (s *journalSuite) race(t T) {
	j, unit, ctx := s.begin(t, t.TempDir()), journalUnit("chat"), limited(t)
	var parts []pipeline.Part
	for n := range 4 {
		parts = append(parts, pipeline.Part{Unit: unit, N: n})
	}
	must(t, j.Fix(ctx, unit, parts), "fixing")
	const steps, rivals = 10, 4
	won := make([][rivals]int, len(parts))
	var wg sync.WaitGroup
	errs := make(chan error, len(parts)*rivals*steps)
	for _, p := range parts {
		for r := range rivals {
			wg.Go(func() {
				for i := range steps {
					prev := pipeline.Cursor(fmt.Sprint(i))
					if i == 0 {
						prev = ""
					}
					err := j.Advance(ctx, pipeline.Step{Part: p, Prev: prev, Next: pipeline.Cursor(fmt.Sprint(i + 1)), Written: 1,
						Refused: []pipeline.Refusal{{Unit: unit.ID(), Key: fmt.Sprint(i), Reason: pipeline.Orphan, Record: json.RawMessage(`{}`)}}})
					switch {
					case err == nil:
						won[p.N][r]++
					case !errors.Is(err, pipeline.ErrFenced):
						errs <- err
					}
				}
			})
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Errorf("advancing at the same time: %v", err)
	}
	have, err := j.Parts(ctx, unit)
	must(t, err, "reading the parts")
	for i, p := range have {
		sum := 0
		for _, n := range won[i] {
			sum += n
		}
		if p.Written != int64(sum) || p.At != pipeline.Cursor(fmt.Sprint(sum)) {
			t.Errorf("part %d stands at %q with %d written after %d won steps", i, p.At, p.Written, sum)
		}
	}
}

// fence goes on in an old process after the next has begun.
func (s *journalSuite) fence(t T) {
	dir, ctx := t.TempDir(), limited(t)
	old, unit := s.begin(t, dir), journalUnit("chat")
	part := pipeline.Part{Unit: unit}
	must(t, old.Fix(ctx, unit, []pipeline.Part{part}), "fixing")
	must(t, old.Advance(ctx, pipeline.Step{Part: part, Next: "1", Written: 1}), "advancing")
	young := s.again(t, dir, old)
	if err := old.Advance(ctx, pipeline.Step{Part: part, Prev: "1", Next: "2", Written: 1}); err == nil {
		t.Errorf("an old process moves the cursor")
	}
	_ = old.FinishPart(ctx, part)
	_ = old.Fix(ctx, journalUnit("file"), []pipeline.Part{{Unit: journalUnit("file")}})
	all, err := young.All(ctx)
	must(t, err, "listing the parts")
	if want := []pipeline.Progress{{Part: part, At: "1", Written: 1}}; !reflect.DeepEqual(all, want) {
		t.Errorf("after an old process tried to advance, finish and fix: %+v, want %+v", all, want)
	}
	must(t, young.Advance(ctx, pipeline.Step{Part: part, Prev: "1", Next: "2"}), "advancing in the new process")
	if err := old.Advance(ctx, pipeline.Step{Part: part, Prev: "2", Next: "3"}); err == nil {
		t.Errorf("an old process moves the cursor that a new one has moved")
	}
	fresh := s.just(t, t.TempDir())
	if err := fresh.Advance(ctx, pipeline.Step{Part: part, Next: "1"}); err == nil {
		t.Errorf("advancing without Begin is no error")
	}
}
