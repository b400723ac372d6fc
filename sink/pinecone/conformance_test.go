package pinecone

import (
	"context"
	"strings"
	"testing"

	"outgrow/mappings/env"
	layout "outgrow/mappings/pinecone"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/pinecone"
	"outgrow/testdata/servers"
)

func expected(m *memory) (out []pipetest.Expected[*pipeline.Vector]) {
	for _, n := range m.names {
		out = append(out, pipetest.Expected[*pipeline.Vector]{Unit: unit(n, m.by[n]), Records: m.by[n]})
	}
	return out
}

func same(want, got *pipeline.Vector) bool {
	fields, err := layout.Compare(env.PineconeConfig{})(context.Background(), pipeline.Unit{}, want, got)
	return err == nil && len(fields) == 0
}

// against the fake, with the local journal that such a lane has.
func TestConformanceOnFake(t *testing.T) {
	fake := servers.FakePinecone(t)
	pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Vector]{
		Open: func(t testing.TB, target string) (pipeline.Sink[*pipeline.Vector], pipeline.Journal) {
			j, err := localstate.Open(context.Background(), target, pipeline.Vectors)
			if err != nil {
				t.Fatal(err)
			}
			cfg := config(fake, target, 9)
			cfg.Journal = j
			s, err := Open(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			return s, j
		},
		Records: func(testing.TB) []pipetest.Expected[*pipeline.Vector] {
			m := corpus(90, 9, 6)
			m.add("a", corpus(40, 9, 7).by["1f0e"]...)
			return expected(m)
		},
		Bad: func(testing.TB) []pipetest.Expected[*pipeline.Vector] {
			vec := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9}
			long := strings.Repeat("x", layout.MaxMetadata)
			m := &memory{}
			m.add("file-0c", &pipeline.Vector{ID: "other dimension", Embedding: make([]float32, 13)}, &pipeline.Vector{ID: "lost"},
				&pipeline.Vector{ID: "array", Metadata: []byte(`[1]`), Embedding: vec}, &pipeline.Vector{ID: "a\x00id", Embedding: vec},
				&pipeline.Vector{ID: "text", Text: &long, Embedding: vec})
			m.add("1f0e", &pipeline.Vector{ID: strings.Repeat("i", 513), Embedding: vec}, &pipeline.Vector{ID: "number", Metadata: []byte(`{"a":1e999}`), Embedding: vec},
				&pipeline.Vector{ID: "nested", Metadata: []byte(`{"a":{"b":1}}`), Embedding: vec}, &pipeline.Vector{ID: "ж", Embedding: vec},
				&pipeline.Vector{ID: "zeros", Embedding: make([]float32, 9)}, &pipeline.Vector{ID: "$", Metadata: []byte(`{"$in":1}`), Embedding: vec})
			return expected(m)
		},
		ReadBack: func(t testing.TB, target string) pipeline.Source[*pipeline.Vector] {
			return openReader(t, reader.Config{Store: config(fake, target, 9).Store})
		},
		Change: pipetest.ChangeVector,
		Equal:  same,
		Seeds:  6,
	})
}

func TestReaderConformanceOnFake(t *testing.T) {
	cfg, src := config(servers.FakePinecone(t), t.Name(), 9), corpus(390, 9, 8)
	s := open(t, cfg)
	if err := pipeline.Copy(t.Context(), job(src, s, begun(t, (&pipetest.MemoryState{}).Open()))); err != nil {
		t.Fatal(err)
	}
	pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Vector]{
		Open: func(t testing.TB, limits pipeline.Limits) pipeline.Source[*pipeline.Vector] {
			return openReader(t, reader.Config{Store: cfg.Store, Limits: limits})
		},
		Want:  func(testing.TB) []pipetest.Expected[*pipeline.Vector] { return expected(src) },
		Equal: same,
	})
}
