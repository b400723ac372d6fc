package chromahttp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/chromahttp"
	"outgrow/testdata/servers"
)

func store(s *servers.ChromaServer) env.ChromaConfig {
	return env.ChromaConfig{Host: s.Host, Port: s.Port, Tenant: "default_tenant", Database: s.Database}
}

func open(tb testing.TB, cfg Config) *Sink {
	tb.Helper()
	s, err := Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func openReader(tb testing.TB, cfg reader.Config) *reader.Source {
	tb.Helper()
	s, err := reader.Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func unit(name string, dim int) pipeline.Unit {
	return pipeline.Unit{Lane: pipeline.Vectors, Name: name, Dim: dim}
}

func batch(u pipeline.Unit, records ...*pipeline.Vector) pipeline.Batch[*pipeline.Vector] {
	return pipeline.Batch[*pipeline.Vector]{Part: pipeline.Part{Unit: u}, Next: "n", Records: records}
}

func vector(id, text, metadata string, elements ...float32) *pipeline.Vector {
	v := &pipeline.Vector{ID: id, Text: &text, Embedding: elements}
	if metadata != "" {
		v.Metadata = []byte(metadata)
	}
	return v
}

// corpus fills collections with n records in all, of dim elements.
func corpus(n, dim int, seed uint64) []pipetest.Expected[*pipeline.Vector] {
	r := rand.New(rand.NewPCG(seed, 0))
	var out []pipetest.Expected[*pipeline.Vector]
	for _, name := range []string{"file-0c", "1f0e", "user-memory-7", "knowledge-bases", "a.b_C"} {
		out = append(out, pipetest.Expected[*pipeline.Vector]{Unit: unit(name, dim)})
	}
	for i := range n {
		v := vector(fmt.Sprintf("%08x-%04x ж", r.Uint32(), i), fmt.Sprintf("Stück %d of a document, 日本語 😀 \t\"quoted\" \\ <b> \x00 end", i),
			fmt.Sprintf(`{"file_id":"f%d","page":%d,"score":%d.0,"tiny":%g,"big":%d,"flag":true,"uni":"\u05e9 é\u0000","empty":""}`, i%4, i, i, 4.25e-07*float64(i), int64(1)<<60+int64(i)))
		if i%9 == 4 {
			v.Metadata = nil
		}
		for range dim {
			v.Embedding = append(v.Embedding, float32(r.NormFloat64()*0.05))
		}
		e := &out[i%len(out)]
		e.Records = append(e.Records, v)
		e.Unit.Records++
	}
	return out
}

// same compares as verify does.
func same(want, got *pipeline.Vector) bool {
	fields, err := chromahttp.Compare(env.ChromaConfig{})(context.Background(), pipeline.Unit{}, want, got)
	return err == nil && len(fields) == 0
}

func read(tb testing.TB, s *reader.Source, u pipeline.Unit, ids ...string) map[string]*pipeline.Vector {
	tb.Helper()
	got, err := s.Get(context.Background(), u, ids)
	if err != nil {
		tb.Fatal(err)
	}
	return got
}
