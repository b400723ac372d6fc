package chromahttp

import (
	"context"
	"sync"
	"testing"

	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/chromahttp"
	"outgrow/testdata/servers"
)

func TestConformance(t *testing.T) {
	var mu sync.Mutex
	stores, states := map[string]env.ChromaConfig{}, map[string]*pipetest.MemoryState{}
	pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Vector]{
		Target: func(t testing.TB) string {
			s := store(servers.Chroma(t))
			mu.Lock()
			defer mu.Unlock()
			stores[s.Database], states[s.Database] = s, &pipetest.MemoryState{}
			return s.Database
		},
		Open: func(t testing.TB, target string) (pipeline.Sink[*pipeline.Vector], pipeline.Journal) {
			mu.Lock()
			j := states[target].Open()
			mu.Unlock()
			s, err := Open(context.Background(), Config{Store: stores[target], Journal: j})
			if err != nil {
				t.Fatal(err)
			}
			return s, j
		},
		Unlock: func(_ testing.TB, target string, _ pipeline.Journal) { states[target].Break() },
		Records: func(testing.TB) []pipetest.Expected[*pipeline.Vector] {
			all := corpus(90, 9, 6)
			all[1].Records = append(all[1].Records, corpus(40, 9, 7)[1].Records...)
			return all
		},
		Bad: func(testing.TB) []pipetest.Expected[*pipeline.Vector] {
			vec := make([]float32, 9)
			vec[3] = 1
			huge := make([]float32, 9)
			huge[0] = 3e38
			return []pipetest.Expected[*pipeline.Vector]{
				{Unit: unit("file-0c", 9), Records: []*pipeline.Vector{vector("short", "", "", 1, 2), vector("lost", "", ""), vector("", "no id", "", vec...),
					vector("array", "", "[1]", vec...), vector("huge", "", "", huge...), vector("chroma", "", `{"chroma:document":"x"}`, vec...)}},
				{Unit: unit("1f0e", 9), Records: []*pipeline.Vector{vector("int", "", `{"a":18446744073709551616}`, vec...), vector("float", "", `{"a":1e400}`, vec...),
					vector("dollar", "", `{"$x":1}`, vec...), vector("empty key", "", `{"":1}`, vec...), vector("hash", "", `{"#x":1}`, vec...)}},
			}
		},
		ReadBack: func(t testing.TB, target string) pipeline.Source[*pipeline.Vector] {
			return openReader(t, reader.Config{Store: stores[target]})
		},
		Change: pipetest.ChangeVector,
		Equal:  same,
		Seeds:  3,
	})
}

func TestReaderConformance(t *testing.T) {
	cfg := store(servers.Chroma(t))
	all := corpus(90, 9, 8)
	s := open(t, Config{Store: cfg})
	for _, e := range all {
		if err := s.Prepare(t.Context(), e.Unit); err != nil {
			t.Fatal(err)
		}
		if out, err := s.Write(t.Context(), batch(e.Unit, e.Records...)); err != nil || out.Written != len(e.Records) {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	for name, sortBytes := range map[string]int{"in memory": 0, "on disk": 150} {
		t.Run(name, func(t *testing.T) {
			pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Vector]{
				Open: func(t testing.TB, limits pipeline.Limits) pipeline.Source[*pipeline.Vector] {
					return openReader(t, reader.Config{Store: cfg, Limits: limits, Temp: t.TempDir(), SortBytes: sortBytes})
				},
				Want:  func(testing.TB) []pipetest.Expected[*pipeline.Vector] { return all },
				Equal: same,
			})
		})
	}
}
