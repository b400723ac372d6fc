package pipetest

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"outgrow/pipeline"
)

// unfenced moves any cursor from anywhere.
type unfenced struct{ *MemoryJournal }

func (j *unfenced) Advance(_ context.Context, step pipeline.Step) error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if j.s.find(step.Part) == nil {
		return errors.New("no such part")
	}
	j.apply(step)
	return nil
}

// timeless compares the cursor but not the epoch.
type timeless struct{ *MemoryJournal }

func (j *timeless) Advance(_ context.Context, step pipeline.Step) error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if p := j.s.find(step.Part); p == nil || p.At != step.Prev {
		return pipeline.ErrFenced
	}
	j.apply(step)
	return nil
}

// recut forgets in each process how the parts were fixed, not where they stand.
type recut struct {
	*MemoryJournal
	fixed map[string]bool
}

func (j *recut) Parts(ctx context.Context, u pipeline.Unit) ([]pipeline.Progress, error) {
	if !j.fixed[u.ID()] {
		return nil, nil
	}
	return j.MemoryJournal.Parts(ctx, u)
}

func (j *recut) Fix(_ context.Context, u pipeline.Unit, parts []pipeline.Part) error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if j.fixed == nil {
		j.fixed = map[string]bool{}
	}
	j.fixed[u.ID()] = true
	if j.s.parts == nil {
		j.s.parts = map[string][]pipeline.Progress{}
	}
	have := j.s.parts[u.ID()]
	if have == nil {
		j.s.units = append(j.s.units, u.ID())
	}
	j.s.parts[u.ID()] = nil
	for i, p := range parts {
		q := pipeline.Progress{Part: p, At: p.From}
		if len(have) > 0 { // the places move on with the numbers
			q = have[(i+1)%len(have)]
			q.Part = p
		}
		j.s.parts[u.ID()] = append(j.s.parts[u.ID()], q)
	}
	return nil
}

// unlocked lets everybody begin.
type unlocked struct{ *MemoryJournal }

func (j *unlocked) Begin(ctx context.Context, run pipeline.Run) (pipeline.Resumed, error) {
	j.s.Break()
	return j.MemoryJournal.Begin(ctx, run)
}

// altered changes what goes into the journal, and what Begin says.
type altered struct {
	*MemoryJournal
	begin   func(*pipeline.Run, *pipeline.Resumed)
	advance func(*pipeline.Step)
	add     func(*pipeline.Refusal)
	deaf    bool
}

func (j *altered) Begin(ctx context.Context, run pipeline.Run) (pipeline.Resumed, error) {
	var none pipeline.Resumed
	if j.begin != nil {
		j.begin(&run, &none)
	}
	res, err := j.MemoryJournal.Begin(ctx, run)
	if j.begin != nil {
		j.begin(&run, &res)
	}
	return res, err
}

func (j *altered) Advance(ctx context.Context, step pipeline.Step) error {
	if j.advance != nil {
		j.advance(&step)
	}
	return j.MemoryJournal.Advance(ctx, step)
}

func (j *altered) AddLines(ctx context.Context, refused []pipeline.Refusal, changed []pipeline.Change) error {
	refused = append([]pipeline.Refusal(nil), refused...)
	for i := range refused {
		if j.add != nil {
			j.add(&refused[i])
		}
	}
	return j.MemoryJournal.AddLines(ctx, refused, changed)
}

func (j *altered) Refusals(ctx context.Context, unit string) iter.Seq2[pipeline.Refusal, error] {
	if j.deaf {
		ctx = context.Background()
	}
	return j.MemoryJournal.Refusals(ctx, unit)
}

func TestBrokenJournals(t *testing.T) {
	wrap := func(f func(*altered)) func(*MemoryJournal) pipeline.Journal {
		return func(j *MemoryJournal) pipeline.Journal {
			a := &altered{MemoryJournal: j}
			f(a)
			return a
		}
	}
	cases := []struct {
		name, check string
		open        func(*MemoryJournal) pipeline.Journal
	}{
		{"does not fence", "Advance", func(j *MemoryJournal) pipeline.Journal { return &unfenced{j} }},
		{"lets rivals win twice", "Race", func(j *MemoryJournal) pipeline.Journal { return &unfenced{j} }},
		{"fences by cursor only", "Fence", func(j *MemoryJournal) pipeline.Journal { return &timeless{j} }},
		{"takes parts that are fixed otherwise", "Fix", func(j *MemoryJournal) pipeline.Journal { return &recut{MemoryJournal: j} }},
		{"takes no lock", "Locked", func(j *MemoryJournal) pipeline.Journal { return &unlocked{j} }},
		{"takes any target", "Pair", wrap(func(a *altered) { a.begin = func(r *pipeline.Run, _ *pipeline.Resumed) { r.Target = "target" } })},
		{"forgets that the source changed", "SourceChanged", wrap(func(a *altered) {
			a.begin = func(r *pipeline.Run, res *pipeline.Resumed) { res.SourceChanged = r.Source.State != "1" }
		})},
		{"keeps cursors as UTF-8", "Advance", wrap(func(a *altered) {
			a.advance = func(s *pipeline.Step) {
				s.Next = pipeline.Cursor(strings.ToValidUTF8(string(s.Next), "?"))
			}
		})},
		{"loses lines of a step", "Advance", wrap(func(a *altered) { a.advance = func(s *pipeline.Step) { s.Refused = nil } })},
		{"joins line keys without care", "LineKeys", wrap(func(a *altered) {
			a.add = func(r *pipeline.Refusal) {
				if k, c, ok := strings.Cut(r.Key, "\x1f"); ok {
					r.Key, r.Column = k, c+"\x1f"+r.Column
				}
			}
		})},
		{"keeps keys as UTF-8", "LineKeys", wrap(func(a *altered) { a.add = func(r *pipeline.Refusal) { r.Key = strings.ToValidUTF8(r.Key, "?") } })},
		{"keeps records as floats", "Lines", wrap(func(a *altered) {
			a.advance = func(s *pipeline.Step) {
				for i := range s.Refused {
					s.Refused[i].Record = []byte(strings.ReplaceAll(string(s.Refused[i].Record), "9007199254740993", "9007199254740992"))
				}
			}
		})},
		{"ignores ctx", "Listing", wrap(func(a *altered) { a.deaf = true })},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			states := map[string]*MemoryState{}
			caught(t, record(t, func(r T) {
				CheckJournal(r, func(_ testing.TB, dir string) pipeline.Journal {
					if states[dir] == nil {
						states[dir] = &MemoryState{}
					}
					return c.open(states[dir].Open())
				})
			}), c.check)
		})
	}
}
