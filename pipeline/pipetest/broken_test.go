package pipetest

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"outgrow/pipeline"
)

// caught checks that the suite failed, in the check that is there for it.
func caught(t *testing.T, failures []string, check string) {
	t.Helper()
	for _, f := range failures {
		if strings.HasPrefix(f, check) {
			t.Logf("caught, with %d failures in all: %.160s", len(failures), f)
			return
		}
	}
	t.Errorf("%s did not fail; what did: %.600q", check, failures)
}

// brokenSource overrides how a part is read or cut.
type brokenSource struct {
	*Memory[*vector]
	read  func(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*vector], error]
	count int64
	get   func(keys []string) []string
}

func (b *brokenSource) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*vector], error] {
	if b.read != nil {
		return b.read(ctx, part, after)
	}
	return b.Memory.Read(ctx, part, after)
}

func (b *brokenSource) Count(ctx context.Context, u pipeline.Unit) (int64, error) {
	n, err := b.Memory.Count(ctx, u)
	return n + b.count, err
}

func (b *brokenSource) Get(ctx context.Context, u pipeline.Unit, keys []string) (map[string]*vector, error) {
	if b.get != nil {
		keys = b.get(keys)
	}
	return b.Memory.Get(ctx, u, keys)
}

type readFunc = func(context.Context, pipeline.Part, pipeline.Cursor) iter.Seq2[pipeline.Batch[*vector], error]

// alter changes each batch on its way.
func alter(m *Memory[*vector], f func(n int, b *pipeline.Batch[*vector])) readFunc {
	return func(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*vector], error] {
		return func(yield func(pipeline.Batch[*vector], error) bool) {
			n := 0
			for b, err := range m.Read(ctx, part, after) {
				if err == nil {
					f(n, &b)
					n++
				}
				if !yield(b, err) {
					return
				}
			}
		}
	}
}

func TestBrokenSources(t *testing.T) {
	cases := []struct {
		name, check string
		broken      func(b *brokenSource, l pipeline.Limits)
	}{
		{"drops a record", "Whole", func(b *brokenSource, _ pipeline.Limits) {
			b.read = alter(b.Memory, func(n int, b *pipeline.Batch[*vector]) {
				if n == 0 && len(b.Records) > 1 {
					b.Records = b.Records[1:]
				}
			})
		}},
		{"doubles a record", "Whole", func(b *brokenSource, _ pipeline.Limits) {
			b.read = alter(b.Memory, func(n int, b *pipeline.Batch[*vector]) {
				if n == 0 {
					b.Records = append(b.Records, b.Records[0])
					b.Read++
				}
			})
		}},
		{"changes a value", "Whole", func(b *brokenSource, _ pipeline.Limits) {
			b.read = alter(b.Memory, func(_ int, b *pipeline.Batch[*vector]) {
				for i, v := range b.Records {
					c := *v
					c.Metadata = []byte(`{"n":3}`)
					b.Records[i] = &c
				}
			})
		}},
		{"goes beyond the limit", "Limits", func(b *brokenSource, l pipeline.Limits) {
			l.Records *= 2
			b.Memory = b.WithLimits(l)
		}},
		{"has cursors that skip on resume", "Resume", func(b *brokenSource, _ pipeline.Limits) {
			b.read = func(ctx context.Context, p pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*vector], error] {
				if after != "" && after != p.From {
					after += "\xff"
				}
				skipped := alter(b.Memory, func(n int, b *pipeline.Batch[*vector]) {
					if n == 0 && after != "" && after != p.From && len(b.Records) > 0 {
						b.Prev, b.Records = after[:len(after)-1], b.Records[1:]
					}
				})
				return skipped(ctx, p, after)
			}
		}},
		{"breaks the chain", "Whole", func(b *brokenSource, _ pipeline.Limits) {
			b.Memory = b.WithLimits(pipeline.Limits{Records: 2})
			b.read = alter(b.Memory, func(n int, b *pipeline.Batch[*vector]) {
				if n == 1 {
					b.Prev = "elsewhere"
				}
			})
		}},
		{"ignores the end of a part", "Split", func(b *brokenSource, _ pipeline.Limits) {
			m := b.Memory
			b.read = func(ctx context.Context, p pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*vector], error] {
				open := p
				open.To = ""
				return alter(m, func(_ int, b *pipeline.Batch[*vector]) { b.Part = p })(ctx, open, after)
			}
		}},
		{"ignores ctx", "Cancel", func(b *brokenSource, _ pipeline.Limits) {
			m := b.Memory
			b.read = func(_ context.Context, p pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*vector], error] {
				return m.Read(context.Background(), p, after)
			}
		}},
		{"ends silently when cancelled", "Cancel", func(b *brokenSource, _ pipeline.Limits) {
			m := b.Memory
			b.read = func(ctx context.Context, p pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*vector], error] {
				return func(yield func(pipeline.Batch[*vector], error) bool) {
					for batch, err := range m.Read(ctx, p, after) {
						if errors.Is(err, context.Canceled) || !yield(batch, err) {
							return
						}
					}
				}
			}
		}},
		{"leaks when stopped early", "Break", func(b *brokenSource, _ pipeline.Limits) {
			m := b.Memory
			b.read = func(ctx context.Context, p pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*vector], error] {
				return func(yield func(pipeline.Batch[*vector], error) bool) {
					for batch, err := range m.Read(ctx, p, after) {
						if !yield(batch, err) {
							go func() { <-ctx.Done() }()
							return
						}
					}
				}
			}
		}},
		{"cannot be read twice at the same time", "Interleaved", func(b *brokenSource, _ pipeline.Limits) {
			m := b.Memory
			var mu sync.Mutex
			var at pipeline.Cursor
			var last pipeline.Part
			b.read = func(ctx context.Context, p pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*vector], error] {
				return func(yield func(pipeline.Batch[*vector], error) bool) {
					mu.Lock()
					at, last = after, p
					mu.Unlock()
					for {
						mu.Lock()
						batch, err := m.batch(last, at)
						at = batch.Next
						mu.Unlock()
						if ctx.Err() != nil {
							err = ctx.Err()
						}
						if (err == nil && len(batch.Records) == 0) || !yield(batch, err) || err != nil {
							return
						}
					}
				}
			}
		}},
		{"counts wrongly", "Abilities/Count", func(b *brokenSource, _ pipeline.Limits) { b.count = 1 }},
		{"forgets keys", "Abilities/Get", func(b *brokenSource, _ pipeline.Limits) {
			b.get = func(keys []string) []string { return keys[:len(keys)/2] }
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			caught(t, record(t, func(r T) {
				CheckSource(r, SourceCase[*vector]{Want: sample, Ends: time.Second, Open: func(t testing.TB, l pipeline.Limits) pipeline.Source[*vector] {
					b := &brokenSource{Memory: NewMemory(l, sample(t)...)}
					c.broken(b, l)
					return b
				}})
			}), c.check)
		})
	}
}
