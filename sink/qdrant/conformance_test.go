package qdrant

import (
	"context"
	"testing"

	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/qdrant"
)

func both(t *testing.T, f func(*testing.T, bool)) {
	for name, multitenancy := range map[string]bool{"plain": false, "multitenancy": true} {
		t.Run(name, func(t *testing.T) { f(t, multitenancy) })
	}
}

func TestConformance(t *testing.T) {
	both(t, func(t *testing.T, multitenancy bool) {
		type place struct {
			cfg   env.QdrantConfig
			state string
		}
		targets := map[string]place{}
		pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Vector]{
			Target: func(t testing.TB) string {
				p := place{store(t, multitenancy), t.TempDir()}
				targets[p.cfg.Prefix] = p
				return p.cfg.Prefix
			},
			Open: func(t testing.TB, target string) (pipeline.Sink[*pipeline.Vector], pipeline.Journal) {
				p := targets[target]
				j, err := localstate.Open(context.Background(), p.state, pipeline.Vectors)
				if err != nil {
					t.Fatal(err)
				}
				s, err := Open(context.Background(), Config{Store: p.cfg, Journal: j})
				if err != nil {
					t.Fatal(err)
				}
				return s, j
			},
			Records: func(testing.TB) []pipetest.Expected[*pipeline.Vector] { return corpus(45, 5, 6)[:3] },
			Bad: func(testing.TB) []pipetest.Expected[*pipeline.Vector] {
				vec := []float32{1, 2, 3, 4, 5}
				nan := []float32{1, 2, 3, 4, 0}
				nan[4] /= nan[4]
				bad := func(id string, metadata string, v []float32) *pipeline.Vector {
					r := &pipeline.Vector{ID: id, Embedding: v}
					if metadata != "" {
						r.Metadata = []byte(metadata)
					}
					return r
				}
				one := []*pipeline.Vector{bad("42", "", vec), bad("6a2f41a3-c54c-4ce8-98fd-0b0a1e5a0c11", "", nil), bad("6a2f41a3-c54c-4ce8-98fd-0b0a1e5a0c12", "", vec[:4]),
					bad("6a2f41a3-c54c-4ce8-98fd-0b0a1e5a0c14", `{"a":1e400}`, vec), bad("6a2f41a3-c54c-4ce8-98fd-0b0a1e5a0c15", `[1]`, vec)}
				u := corpus(45, 5, 6)[0].Unit
				return []pipetest.Expected[*pipeline.Vector]{{Unit: u, Records: one}}
			},
			ReadBack: func(t testing.TB, target string) pipeline.Source[*pipeline.Vector] {
				return openReader(t, reader.Config{Store: targets[target].cfg})
			},
			Change: pipetest.ChangeVector,
			Equal:  equal,
			Seeds:  3,
		})
	})
}

func TestReaderConformance(t *testing.T) {
	both(t, func(t *testing.T, multitenancy bool) {
		cfg, want := store(t, multitenancy), corpus(90, 9, 8)
		src := pipetest.NewMemory(pipeline.Limits{Records: 7}, want...)
		if err := pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Vector]{Source: src, Sink: open(t, Config{Store: cfg}), Journal: begun(t)}); err != nil {
			t.Fatal(err)
		}
		pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Vector]{
			Open: func(t testing.TB, limits pipeline.Limits) pipeline.Source[*pipeline.Vector] {
				return openReader(t, reader.Config{Store: cfg, Limits: limits})
			},
			Want:  func(testing.TB) []pipetest.Expected[*pipeline.Vector] { return want },
			Equal: equal,
		})
	})
}

// begun is a journal of a run that has begun.
func begun(tb testing.TB) pipeline.Journal {
	tb.Helper()
	j, err := localstate.Open(context.Background(), tb.TempDir(), pipeline.Vectors)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { j.Close() })
	if _, err := j.Begin(context.Background(), pipeline.Run{ID: "t", Source: pipeline.Identity{Stable: "s", State: "1"}, Target: "t"}); err != nil {
		tb.Fatal(err)
	}
	return j
}
