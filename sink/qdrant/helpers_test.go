package qdrant

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mrand "math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	pb "github.com/qdrant/go-client/qdrant"

	"outgrow/mappings/env"
	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/qdrant"
	"outgrow/testdata/servers"
)

// store names a server and a prefix of the test's own, which is emptied at its
// end.
func store(tb testing.TB, multitenancy bool) env.QdrantConfig {
	tb.Helper()
	return on(tb, servers.Qdrant(tb), multitenancy)
}

func on(tb testing.TB, server *servers.QdrantServer, multitenancy bool) env.QdrantConfig {
	tb.Helper()
	u, err := url.Parse(server.URI)
	if err != nil {
		tb.Fatal(err)
	}
	var b [6]byte
	rand.Read(b[:])
	cfg := env.QdrantConfig{URI: server.URI, Host: u.Hostname(), GRPCPort: server.GRPCPort, Timeout: 60, HNSWM: 16, Prefix: "t" + hex.EncodeToString(b[:]), Multitenancy: multitenancy}
	tb.Cleanup(func() { drop(tb, cfg) })
	return cfg
}

// drop deletes everything under the prefix, of both layouts.
func drop(tb testing.TB, cfg env.QdrantConfig) {
	tb.Helper()
	ctx := context.Background()
	conn, err := qdrant.Dial(ctx, cfg)
	if err != nil {
		return // the test has stopped its server
	}
	defer conn.Close()
	found, err := conn.Find(ctx, cfg.Prefix)
	if err != nil {
		tb.Error(err)
	}
	for _, f := range found {
		if _, err := conn.Collections.Delete(ctx, &pb.DeleteCollection{CollectionName: f.Physical}); err != nil {
			tb.Error(err)
		}
	}
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
	r, err := reader.Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.Close() })
	return r
}

func unit(name string, records ...*pipeline.Vector) pipeline.Unit {
	u := pipeline.Unit{Lane: pipeline.Vectors, Name: name, Records: int64(len(records))}
	for _, r := range records {
		u.Dim = max(u.Dim, len(r.Embedding))
	}
	return u
}

// corpus makes n records of dim elements in four collections, two of them of
// one class.
func corpus(n, dim int, seed uint64) (out []pipetest.Expected[*pipeline.Vector]) {
	r := mrand.New(mrand.NewPCG(seed, 0))
	names := []string{"file-0c6c1a5e-0000-4000-8000-000000000001", "file-0c6c1a5e-0000-4000-8000-000000000002", "knowledge-bases", "user-memory-7"}
	by := make([][]*pipeline.Vector, len(names))
	for i := range n {
		by[i%len(names)] = append(by[i%len(names)], record(r, i, dim))
	}
	for i, name := range names {
		out = append(out, pipetest.Expected[*pipeline.Vector]{Unit: unit(name, by[i]...), Records: by[i]})
	}
	return out
}

func record(r *mrand.Rand, i, dim int) *pipeline.Vector {
	text := fmt.Sprintf("Stück %d of a document, 日本語 😀 \t\"quoted\" \\ end\x00", i)
	v := &pipeline.Vector{ID: id(r), Text: &text, Embedding: make([]float32, dim), Metadata: []byte(fmt.Sprintf(
		`{"file_id":"f%d","hash":"h%d","page":%d,"score":%d.0,"tiny":%g,"big":%d,"flag":true,"uni":"\u05e9 é","empty":"","nested":{"a":[1,2.50,null]},"none":null}`,
		i%4, i%3, i, i, 4.25e-07*float64(i), int64(1)<<60+int64(i)))}
	for k := range v.Embedding {
		v.Embedding[k] = float32(r.NormFloat64())
	}
	return v
}

func id(r *mrand.Rand) string {
	var u uuid.UUID
	for i := range u {
		u[i] = byte(r.Uint32())
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u.String()
}

// equal compares as verify does.
func equal(want, got *pipeline.Vector) bool {
	fields, err := qdrant.Compare(env.QdrantConfig{})(context.Background(), pipeline.Unit{}, want, got)
	return err == nil && len(fields) == 0
}

func verify(tb testing.TB, src pipeline.Source[*pipeline.Vector], cfg env.QdrantConfig, j pipeline.Journal) {
	tb.Helper()
	units, err := pipeline.Diff(context.Background(), pipeline.Comparison[*pipeline.Vector]{Source: src, Transforms: transforms(cfg),
		Target: openReader(tb, reader.Config{Store: cfg}), Equal: qdrant.Compare(cfg), Journal: j,
		Report: func(d pipeline.Difference) { tb.Errorf("%+v", d) }})
	if err != nil {
		tb.Fatal(err)
	}
	for _, u := range units {
		if u.Different() || u.Source != u.Target+u.Excused {
			tb.Errorf("%+v", u)
		}
	}
}

func transforms(cfg env.QdrantConfig) []pipeline.Transform[*pipeline.Vector] {
	return []pipeline.Transform[*pipeline.Vector]{qdrant.Transform(cfg, qdrant.Options{})}
}

func reasons(findings []pipeline.Finding) string {
	var out []string
	for _, f := range findings {
		if f.Severity == pipeline.Refuse {
			out = append(out, string(f.Reason))
		}
	}
	return strings.Join(out, " ")
}
