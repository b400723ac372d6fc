package pipetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"outgrow/pipeline"
)

// crash dies after each batch was written and before its cursor was moved.
func (s *sinkSuite[R]) crash(t T) {
	src, target := s.source(t), s.Target(t)
	for n := 0; ; n++ {
		p := s.begin(t, target, src)
		if p.res.Fresh != (n == 0) || p.res.Epoch <= 0 {
			t.Errorf("process %d finds %+v", n, p.res)
		}
		parts := p.prepare(t, src, 2)
		s.durable(t, p, src)
		todo := parts[:0:0]
		for _, q := range parts {
			if !q.Done {
				todo = append(todo, q)
			}
		}
		if len(todo) == 0 {
			p.finishLane(t)
			s.journaled(t, p.journal, s.Records(t))
			p.kill(t)
			break
		}
		s.one(t, p, src, todo[0])
		p.kill(t)
	}
	s.arrived(t, target, s.Records(t))
}

// one writes one batch whose cursor is already moved or not yet, in turns.
func (s *sinkSuite[R]) one(t T, p *process[R], src *Memory[R], q pipeline.Progress) {
	t.Helper()
	ctx, n := limited(t), 0
	for b, err := range src.Read(ctx, q.Part, q.At) {
		must(t, err, "reading")
		if n++; n == 1 {
			_, err = p.put(ctx, b)
			must(t, err, "writing")
			continue
		}
		_, err = p.sink.Write(ctx, b)
		must(t, err, "writing")
		return
	}
	must(t, p.journal.FinishPart(ctx, q.Part), "finishing a part")
}

// durable checks that no cursor is ahead of what the target holds.
func (s *sinkSuite[R]) durable(t T, p *process[R], src *Memory[R]) {
	t.Helper()
	ctx := limited(t)
	all, err := p.journal.All(ctx)
	must(t, err, "listing the parts")
	all = slices.DeleteFunc(all, func(q pipeline.Progress) bool { return q.At == "" || q.At == q.Part.From })
	if len(all) == 0 {
		return
	}
	have := map[string]map[string]bool{}
	for id, records := range s.content(t, p.target) {
		have[id] = map[string]bool{}
		for _, r := range records {
			have[id][r.Key()] = true
		}
	}
	for _, q := range all {
		past := q.Part
		past.To = q.At
		for b, err := range src.Read(ctx, past, q.Part.From) {
			must(t, err, "reading")
			for _, r := range b.Records {
				if !have[q.Part.Unit.ID()][r.Key()] {
					t.Errorf("part %d of %s stands at %.80q, but %.80q is not on the target", q.Part.N, q.Part.Unit.ID(), q.At, r.Key())
					return
				}
			}
		}
	}
}

// quick is a backoff that does not wait.
func quick() pipeline.Backoff {
	return pipeline.Backoff{Attempts: 10, Base: 1, Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

// copy runs the engine in a process that fails as f says, and then kills it. It
// reports how many acts were begun, and how the copy ended.
func (s *sinkSuite[R]) copy(t T, target string, src *Memory[R], f Faults, workers int) (int, error) {
	t.Helper()
	p := s.begin(t, target, src)
	defer p.kill(t)
	s.durable(t, p, src)
	ctx, cancel := context.WithCancel(limited(t))
	defer cancel()
	f.Cancel = cancel
	in := New(f)
	err := pipeline.Copy(ctx, pipeline.Job[R]{
		Source: Source(in, pipeline.Source[R](src)), Sink: Sink(in, p.sink), Journal: Journal(in, p.journal),
		Workers: workers, PartBytes: 200, Backoff: quick(),
	})
	return in.Acts(), err
}

// expected reports whether an injected fault may end a copy this way.
func expected(err error) bool {
	return errors.Is(err, ErrCrashed) || errors.Is(err, ErrInjected) || errors.Is(err, ErrLost) || errors.Is(err, context.Canceled)
}

// copied copies once more without faults and checks the end state.
func (s *sinkSuite[R]) copied(t T, target string, src *Memory[R]) {
	t.Helper()
	_, err := s.copy(t, target, src, Faults{}, 2)
	must(t, err, "copying without faults")
	s.arrived(t, target, s.Records(t))
	p := s.begin(t, target, src)
	s.journaled(t, p.journal, s.Records(t))
	p.kill(t)
}

// everyKill dies at the first act, the second, … of one and the same history of
// a copy, at most 40 of them, each before or after the act was durable; two
// kills each, then a resume to the end.
func (s *sinkSuite[R]) everyKill(t T) {
	src := s.source(t)
	acts, err := s.copy(t, s.Target(t), src, Faults{}, 1)
	must(t, err, "copying without faults")
	step := max(1, acts/(2*s.seeds()))
	for at := 1; at <= acts; at += step {
		target := s.Target(t)
		for _, k := range []int{at, 1 + at/2} {
			if _, err := s.copy(t, target, src, Faults{Seed: uint64(at), CrashAt: k}, 1); err != nil && !expected(err) {
				t.Fatalf("killed at act %d of %d: %v", k, acts, err)
			}
		}
		s.copied(t, target, src)
		if t.Failed() {
			t.Fatalf("after kills at acts %d and %d of %d", at, 1+at/2, acts)
		}
	}
}

func (s *sinkSuite[R]) seeds() int {
	switch {
	case s.Seeds > 0:
		return s.Seeds
	case testing.Short():
		return 5
	}
	return 20
}

// faults plays random histories: transient errors before and after the act,
// permanent ones, cancels, kills and delays, with several workers.
func (s *sinkSuite[R]) faults(t T) {
	src := s.source(t)
	for seed := range s.seeds() {
		target := s.Target(t)
		rng := rand.New(rand.NewPCG(uint64(seed), 2))
		for range 12 {
			f := Faults{Seed: rng.Uint64(), Errors: 0.1 * rng.Float64(), Lost: 0.2 * rng.Float64()}
			if rng.IntN(6) == 0 {
				f.Delay = time.Millisecond / 5
			}
			switch rng.IntN(4) {
			case 0:
				f.FailAt = 1 + rng.IntN(30)
			case 1:
				f.CancelAt = 1 + rng.IntN(60)
			default:
				f.CrashAt = 1 + rng.IntN(30)
			}
			_, err := s.copy(t, target, src, f, 1+rng.IntN(4))
			if err == nil {
				break
			}
			if !expected(err) {
				t.Fatalf("seed %d, %+v: %v", seed, f, err)
			}
		}
		s.copied(t, target, src)
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

// zombie goes on in an old process after a new one has taken over.
func (s *sinkSuite[R]) zombie(t T) {
	src, target := s.source(t), s.Target(t)
	old := s.begin(t, target, src)
	other := s.open(t, target)
	if _, err := other.journal.Begin(limited(t), s.run(src)); !errors.Is(err, pipeline.ErrLocked) {
		t.Errorf("a second process begins beside the first: %v, want ErrLocked", err)
	}
	other.kill(t)
	ctx := limited(t)
	parts := old.prepare(t, src, 1)
	q := parts[0]
	var batches []pipeline.Batch[R]
	for b, err := range src.Read(ctx, q.Part, q.At) {
		must(t, err, "reading")
		batches = append(batches, b)
	}
	if len(batches) < 3 {
		t.Fatalf("%s has %d batches, three are needed", q.Part.Unit.ID(), len(batches))
	}
	_, err := old.put(ctx, batches[0])
	must(t, err, "writing")
	s.Unlock(t, target, old.journal)
	young := s.begin(t, target, src)
	if young.res.Epoch <= old.res.Epoch {
		t.Errorf("epoch %d follows %d", young.res.Epoch, old.res.Epoch)
	}
	// The old one writes what the young one has not reached yet.
	fenced := func(b pipeline.Batch[R]) {
		t.Helper()
		_, err := old.put(ctx, b)
		if err == nil || ((s.unlocks || s.states[target] != nil) && !errors.Is(err, pipeline.ErrFenced)) {
			t.Errorf("an old process moves the cursor of %s from %q: %v, want ErrFenced", q.Part.Unit.ID(), b.Prev, err)
		}
	}
	fenced(batches[1])
	parts = young.prepare(t, src, 1)
	if parts[0].At != batches[0].Next {
		t.Errorf("the cursor of %s is %q, the new process took over at %q", q.Part.Unit.ID(), parts[0].At, batches[0].Next)
	}
	young.rest(t, src, parts)
	// And what is long done.
	for _, b := range batches[1:] {
		fenced(b)
	}
	young.finishLane(t)
	s.journaled(t, young.journal, s.Records(t))
	young.kill(t)
	old.kill(t)
	s.arrived(t, target, s.Records(t))
}
