package chroma

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

func TestConformance(t *testing.T) {
	var mu sync.Mutex
	states := map[string]*pipetest.MemoryState{}
	pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Vector]{
		Target: func(t testing.TB) string {
			dir := filepath.Join(t.TempDir(), "vector_db")
			mu.Lock()
			defer mu.Unlock()
			states[dir] = &pipetest.MemoryState{}
			return dir
		},
		Open: func(t testing.TB, target string) (pipeline.Sink[*pipeline.Vector], pipeline.Journal) {
			mu.Lock()
			j := states[target].Open()
			mu.Unlock()
			s, err := Open(context.Background(), Config{Dir: target, Journal: j})
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
		ReadBack: func(t testing.TB, target string) pipeline.Source[*pipeline.Vector] { return openReader(t, target) },
		Change:   pipetest.ChangeVector,
		Equal:    same,
		Seeds:    4, // every batch is flushed to disk
	})
}
