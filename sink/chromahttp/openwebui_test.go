package chromahttp

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/chromahttp"
	"outgrow/testdata/servers"
)

// owui runs Open WebUI's own Chroma client.
type owui struct {
	t       *testing.T
	harness servers.OpenWebUI
	cfg     env.ChromaConfig
}

func (o owui) at(cfg env.ChromaConfig) owui { o.cfg = cfg; return o }

func (o owui) run(args ...string) {
	o.t.Helper()
	o.harness.RunKept(o.t, []string{"VECTOR_DB=chroma", "CHROMA_HTTP_HOST=" + o.cfg.Host, "CHROMA_HTTP_PORT=" + strconv.Itoa(o.cfg.Port), "CHROMA_DATABASE=" + o.cfg.Database}, args...)
}

// What Open WebUI's client wrote is read by outgrow and written by it into
// another database, where Open WebUI's client finds the same: collections,
// dumps, searches. Its own searches and outgrow's are the same too.
func TestOpenWebUI(t *testing.T) {
	o := owui{t: t, harness: servers.NewOpenWebUI(t, false)}
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	theirs, ours := store(servers.Chroma(t)), store(servers.Chroma(t))
	o.run("gen", file("corpus"), "--n", "500", "--dim", "384")
	o.at(theirs).run("load", file("corpus"))
	o.at(theirs).run("dump", "-o", file("a"))

	src := openReader(t, reader.Config{Store: theirs})
	s := open(t, Config{Store: ours})
	journal := (&pipetest.MemoryState{}).Open()
	if _, err := journal.Begin(t.Context(), pipeline.Run{ID: "t"}); err != nil {
		t.Fatal(err)
	}
	transforms := []pipeline.Transform[*pipeline.Vector]{chromahttp.Transform(ours)}
	if err := pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Vector]{Source: src, Sink: s, Journal: journal, Transforms: transforms}); err != nil {
		t.Fatal(err)
	}
	units, err := pipeline.Diff(t.Context(), pipeline.Comparison[*pipeline.Vector]{Source: src, Transforms: transforms, Target: openReader(t, reader.Config{Store: ours}),
		Equal: chromahttp.Compare(ours), Journal: journal, Report: func(d pipeline.Difference) { t.Errorf("%+v", d) }})
	if err != nil || len(units) != 12 {
		t.Errorf("%d collections, %v", len(units), err)
	}
	_, changed, err := journal.Tallies(t.Context())
	if err != nil || len(changed) != 0 {
		t.Errorf("changed: %+v, %v", changed, err)
	}
	collections(t, theirs, ours)

	o.at(ours).run("dump", "-o", file("b"))
	exact, off := 0, 0.0
	a, b := servers.OpenWebUILines(t, file("a")), servers.OpenWebUILines(t, file("b"))
	if len(a) != 500 || len(b) != 500 {
		t.Fatalf("%d and %d records", len(a), len(b))
	}
	for i, w := range a {
		g := b[i]
		if w.Collection != g.Collection || w.ID != g.ID || *w.Text != *g.Text || !chromahttp.SameMetadata(w.Metadata, g.Metadata) || len(w.Vector) != len(g.Vector) {
			t.Errorf("%s %s differs", w.Collection, w.ID)
		}
		same := true
		for k := range w.Vector {
			if d := math.Abs(float64(w.Vector[k]) - float64(g.Vector[k])); d > 0 {
				same, off = false, max(off, d/math.Abs(float64(w.Vector[k])))
			}
		}
		if same {
			exact++
		}
	}
	t.Logf("%d of 500 vectors bit by bit, the others within %.3g of each element", exact, off)
	if off > chromahttp.VectorError {
		t.Errorf("an element is off by %g of itself", off)
	}

	var queries []servers.OpenWebUILine
	var text []byte
	for i, l := range a {
		if i%14 == 0 {
			queries = append(queries, l)
			one, _ := json.Marshal(map[string]any{"collection": l.Collection, "vector": l.Vector})
			text = append(append(text, one...), '\n')
		}
	}
	if err := os.WriteFile(file("q"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	o.at(theirs).run("search", file("q"), "-o", file("a.s"))
	o.at(ours).run("search", file("q"), "-o", file("b.s"))
	want, got := servers.OpenWebUILines(t, file("a.s")), servers.OpenWebUILines(t, file("b.s"))
	if len(want) != 36 || len(got) != 36 {
		t.Fatalf("%d and %d answers", len(want), len(got))
	}
	for i, q := range queries {
		hits, err := src.Search(t.Context(), pipeline.Unit{Lane: pipeline.Vectors, Name: q.Collection}, [][]float32{q.Vector}, 10, false)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(want[i].Ids, got[i].Ids) || len(hits[0]) != len(want[i].Ids) {
			t.Errorf("query %d: %v, then %v, and %d hits here", i, want[i].Ids, got[i].Ids, len(hits[0]))
			continue
		}
		for k, h := range hits[0] {
			if h.ID != want[i].Ids[k] || math.Abs(h.Score-want[i].Scores[k]) > 1e-6 || math.Abs(got[i].Scores[k]-want[i].Scores[k]) > 2e-6 {
				t.Errorf("query %d, hit %d: %v, %s %g and %g", i, k, h, want[i].Ids[k], want[i].Scores[k], got[i].Scores[k])
			}
		}
	}
}

// collections compares all that the server tells of the collections, but for
// what is each database's own.
func collections(t *testing.T, theirs, ours env.ChromaConfig) {
	t.Helper()
	plain := func(cfg env.ChromaConfig) string {
		client, err := chromahttp.Dial(t.Context(), cfg, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		all, err := client.Collections(t.Context())
		if err != nil || len(all) != 12 {
			t.Fatalf("%d collections, %v", len(all), err)
		}
		var out []string
		for _, l := range all {
			l.ID = ""
			one, _ := json.Marshal(l)
			out = append(out, string(one))
		}
		return strings.Join(out, "\n")
	}
	if a, b := plain(theirs), plain(ours); a != b {
		t.Errorf("collections\n%s\n%s", a, b)
	}
}
