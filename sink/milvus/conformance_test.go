package milvus

import (
	"encoding/json"
	"math"
	"strings"
	"sync"
	"testing"

	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/milvus"
	"outgrow/testdata/servers"
)

func TestConformance(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel() // a server takes its time over each
			var mu sync.Mutex
			targets := map[string]env.MilvusConfig{}
			journals := map[string]*pipetest.MemoryState{}
			config := func(target string) env.MilvusConfig {
				mu.Lock()
				defer mu.Unlock()
				return targets[target]
			}
			seeds := 3
			if k.server == servers.MilvusReal {
				seeds = 1 // a new target takes it some seconds
			}
			pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Vector]{
				Target: func(t testing.TB) string {
					cfg := store(t, k.server, k.shared)
					mu.Lock()
					defer mu.Unlock()
					targets[cfg.Database], journals[cfg.Database] = cfg, &pipetest.MemoryState{}
					return cfg.Database
				},
				Open: func(t testing.TB, target string) (pipeline.Sink[*pipeline.Vector], pipeline.Journal) {
					j := journals[target].Open()
					return open(t, Config{Store: config(target), Journal: j}), j
				},
				Unlock:  func(_ testing.TB, target string, _ pipeline.Journal) { journals[target].Break() },
				Records: func(testing.TB) []pipetest.Expected[*pipeline.Vector] { return corpus(30, 8) },
				Bad: func(testing.TB) []pipetest.Expected[*pipeline.Vector] {
					e := corpus(30, 8)
					vec := []float32{1, 2, 3, 4, 5, 6, 7, 8}
					bad := []*pipeline.Vector{{ID: "lost"}, {ID: "short", Embedding: vec[:7]}, {ID: "nan", Embedding: []float32{1, 2, 3, 4, 5, 6, 7, float32(math.NaN())}},
						{ID: "array", Embedding: vec, Metadata: json.RawMessage(`[1]`)}, {ID: "beyond", Embedding: vec, Metadata: json.RawMessage(`{"n":18446744073709551616}`)},
						{ID: "long", Embedding: vec, Text: text(strings.Repeat("x", 65536))}}
					if k.shared {
						bad = append(bad, &pipeline.Vector{ID: strings.Repeat("i", 37), Embedding: vec})
					}
					return []pipetest.Expected[*pipeline.Vector]{{Unit: e[0].Unit, Records: bad}}
				},
				ReadBack: func(t testing.TB, target string) pipeline.Source[*pipeline.Vector] {
					return openReader(t, reader.Config{Store: config(target)})
				},
				Change: pipetest.ChangeVector,
				Equal:  same,
				Seeds:  seeds,
			})
		})
	}
}

func TestReaderConformance(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel() // a server takes its time over each
			cfg, content := store(t, k.server, k.shared), corpus(60, 8)
			fill(t, open(t, Config{Store: cfg}), content)
			pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Vector]{
				Open: func(t testing.TB, limits pipeline.Limits) pipeline.Source[*pipeline.Vector] {
					return openReader(t, reader.Config{Store: cfg, Limits: limits})
				},
				Want:  func(testing.TB) []pipetest.Expected[*pipeline.Vector] { return content },
				Equal: same,
			})
		})
	}
}
