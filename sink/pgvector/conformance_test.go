package pgvector

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/pgvector"
	"outgrow/testdata/servers"
)

func expected(m *memory) (out []pipetest.Expected[*pipeline.Vector]) {
	for _, n := range m.names {
		out = append(out, pipetest.Expected[*pipeline.Vector]{Unit: unit(n, m.by[n]), Records: m.by[n]})
	}
	return out
}

func same(want, got *pipeline.Vector) bool { ok, _ := vectors.Equal(want, got); return ok }

func TestConformance(t *testing.T) {
	pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Vector]{
		Target: func(t testing.TB) string { return servers.PostgreSQL(t) },
		Open: func(t testing.TB, dsn string) (pipeline.Sink[*pipeline.Vector], pipeline.Journal) {
			s, err := Open(context.Background(), config(dsn, 12))
			if err != nil {
				t.Fatal(err)
			}
			return s, s.Journal()
		},
		Records: func(testing.TB) []pipetest.Expected[*pipeline.Vector] {
			m := corpus(90, 9, 6)
			m.add("a", corpus(40, 9, 7).by["1f0e"]...)
			return expected(m)
		},
		Bad: func(testing.TB) []pipetest.Expected[*pipeline.Vector] {
			vec := []float32{1, 2, 3}
			r := rand.New(rand.NewPCG(9, 9))
			long := make([]byte, 20_000)
			for i := range long {
				long[i] = byte('0' + r.IntN(70))
			}
			nul := "a\x00b"
			m := &memory{}
			m.add("file-0c", &pipeline.Vector{ID: "too long", Embedding: make([]float32, 13)}, &pipeline.Vector{ID: "lost"},
				&pipeline.Vector{ID: "array", Metadata: []byte(`[1]`), Embedding: vec}, &pipeline.Vector{ID: "a\x00id", Embedding: vec},
				&pipeline.Vector{ID: "nul", Text: &nul, Embedding: vec})
			m.add("1f0e", &pipeline.Vector{ID: string(long), Embedding: vec}, &pipeline.Vector{ID: "number", Metadata: []byte(`{"a":1e200000}`), Embedding: vec},
				&pipeline.Vector{ID: "escape", Metadata: []byte(`{"a":"` + strings.Repeat("x", 9) + `\u0000"}`), Embedding: vec})
			return expected(m)
		},
		ReadBack: func(t testing.TB, dsn string) pipeline.Source[*pipeline.Vector] {
			return openReader(t, reader.Config{PG: config(dsn, 12).PG, Dim: 9})
		},
		Change: pipetest.ChangeVector,
		Equal:  same,
		Seeds:  6,
	})
}

func TestReaderConformance(t *testing.T) {
	cfg, src := config(servers.PostgreSQL(t), 12), corpus(90, 9, 8)
	s := open(t, cfg)
	begin(t, s)
	if err := move(t.Context(), src, s); err != nil {
		t.Fatal(err)
	}
	pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Vector]{
		Open: func(t testing.TB, limits pipeline.Limits) pipeline.Source[*pipeline.Vector] {
			return openReader(t, reader.Config{PG: cfg.PG, Limits: limits, Dim: 9, IDPage: 13})
		},
		Want:  func(testing.TB) []pipetest.Expected[*pipeline.Vector] { return expected(src) },
		Equal: same,
	})
}
