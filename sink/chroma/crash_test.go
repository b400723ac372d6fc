package chroma

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/pipeline/pipetest"
)

// crashCorpus is what the child of the kill test copies.
func crashCorpus() *pipetest.Memory[*pipeline.Vector] {
	return pipetest.NewMemory(pipeline.Limits{Records: 100}, corpus(12_000, 16, 11)...)
}

// TestMain plays the child of the kill test.
func TestMain(m *testing.M) {
	dir := os.Getenv("CRASH_TEST_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	pipetest.Doomed()
	if err := crashCopy(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func crashCopy(ctx context.Context, dir string) error {
	j, err := localstate.Open(ctx, filepath.Join(dir, "state"), pipeline.Vectors)
	if err != nil {
		return err
	}
	defer j.Close()
	if _, err := j.Begin(ctx, pipeline.Run{ID: "t", Source: pipeline.Identity{Stable: "s", State: "1"}, Target: "t"}); err != nil {
		return err
	}
	s, err := Open(ctx, Config{Dir: filepath.Join(dir, "vector_db"), Journal: j})
	if err != nil {
		return err
	}
	defer s.Close()
	return pipeline.Copy(ctx, pipeline.Job[*pipeline.Vector]{Source: crashCorpus(), Sink: s, Journal: j,
		Transforms: []pipeline.Transform[*pipeline.Vector]{chromahttp.Transform(env.ChromaConfig{})}, Workers: 3, PartBytes: 500_000})
}

// The writer's process is killed at random moments and started again: in the
// end everything is there once.
func TestKilledAtRandomMoments(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "vector_db")
	pipetest.KillChild(t, []string{"CRASH_TEST_DIR=" + dir}, 50*time.Millisecond, 900*time.Millisecond)
	if err := crashCopy(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(store)
	if err != nil || len(left) != 1 || left[0].Name() != fileSQLite {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for query, want := range map[string]string{
		"PRAGMA integrity_check":                                 "ok",
		"SELECT count(*) FROM embeddings":                        "12000",
		"SELECT count(*) FROM embedding_fulltext_search_docsize": "12000",
		"SELECT count(*) FROM embeddings_queue":                  "12000",
		"SELECT count(*) FROM embeddings_queue q JOIN embeddings e USING (seq_id) WHERE q.id = e.embedding_id": "12000",
		"SELECT count(*) FROM sqlite_master WHERE type = 'index' AND sql > ''":                                 "7",
	} {
		if got := table(t, store, query); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, not %s", query, got, want)
		}
	}
	compareAll(t, crashCorpus(), store, 12_000)
}

// compareAll verifies a store with its reader; every vector bit by bit.
func compareAll(t *testing.T, src pipeline.Source[*pipeline.Vector], store string, n int64) {
	t.Helper()
	units, err := pipeline.Diff(t.Context(), pipeline.Comparison[*pipeline.Vector]{Source: src,
		Transforms: []pipeline.Transform[*pipeline.Vector]{chromahttp.Transform(env.ChromaConfig{})},
		Target:     openReader(t, store), Journal: (&pipetest.MemoryState{}).Open(),
		Equal: func(ctx context.Context, u pipeline.Unit, want, got *pipeline.Vector) ([]pipeline.Field, error) {
			fields, err := chromahttp.Compare(env.ChromaConfig{})(ctx, u, want, got)
			if err == nil && len(fields) == 0 && !same(want, got) {
				fields = append(fields, pipeline.Field{Column: "vector", Detail: "not bit by bit"})
			}
			return fields, err
		},
		Report: func(d pipeline.Difference) { t.Errorf("%+v", d) }})
	if err != nil {
		t.Fatal(err)
	}
	var all int64
	for _, u := range units {
		if all += u.Target; u.Different() || u.Source != u.Target {
			t.Errorf("%+v", u)
		}
	}
	if all != n {
		t.Errorf("%d records, not %d", all, n)
	}
}
