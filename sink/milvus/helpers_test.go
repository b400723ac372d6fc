package milvus

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/uuid"

	"outgrow/mappings/env"
	layout "outgrow/mappings/milvus"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/milvus"
	"outgrow/testdata/servers"
)

// kinds are the layouts that Open WebUI writes: by server, by tenancy.
var kinds = []struct {
	name, server string
	shared       bool
}{
	{"real", servers.MilvusReal, false}, {"real shared", servers.MilvusReal, true},
	{"lite", servers.MilvusLite, false}, {"lite shared", servers.MilvusLite, true},
	{"bm25", servers.MilvusBM25, false}, {"bm25 shared", servers.MilvusBM25, true},
}

func store(t testing.TB, server string, shared bool) env.MilvusConfig {
	t.Helper()
	uri, db := servers.Milvus(t, server)
	return at(uri, db, shared)
}

func at(uri, db string, shared bool) env.MilvusConfig {
	return env.MilvusConfig{URI: uri, Address: strings.TrimPrefix(uri, "http://"), Database: db, IndexType: "HNSW", MetricType: "COSINE", HNSWM: 16, HNSWEf: 100,
		IVFFlatNlist: 128, DiskANNDegree: 56, DiskANNSearch: 100, Prefix: "open_webui", Multitenancy: shared, Migrations: true}
}

func open(t testing.TB, cfg Config) *Sink {
	t.Helper()
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func openReader(t testing.TB, cfg reader.Config) *reader.Source {
	t.Helper()
	s, err := reader.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func unit(name string, dim int, n int) pipeline.Unit {
	return pipeline.Unit{Lane: pipeline.Vectors, Name: name, Dim: dim, Records: int64(n)}
}

func text(s string) *string { return &s }

// records makes n records with everything that a text and metadata may hold.
func records(n, dim int, seed uint64) []*pipeline.Vector {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]*pipeline.Vector, n)
	for i := range out {
		id := make([]byte, 16)
		for j := range id {
			id[j] = byte(r.Uint32())
		}
		u, _ := uuid.FromBytes(id)
		v := &pipeline.Vector{ID: u.String(), Embedding: make([]float32, dim)}
		for j := range v.Embedding {
			v.Embedding[j] = float32(r.NormFloat64())
		}
		v.Text = text(fmt.Sprintf("text %d\n\t\"quoted\" \\ naïve 日本 😀 \u2028 <&> \x01\x7f", i))
		v.Metadata = json.RawMessage(fmt.Sprintf(`{"start_index":%d,"score":%d.0,"tiny":4.2499999999999996e-05,"big":9007199254740993,"max":9223372036854775807,"flag":true,"ключ":"Ωμέγα 😀","empty":"","q":"a\"b\\c\nd"}`, i, i))
		switch i % 11 {
		case 3:
			v.Text = text("")
		case 5:
			v.Metadata = json.RawMessage(`{}`)
		case 7:
			v.Text = text(strings.Repeat("é", 20_000))
		}
		out[i] = v
	}
	// Ids that an expression could trip over.
	odd := []string{`it's`, `say "no"`, `back\slash`, "tab\tnew\nline", "ключ", "42", "%", "x' or id != '", "\x01", "A0", "~"}
	for i, id := range odd {
		if i < n {
			out[i].ID = id
		}
	}
	return out
}

func same(want, got *pipeline.Vector) bool {
	return len(vectors.Fields(want, got, vectors.Tolerance{})) == 0
}

// corpus is three collections of two classes.
func corpus(n, dim int) []pipetest.Expected[*pipeline.Vector] {
	sets := []struct {
		name string
		n    int
	}{{"file-0b6d7c1e-5f1b-4b59-9d6a-0c4c2f7a1b11", n}, {"7f6d7c1e-5f1b-4b59-9d6a-0c4c2f7a1b22", n / 3}, {"knowledge-bases", n / 9}}
	var out []pipetest.Expected[*pipeline.Vector]
	for i, s := range sets {
		list := records(s.n, dim, uint64(i+1))
		if i > 0 {
			for j, v := range list { // ids are distinct in a class
				if len(v.ID) < 36 {
					v.ID = fmt.Sprintf("%s-%d-%d", v.ID, i, j)
				}
			}
		}
		out = append(out, pipetest.Expected[*pipeline.Vector]{Unit: unit(s.name, dim, s.n), Records: list})
	}
	return out
}

// fill writes everything with one process.
func fill(t testing.TB, s *Sink, content []pipetest.Expected[*pipeline.Vector]) {
	t.Helper()
	for _, e := range content {
		if err := s.Prepare(t.Context(), e.Unit); err != nil {
			t.Fatal(err)
		}
		out, err := s.Write(t.Context(), pipeline.Batch[*pipeline.Vector]{Part: pipeline.Part{Unit: e.Unit}, Records: e.Records})
		if err != nil || out.Written != len(e.Records) {
			t.Fatalf("%s: %+v, %v", e.Unit.Name, out, err)
		}
	}
	if _, err := s.Finish(t.Context(), func(string) {}); err != nil {
		t.Fatal(err)
	}
}

// counted loads a collection and counts its rows.
func counted(t *testing.T, s *layout.Store, name string) (int64, error) {
	t.Helper()
	if err := s.Load(t.Context(), name); err != nil {
		return 0, err
	}
	return s.Count(t.Context(), name, "")
}
