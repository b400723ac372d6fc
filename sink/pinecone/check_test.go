package pinecone

import (
	"strings"
	"testing"

	sdk "github.com/pinecone-io/go-pinecone/v5/pinecone"

	layout "outgrow/mappings/pinecone"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/pinecone"
	"outgrow/testdata/servers"
)

func found(t *testing.T, c pipeline.Checker, units ...pipeline.Unit) map[pipeline.Reason]pipeline.Finding {
	t.Helper()
	list, err := c.Check(t.Context(), units)
	if err != nil {
		t.Fatal(err)
	}
	out := map[pipeline.Reason]pipeline.Finding{}
	for _, f := range list {
		if f.Severity == pipeline.Refuse && f.Fix == "" {
			t.Errorf("no fix: %+v", f)
		}
		out[f.Reason] = f
	}
	return out
}

func TestCheckOnFake(t *testing.T) {
	fake := servers.OwnFakePinecone(t)
	cfg := config(fake, "a", 9)
	if got := found(t, open(t, cfg), pipeline.Unit{Dim: 9}); len(got) != 1 || got[NoIndex].Severity != pipeline.Note || fake.Created(cfg.Store.Index) != nil {
		t.Errorf("before the index is there: %+v", got)
	}
	src := corpus(150, 9, 1)
	copied(t, src, cfg)
	body := fake.Created(cfg.Store.Index)
	spec, _ := body["spec"].(map[string]any)
	serverless, _ := spec["serverless"].(map[string]any)
	if body["metric"] != "cosine" || body["dimension"] != 9.0 || body["vector_type"] != "dense" || serverless["cloud"] != "aws" || serverless["region"] != "us-east-1" {
		t.Errorf("the index was made by %+v", body)
	}
	got := found(t, open(t, cfg), pipeline.Unit{Dim: 9})
	if f := got[InUse]; f.Severity != pipeline.Refuse || f.Count != 150 || len(got) != 1 {
		t.Errorf("%+v", got)
	}
	other := cfg
	other.Store.Dimension, other.Store.Metric = 12, "dotproduct"
	s := open(t, other)
	got = found(t, s, pipeline.Unit{Name: "a", Dim: 12})
	if got[layout.Dimension].Severity != pipeline.Refuse || got[layout.Metric].Severity != pipeline.Refuse {
		t.Errorf("%+v", got)
	}
	if err := s.Prepare(t.Context(), pipeline.Unit{}); pipeline.ExitCode(err) != pipeline.ExitUsage || pipeline.HintOf(err) == "" {
		t.Errorf("prepared an index of another dimension: %v", err)
	}
	from := found(t, openReader(t, reader.Config{Store: other.Store}))
	if from[layout.Dimension].Severity != pipeline.Warn || from[layout.Metric].Severity != pipeline.Warn {
		t.Errorf("the source says %+v", from)
	}
}

func TestDimensionsOfTheUnitsOnFake(t *testing.T) {
	s := open(t, config(servers.FakePinecone(t), t.Name(), 9))
	if got := found(t, s, pipeline.Unit{Name: "a", Dim: 768}, pipeline.Unit{Name: "b"}); got[layout.Dimension].Severity != pipeline.Refuse || !strings.Contains(got[layout.Dimension].Fix, "768") {
		t.Errorf("no collection fits: %+v", got)
	}
	if got := found(t, s, pipeline.Unit{Name: "a", Dim: 768, Records: 7}, pipeline.Unit{Name: "b", Dim: 9}); got[layout.Dimension].Severity != pipeline.Warn || got[layout.Dimension].Count != 7 {
		t.Errorf("one collection does not fit: %+v", got)
	}
}

// foreign puts records of another application into the index.
func foreign(t *testing.T, s *Sink, ids ...string) {
	t.Helper()
	for _, id := range ids {
		v, _, err := layout.Encode(&pipeline.Vector{ID: id, Embedding: []float32{1, 2, 3, 4, 5, 6, 7, 8, 9}}, "x")
		if err != nil {
			t.Fatal(err)
		}
		delete(v.Metadata.Fields, layout.CollectionKey)
		if _, err := s.conn.UpsertVectors(t.Context(), []*sdk.Vector{v}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEmptyOnFake(t *testing.T) {
	fake := servers.OwnFakePinecone(t)
	cfg := config(fake, "a", 9)
	s := open(t, cfg)
	if err := s.Empty(t.Context()); err != nil {
		t.Errorf("nothing is there: %v", err)
	}
	if err := s.Prepare(t.Context(), pipeline.Unit{Dim: 9}); err != nil {
		t.Fatal(err)
	}
	foreign(t, s, "other-1", "other-2")
	if got := found(t, s); got[Foreign].Severity != pipeline.Warn || got[Foreign].Count != 2 || len(got) != 1 {
		t.Errorf("only others' records: %+v", got)
	}
	copied(t, corpus(250, 9, 1), cfg)
	for range 2 {
		if err := s.Empty(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := fake.Records(cfg.Store.Index); len(got) != 2 || got["other-1"] == "" {
			t.Errorf("left: %v", got)
		}
	}
	r := openReader(t, reader.Config{Store: cfg.Store})
	units, err := r.Units(t.Context())
	if err != nil || len(units) != 0 || found(t, r)[reader.Foreign].Count != 2 {
		t.Errorf("%+v, %v", units, err)
	}
}

// A record that another collection holds is neither deleted nor overwritten.
func TestOthersIDsOnFake(t *testing.T) {
	fake := servers.FakePinecone(t)
	cfg := config(fake, t.Name(), 9)
	src := corpus(50, 9, 1)
	j := begun(t, (&pipetest.MemoryState{}).Open())
	cfg.Journal = j
	s := open(t, cfg)
	if err := pipeline.Copy(t.Context(), job(src, s, j)); err != nil {
		t.Fatal(err)
	}
	other := src.by["1f0e"][0]
	if err := s.Delete(t.Context(), pipeline.Unit{Lane: pipeline.Vectors, Name: "file-0c"}, []string{other.ID}); err != nil {
		t.Fatal(err)
	}
	out, err := s.Put(t.Context(), pipeline.Unit{Lane: pipeline.Vectors, Name: "file-0c"}, []*pipeline.Vector{other})
	if err != nil || out.Written != 0 || len(out.Refused) != 1 || out.Refused[0].Reason != pipeline.Duplicate {
		t.Errorf("%+v, %v", out, err)
	}
	equal(t, src, cfg, j)
}

// Requests stay below 1000 records and 2 MB, whatever the batch is.
func TestUpsertSizesOnFake(t *testing.T) {
	fake := servers.FakePinecone(t)
	cfg := config(fake, t.Name(), 9)
	cfg.UpsertRecords = 5000
	src := corpus(1200, 9, 1)
	for i, v := range src.by["1f0e"] {
		text := strings.Repeat("y", 30_000+i)
		v.Text = &text
	}
	src.batch = 5000
	j := copied(t, src, cfg)
	if refused, _, err := j.Tallies(t.Context()); err != nil || len(refused) > 0 {
		t.Errorf("%+v, %v", refused, err)
	}
	equal(t, src, cfg, j)
}

// What the server alone refuses is found by halving; a server that refuses
// everything is no reason to put everything into the quarantine.
func TestServersRefusalsOnFake(t *testing.T) {
	cfg := config(servers.FakePinecone(t), t.Name(), 9)
	s := open(t, cfg)
	u := pipeline.Unit{Lane: pipeline.Vectors, Name: "a", Dim: 9}
	if err := s.Prepare(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	w, err := s.writer(u)
	if err != nil {
		t.Fatal(err)
	}
	records, err := w.screen(corpus(64, 9, 1).by["1f0e"])
	if err != nil {
		t.Fatal(err)
	}
	short := (*records[5].out.Values)[:8]
	records[5].out.Values = &short
	if err := w.upsert(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	if w.out.Written != len(records)-1 || len(w.out.Refused) != 1 || w.out.Refused[0].Key != records[5].in.ID || !strings.Contains(w.out.Refused[0].Detail, "dimension 8") {
		t.Errorf("%+v", w.out)
	}
	s.cfg.Store.Dimension = 8 // as if the index were another one
	batch := pipeline.Batch[*pipeline.Vector]{Part: pipeline.Part{Unit: u}, Records: corpus(10, 8, 1).by["1f0e"]}
	if out, err := s.Write(t.Context(), batch); err == nil || pipeline.IsRetryable(err) || len(out.Refused) > 0 {
		t.Errorf("%+v, %v", out, err)
	}
}
