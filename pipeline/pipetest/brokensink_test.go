package pipetest

import (
	"context"
	"iter"
	"strings"
	"sync"
	"testing"

	"outgrow/pipeline"
)

// heap is a target that appends what it is given: not idempotent.
type heap struct {
	mu      sync.Mutex
	records map[string][]*vector
}

func (h *heap) Prepare(context.Context, pipeline.Unit) error { return nil }
func (h *heap) Close() error                                 { return nil }
func (h *heap) Write(ctx context.Context, b pipeline.Batch[*vector]) (pipeline.Outcome, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil {
		return pipeline.Outcome{}, ctx.Err()
	}
	h.records[b.Part.Unit.ID()] = append(h.records[b.Part.Unit.ID()], b.Records...)
	return pipeline.Outcome{Written: len(b.Records)}, nil
}

func (h *heap) Units(context.Context) (out []pipeline.Unit, _ error) {
	for id := range h.records {
		out = append(out, pipeline.Unit{Lane: pipeline.Vectors, Name: strings.TrimPrefix(id, "vectors/")})
	}
	return out, nil
}

func (h *heap) Read(_ context.Context, p pipeline.Part, _ pipeline.Cursor) iter.Seq2[pipeline.Batch[*vector], error] {
	return func(yield func(pipeline.Batch[*vector], error) bool) {
		yield(pipeline.Batch[*vector]{Part: p, Records: h.records[p.Unit.ID()]}, nil)
	}
}

// brokenSink overrides how a batch is written.
type brokenSink struct {
	*Memory[*vector]
	before func(b *pipeline.Batch[*vector])
	after  func(b pipeline.Batch[*vector], out *pipeline.Outcome)
}

func (s *brokenSink) Write(ctx context.Context, b pipeline.Batch[*vector]) (pipeline.Outcome, error) {
	whole := b
	if s.before != nil {
		s.before(&b)
	}
	out, err := s.Memory.Write(ctx, b)
	if s.after != nil && err == nil {
		s.after(whole, &out)
	}
	return out, err
}

// early is a sink that says durable one batch too soon, as a buffer does.
type early struct {
	*Memory[*vector]
	mu   sync.Mutex
	held []pipeline.Batch[*vector]
}

func (s *early) Write(ctx context.Context, b pipeline.Batch[*vector]) (pipeline.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.held {
		if out, err := s.Memory.Write(ctx, h); err != nil {
			return out, err
		}
	}
	s.held = []pipeline.Batch[*vector]{b}
	return pipeline.Outcome{Written: len(b.Records)}, ctx.Err()
}

func (s *early) Finish(ctx context.Context, _ func(string)) (pipeline.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.held {
		if _, err := s.Memory.Write(ctx, h); err != nil {
			return pipeline.Outcome{}, err
		}
	}
	s.held = nil
	return pipeline.Outcome{}, nil
}

// apart is a transactional sink that commits first the records, then the cursor.
type apart struct {
	*MemoryTx[*vector]
	target *heap
}

func (s *apart) Write(ctx context.Context, b pipeline.Batch[*vector]) (pipeline.Outcome, error) {
	out, err := s.target.Write(ctx, b)
	if err != nil {
		return out, err
	}
	return out, s.journal.Advance(ctx, pipeline.Step{Part: b.Part, Prev: b.Prev, Next: b.Next, Written: out.Written, Bytes: b.Bytes, Refused: b.Refused, Changed: b.Changed})
}

func TestBrokenSinks(t *testing.T) {
	broken := func(f func(s *brokenSink)) func(*targets) SinkCase[*vector] {
		return func(ts *targets) SinkCase[*vector] {
			c := ts.sinkCase()
			c.Open = func(_ testing.TB, target string) (pipeline.Sink[*vector], pipeline.Journal) {
				m, _ := ts.get(target)
				s := &brokenSink{Memory: m}
				f(s)
				return s, nil
			}
			return c
		}
	}
	journaled := func(f func(j *MemoryJournal) pipeline.Journal) func(*targets) SinkCase[*vector] {
		return func(ts *targets) SinkCase[*vector] {
			c := ts.sinkCase()
			c.Open = func(_ testing.TB, target string) (pipeline.Sink[*vector], pipeline.Journal) {
				m, state := ts.get(target)
				return m, f(state.Open())
			}
			c.Unlock = func(_ testing.TB, target string, _ pipeline.Journal) { ts.states[target].Break() }
			return c
		}
	}
	heaps := func(open func(ts *targets, target string, h *heap) pipeline.Sink[*vector]) func(*targets) SinkCase[*vector] {
		return func(ts *targets) SinkCase[*vector] {
			c, all := ts.transactional(), map[string]*heap{}
			get := func(target string) *heap {
				if all[target] == nil {
					all[target] = &heap{records: map[string][]*vector{}}
				}
				return all[target]
			}
			c.Bad, c.Unlock = nil, nil
			c.Open = func(_ testing.TB, target string) (pipeline.Sink[*vector], pipeline.Journal) {
				return open(ts, target, get(target)), nil
			}
			c.ReadBack = func(_ testing.TB, target string) pipeline.Source[*vector] { return get(target) }
			return c
		}
	}
	cases := []struct {
		name   string
		checks []string
		open   func(*targets) SinkCase[*vector]
	}{
		{"drops a record", []string{"Write", "Faults", "EveryKill"}, broken(func(s *brokenSink) {
			s.before = func(b *pipeline.Batch[*vector]) { b.Records = b.Records[min(1, len(b.Records)):] }
			s.after = func(b pipeline.Batch[*vector], out *pipeline.Outcome) { out.Written = len(b.Records) }
		})},
		{"changes a value", []string{"Write"}, broken(func(s *brokenSink) {
			s.before = func(b *pipeline.Batch[*vector]) {
				for i, v := range b.Records {
					c := *v
					c.Embedding = nil
					b.Records = append(append([]*vector(nil), b.Records[:i]...), append([]*vector{&c}, b.Records[i+1:]...)...)
				}
			}
		})},
		{"doubles when repeated", []string{"Repeat", "CrashBeforeAdvance", "EveryKill", "Faults"}, heaps(func(_ *targets, _ string, h *heap) pipeline.Sink[*vector] { return h })},
		{"commits records and cursor apart", []string{"Repeat", "Zombie"}, heaps(func(ts *targets, target string, h *heap) pipeline.Sink[*vector] {
			m, state := ts.get(target)
			return &apart{MemoryTx: NewMemoryTx(m, state), target: h}
		})},
		{"is durable too late", []string{"CrashBeforeAdvance", "EveryKill", "Faults"}, func(ts *targets) SinkCase[*vector] {
			c := ts.sinkCase()
			c.Open = func(_ testing.TB, target string) (pipeline.Sink[*vector], pipeline.Journal) {
				m, _ := ts.get(target)
				return &early{Memory: m}, nil
			}
			return c
		}},
		{"forgets what it refused", []string{"Refusals"}, broken(func(s *brokenSink) {
			s.after = func(_ pipeline.Batch[*vector], out *pipeline.Outcome) { out.Refused = nil }
		})},
		{"refuses only in part", []string{"Refusals"}, broken(func(s *brokenSink) {
			s.after = func(_ pipeline.Batch[*vector], out *pipeline.Outcome) {
				for i := range out.Refused {
					out.Refused[i].Record = []byte(`{}`)
				}
			}
		})},
		{"ignores ctx", []string{"Cancel"}, func(ts *targets) SinkCase[*vector] {
			c := ts.sinkCase()
			c.Open = func(_ testing.TB, target string) (pipeline.Sink[*vector], pipeline.Journal) {
				m, _ := ts.get(target)
				return &deaf{m}, nil
			}
			return c
		}},
		{"does not fence", []string{"Repeat", "Zombie"}, journaled(func(j *MemoryJournal) pipeline.Journal { return &unfenced{j} })},
		{"fences by cursor only", []string{"Zombie"}, journaled(func(j *MemoryJournal) pipeline.Journal { return &timeless{j} })},
		{"cuts parts anew on resume", []string{"CrashBeforeAdvance", "EveryKill"}, journaled(func(j *MemoryJournal) pipeline.Journal { return &recut{MemoryJournal: j} })},
		{"takes no lock", []string{"Zombie"}, journaled(func(j *MemoryJournal) pipeline.Journal { return &unlocked{j} })},
		{"advances before the write", []string{"EveryKill", "CrashBeforeAdvance"}, func(ts *targets) SinkCase[*vector] {
			c := ts.transactional()
			c.Open = func(_ testing.TB, target string) (pipeline.Sink[*vector], pipeline.Journal) {
				m, state := ts.get(target)
				tx := NewMemoryTx(m, state)
				return &ahead{tx, &early{Memory: m}}, nil
			}
			return c
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			list := record(t, func(r T) {
				k := c.open(&targets{})
				k.Seeds = 5
				CheckSink(r, k)
			})
			for _, check := range c.checks {
				caught(t, list, check)
			}
		})
	}
}

type deaf struct{ *Memory[*vector] }

func (s *deaf) Write(_ context.Context, b pipeline.Batch[*vector]) (pipeline.Outcome, error) {
	return s.Memory.Write(context.Background(), b)
}

// ahead commits the cursor with each batch, but the records one batch later.
type ahead struct {
	*MemoryTx[*vector]
	late *early
}

func (s *ahead) Write(ctx context.Context, b pipeline.Batch[*vector]) (pipeline.Outcome, error) {
	if err := s.journal.Advance(ctx, pipeline.Step{Part: b.Part, Prev: b.Prev, Next: b.Next, Written: len(b.Records), Bytes: b.Bytes}); err != nil {
		return pipeline.Outcome{}, err
	}
	return s.late.Write(ctx, b)
}

func (s *ahead) Finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	return s.late.Finish(ctx, step)
}
