package pipetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"outgrow/pipeline"
)

// SinkCase is a writer, its journal and what it has to write.
type SinkCase[R pipeline.Record] struct {
	// Target makes a fresh, empty target and names it; nil means t.TempDir.
	Target func(t testing.TB) string
	// Open opens the target as a new process would: after a crash it is called
	// again with the same name. A nil journal means one in memory; that of a
	// Transactional sink is its own.
	Open func(t testing.TB, target string) (pipeline.Sink[R], pipeline.Journal)
	// Kill ends what Open gave as a crash would, as far as that can be done in
	// one process: whatever lock is held must be free afterwards. nil means
	// Close of both.
	Kill func(t testing.TB, s pipeline.Sink[R], j pipeline.Journal)
	// Unlock frees the journal's lock without its holder noticing, and leaves
	// both usable; nil means Close of the journal.
	Unlock func(t testing.TB, target string, j pipeline.Journal)
	// Records are what the target can hold, with distinct keys. Two or more
	// units and 20 or more records in the largest test the most.
	Records func(t testing.TB) []Expected[R]
	// Bad are records of the same units that the target must refuse for what
	// they are; nil means that there are none.
	Bad func(t testing.TB) []Expected[R]
	// Change gives another record of the same key, for a sync pass; nil leaves
	// that out.
	Change func(R) R
	// ReadBack opens the target's reader; its Units may list others too.
	ReadBack func(t testing.TB, target string) pipeline.Source[R]
	// Equal compares a record with what is read back; nil means Same.
	Equal func(want, got R) bool
	// Seeds is how many random histories of faults and kills are played; 0
	// means 20, 5 with -short.
	Seeds int
}

// TestSink checks a writer and its journal against the contracts of
// [pipeline.Sink], [pipeline.Journal] and of every ability it has.
func TestSink[R pipeline.Record](t *testing.T, c SinkCase[R]) { CheckSink[R](std{t}, c) }

// CheckSink is TestSink for any T.
func CheckSink[R pipeline.Record](t T, c SinkCase[R]) {
	if c.Equal == nil {
		c.Equal = Same[R]
	}
	if c.Target == nil {
		c.Target = func(t testing.TB) string { return t.TempDir() }
	}
	if c.Kill == nil {
		c.Kill = func(_ testing.TB, s pipeline.Sink[R], j pipeline.Journal) { _, _ = j.Close(), s.Close() }
	}
	s := &sinkSuite[R]{SinkCase: c, states: map[string]*MemoryState{}, unlocks: c.Unlock != nil}
	if c.Unlock == nil {
		s.Unlock = func(_ testing.TB, target string, j pipeline.Journal) {
			if m := s.states[target]; m != nil {
				m.Break()
			} else {
				_ = j.Close()
			}
		}
	}
	t.Run("Write", s.write)
	t.Run("Repeat", s.repeat)
	t.Run("CrashBeforeAdvance", s.crash)
	t.Run("EveryKill", s.everyKill)
	t.Run("Faults", s.faults)
	t.Run("ManyParts", s.parts)
	t.Run("Zombie", s.zombie)
	t.Run("Empty", s.empty)
	t.Run("Refusals", s.refusals)
	t.Run("Cancel", s.cancel)
	t.Run("Finish", s.finish)
	t.Run("Delete", s.delete)
	t.Run("Put", s.replay)
	t.Run("Upsert", s.upsert)
	t.Run("Close", s.closing)
}

type sinkSuite[R pipeline.Record] struct {
	SinkCase[R]
	states  map[string]*MemoryState // of the journals that the suite brings
	unlocks bool                    // the case has a way to cut a process off
}

// process is one opening of a target.
type process[R pipeline.Record] struct {
	suite   *sinkSuite[R]
	target  string
	sink    pipeline.Sink[R]
	journal pipeline.Journal
	tx      bool // the sink moves the cursor
	dead    bool
	res     pipeline.Resumed
}

// source gives the records in batches of three. Units wait only for each other.
func (s *sinkSuite[R]) source(t T) *Memory[R] {
	return s.memory(pipeline.Limits{Records: 3}, s.Records(t))
}

func (s *sinkSuite[R]) memory(l pipeline.Limits, content []Expected[R]) *Memory[R] {
	ids := map[string]bool{}
	for _, e := range content {
		ids[e.Unit.ID()] = true
	}
	content = slices.Clone(content)
	for i, e := range content {
		content[i].Unit.After = slices.DeleteFunc(slices.Clone(e.Unit.After), func(id string) bool { return !ids[id] })
	}
	return NewMemory(l, content...)
}

func (s *sinkSuite[R]) open(t T, target string) *process[R] {
	t.Helper()
	p := &process[R]{suite: s, target: target}
	p.sink, p.journal = s.Open(t, target)
	if tx, ok := p.sink.(pipeline.Transactional); ok {
		p.journal, p.tx = tx.Journal(), true
	}
	if p.journal == nil {
		if s.states[target] == nil {
			s.states[target] = &MemoryState{}
		}
		p.journal = s.states[target].Open()
	}
	t.Cleanup(func() { p.kill(t) })
	return p
}

func (p *process[R]) kill(t T) {
	if !p.dead {
		p.dead = true
		p.suite.Kill(t, p.sink, p.journal)
	}
}

// begin opens the target and begins the run.
func (s *sinkSuite[R]) begin(t T, target string, src *Memory[R]) *process[R] {
	t.Helper()
	p := s.open(t, target)
	var err error
	p.res, err = p.journal.Begin(limited(t), s.run(src))
	must(t, err, "beginning")
	return p
}

func (s *sinkSuite[R]) run(src *Memory[R]) pipeline.Run {
	id, _ := src.Identity(context.Background())
	return pipeline.Run{ID: "test", Source: id, Target: "target", Version: "test"}
}

// prepare does what precedes the first batch of each unit and gives the parts.
func (p *process[R]) prepare(t T, src *Memory[R], n int) []pipeline.Progress {
	t.Helper()
	ctx := limited(t)
	units, err := src.Units(ctx)
	must(t, err, "listing units")
	var all []pipeline.Progress
	for _, u := range units {
		must(t, p.sink.Prepare(ctx, u), "preparing %s", u.ID())
		have, err := p.journal.Parts(ctx, u)
		must(t, err, "reading the parts of %s", u.ID())
		if have == nil {
			parts, err := src.Split(ctx, u, n)
			must(t, err, "cutting %s", u.ID())
			must(t, p.journal.Fix(ctx, u, parts), "fixing the parts of %s", u.ID())
			have, err = p.journal.Parts(ctx, u)
			must(t, err, "reading the parts of %s", u.ID())
		}
		if len(have) == 0 {
			t.Fatalf("%s has no parts: Parts must give nil before Fix, and what was fixed after it", u.ID())
		}
		all = append(all, have...)
	}
	return all
}

// put writes a batch and moves the cursor.
func (p *process[R]) put(ctx context.Context, b pipeline.Batch[R]) (pipeline.Outcome, error) {
	out, err := p.sink.Write(ctx, b)
	if err != nil || p.tx {
		return out, err
	}
	return out, p.journal.Advance(ctx, pipeline.Step{Part: b.Part, Prev: b.Prev, Next: b.Next, Written: out.Written, Bytes: b.Bytes,
		Refused: append(append([]pipeline.Refusal(nil), b.Refused...), out.Refused...),
		Changed: append(append([]pipeline.Change(nil), b.Changed...), out.Changed...)})
}

// rest writes what is left of the parts, one after the other.
func (p *process[R]) rest(t T, src *Memory[R], parts []pipeline.Progress) pipeline.Outcome {
	t.Helper()
	var sum pipeline.Outcome
	for _, q := range parts {
		out, err := p.part(limited(t), src, q)
		must(t, err, "writing part %d of %s", q.Part.N, q.Part.Unit.ID())
		sum.Add(out)
	}
	return sum
}

func (p *process[R]) part(ctx context.Context, src *Memory[R], q pipeline.Progress) (pipeline.Outcome, error) {
	var sum pipeline.Outcome
	for b, err := range src.Read(ctx, q.Part, q.At) {
		if err != nil {
			return sum, err
		}
		out, err := p.put(ctx, b)
		if err != nil {
			return sum, err
		}
		sum.Add(out)
	}
	return sum, p.journal.FinishPart(ctx, q.Part)
}

func (p *process[R]) finishLane(t T) pipeline.Outcome {
	t.Helper()
	f, ok := p.sink.(pipeline.Finisher)
	if !ok {
		return pipeline.Outcome{}
	}
	out, err := f.Finish(limited(t), func(string) {})
	must(t, err, "finishing")
	return out
}

// content reads the target back, by unit; units that are not there are empty.
func (s *sinkSuite[R]) content(t T, target string) map[string][]R {
	t.Helper()
	src := s.ReadBack(t, target)
	defer func() { _ = src.Close() }()
	ctx := limited(t)
	units, err := src.Units(ctx)
	must(t, err, "listing the target's units")
	out := map[string][]R{}
	for _, u := range units {
		for b, err := range src.Read(ctx, pipeline.Part{Unit: u}, "") {
			must(t, err, "reading %s back", u.ID())
			out[u.ID()] = append(out[u.ID()], b.Records...)
		}
	}
	return out
}

// arrived checks that the target holds exactly these records.
func (s *sinkSuite[R]) arrived(t T, target string, want []Expected[R]) {
	t.Helper()
	have := s.content(t, target)
	for _, e := range want {
		if d := differences(e.Records, have[e.Unit.ID()], s.Equal); d != "" {
			t.Errorf("%s on the target:\n\t%s", e.Unit.ID(), d)
		}
	}
}

// journaled checks the journal's figures against the source.
func (s *sinkSuite[R]) journaled(t T, j pipeline.Journal, want []Expected[R]) {
	t.Helper()
	all, err := j.All(limited(t))
	must(t, err, "listing the parts")
	written, size := map[string]int64{}, map[string]int64{}
	for _, p := range all {
		if !p.Done {
			t.Errorf("part %d of %s is not done", p.Part.N, p.Part.Unit.ID())
		}
		if p.Refused != 0 {
			t.Errorf("part %d of %s counts %d refused", p.Part.N, p.Part.Unit.ID(), p.Refused)
		}
		written[p.Part.Unit.ID()] += p.Written
		size[p.Part.Unit.ID()] += p.Bytes
	}
	for _, e := range want {
		n := int64(0)
		for _, r := range e.Records {
			n += int64(r.Size())
		}
		if id := e.Unit.ID(); written[id] != int64(len(e.Records)) || size[id] != n {
			t.Errorf("%s: the journal counts %d written and %d bytes, want %d and %d", id, written[id], size[id], len(e.Records), n)
		}
	}
	refused, _, err := j.Tallies(limited(t))
	must(t, err, "counting lines")
	if len(refused) > 0 {
		t.Errorf("records are in the quarantine: %+v", refused)
	}
}

func (s *sinkSuite[R]) write(t T) {
	src, target := s.source(t), s.Target(t)
	p := s.begin(t, target, src)
	if !p.res.Fresh || p.res.SourceChanged || p.res.Complete {
		t.Errorf("a fresh target resumes: %+v", p.res)
	}
	parts := p.prepare(t, src, 1)
	_ = p.prepare(t, src, 1)
	out := p.rest(t, src, parts)
	_ = p.prepare(t, src, 1) // keeps what is there
	out.Add(p.finishLane(t))
	n := 0
	for _, e := range s.Records(t) {
		n += len(e.Records)
	}
	if out.Written != n || len(out.Refused) > 0 {
		t.Errorf("the outcomes sum up to %d written and %d refused of %d: %s", out.Written, len(out.Refused), n, brief(out.Refused))
	}
	s.journaled(t, p.journal, s.Records(t))
	p.kill(t)
	s.arrived(t, target, s.Records(t))
}

// repeat writes every batch twice: the second time is harmless or fenced.
func (s *sinkSuite[R]) repeat(t T) {
	src, target := s.source(t), s.Target(t)
	p := s.begin(t, target, src)
	ctx := limited(t)
	for _, q := range p.prepare(t, src, 1) {
		for b, err := range src.Read(ctx, q.Part, q.At) {
			must(t, err, "reading")
			if !p.tx { // as when the first answer was lost
				_, err = p.sink.Write(ctx, b)
				must(t, err, "writing")
			}
			_, err = p.put(ctx, b)
			must(t, err, "writing a batch again")
			if _, err := p.put(ctx, b); !errors.Is(err, pipeline.ErrFenced) {
				t.Errorf("moving the cursor of %s from %q a second time gives %v, want ErrFenced", q.Part.Unit.ID(), b.Prev, err)
			}
		}
		must(t, p.journal.FinishPart(ctx, q.Part), "finishing a part")
		must(t, p.journal.FinishPart(ctx, q.Part), "finishing a part again")
	}
	p.finishLane(t)
	s.journaled(t, p.journal, s.Records(t))
	p.kill(t)
	s.arrived(t, target, s.Records(t))
}

// parts writes four parts of each unit at the same time.
func (s *sinkSuite[R]) parts(t T) {
	src, target := s.source(t), s.Target(t)
	p := s.begin(t, target, src)
	ctx := limited(t)
	parts := p.prepare(t, src, 4)
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, q := range parts {
		wg.Go(func() { _, errs[i] = p.part(ctx, src, q) })
	}
	wg.Wait()
	must(t, errors.Join(errs...), "writing parts at the same time")
	p.finishLane(t)
	s.journaled(t, p.journal, s.Records(t))
	p.kill(t)
	s.arrived(t, target, s.Records(t))
}
