package chroma

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/pipeline"
	reader "outgrow/source/chroma"
	"outgrow/testdata/servers"
)

// What Open WebUI's client wrote into its embedded store is written by outgrow
// into another data folder, where Open WebUI's client finds the same: dumps and
// searches.
func TestOpenWebUI(t *testing.T) {
	harness := servers.NewOpenWebUI(t, false)
	dir, theirs, ours := t.TempDir(), t.TempDir(), t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	run := func(data string, args ...string) {
		t.Helper()
		harness.Run(t, []string{"VECTOR_DB=chroma", "DATA_DIR=" + data}, args...)
	}
	run(theirs, "gen", file("corpus"), "--n", "500", "--dim", "384")
	run(theirs, "load", file("corpus"))

	src, err := reader.Open(t.Context(), reader.Config{Dir: filepath.Join(theirs, "vector_db"), Private: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	j := begun(t)
	s := open(t, Config{Dir: filepath.Join(ours, "vector_db"), Journal: j})
	if err := pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Vector]{Source: src, Sink: s, Journal: j,
		Transforms: []pipeline.Transform[*pipeline.Vector]{chromahttp.Transform(env.ChromaConfig{})}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	refused, changed, err := j.Tallies(t.Context())
	if err != nil || len(changed)+len(refused) != 0 {
		t.Errorf("changed: %+v, refused: %+v, %v", changed, refused, err)
	}
	compareAll(t, src, filepath.Join(ours, "vector_db"), 500)

	run(theirs, "dump", "-o", file("a"))
	run(ours, "dump", "-o", file("b"))
	a, b := servers.OpenWebUILines(t, file("a")), servers.OpenWebUILines(t, file("b"))
	if len(a) != 500 || len(b) != 500 {
		t.Fatalf("%d and %d records", len(a), len(b))
	}
	var queries []byte
	for i, w := range a {
		g := b[i]
		if w.Collection != g.Collection || w.ID != g.ID || *w.Text != *g.Text || !chromahttp.SameMetadata(w.Metadata, g.Metadata) || !slices.Equal(w.Vector, g.Vector) {
			t.Errorf("%s %s differs", w.Collection, w.ID)
		}
		if i%14 == 0 {
			one, err := json.Marshal(map[string]any{"collection": w.Collection, "vector": w.Vector})
			if err != nil {
				t.Fatal(err)
			}
			queries = append(append(queries, one...), '\n')
		}
	}
	if err := os.WriteFile(file("q"), queries, 0o600); err != nil {
		t.Fatal(err)
	}
	run(theirs, "search", file("q"), "-o", file("a.s"))
	run(ours, "search", file("q"), "-o", file("b.s"))
	want, got := servers.OpenWebUILines(t, file("a.s")), servers.OpenWebUILines(t, file("b.s"))
	if len(want) != 36 || len(got) != 36 {
		t.Fatalf("%d and %d answers", len(want), len(got))
	}
	for i := range want {
		if !slices.Equal(want[i].Ids, got[i].Ids) {
			t.Errorf("query %d: %v, then %v", i, want[i].Ids, got[i].Ids)
			continue
		}
		for k := range want[i].Scores {
			if math.Abs(want[i].Scores[k]-got[i].Scores[k]) > 1e-6 {
				t.Errorf("query %d, hit %d: %g, then %g", i, k, want[i].Scores[k], got[i].Scores[k])
			}
		}
	}
}
