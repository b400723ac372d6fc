package pinecone

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	layout "outgrow/mappings/pinecone"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/pinecone"
	"outgrow/testdata/servers"
)

// owui runs Open WebUI's own Pinecone client on the same fake as outgrow.
type owui struct {
	t       *testing.T
	harness servers.OpenWebUI
	cfg     Config
}

func (o owui) on(cfg Config) owui { o.cfg = cfg; return o }

func (o owui) run(args ...string) {
	o.t.Helper()
	c := o.cfg.Store
	o.harness.Run(o.t, []string{"VECTOR_DB=pinecone", "PINECONE_API_KEY=" + c.APIKey.Reveal(), "PINECONE_ENVIRONMENT=" + c.Environment,
		"PINECONE_INDEX_NAME=" + c.Index, "PINECONE_DIMENSION=" + strconv.Itoa(c.Dimension), "PINECONE_CONTROLLER_HOST=" + c.Controller,
		"PINECONE_METRIC=" + c.Metric, "OWUI_PINECONE_PLAINTEXT=1"}, args...)
}

// Open WebUI writes a corpus into one index and outgrow what it wrote into
// another: the requests that made them, the records, its own client's dumps and
// its searches are the same.
func TestLayoutIsOpenWebUIsOnFake(t *testing.T) {
	o := owui{t: t, harness: servers.NewOpenWebUI(t, true)}
	fake, dir := servers.FakePinecone(t), t.TempDir()
	corpus, queries := filepath.Join(dir, "corpus"), filepath.Join(dir, "queries")
	o.run("gen", corpus, "--n", "500", "--dim", "384")
	var q []byte
	for i, l := range servers.OpenWebUILines(t, corpus) {
		if i%14 == 0 {
			b, _ := json.Marshal(map[string]any{"collection": l.Collection, "vector": l.Vector})
			q = append(append(q, b...), '\n')
		}
	}
	if err := os.WriteFile(queries, q, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, metric := range []string{"cosine", "dotproduct"} {
		t.Run(metric, func(t *testing.T) {
			o.t = t
			theirs, ours := config(fake, t.Name()+"theirs", 384), config(fake, t.Name()+"ours", 384)
			theirs.Store.Metric, ours.Store.Metric = metric, metric
			// Scores alone depend on the metric: one dump will do.
			a, b, dump := filepath.Join(dir, "a"), filepath.Join(dir, "b"), metric == "cosine"
			o.on(theirs).run("load", corpus)
			if dump {
				o.on(theirs).run("dump", "-o", a)
			}

			// As another store holds them: whole numbers are ints, and text and
			// collection_name are no metadata.
			ints := map[string]map[string]json.RawMessage{}
			for _, l := range servers.OpenWebUILines(t, corpus) {
				m := map[string]json.RawMessage{}
				_ = json.Unmarshal(l.Metadata, &m)
				ints[l.ID] = m
			}
			src := &memory{batch: 100}
			for _, l := range servers.OpenWebUILines(t, a) {
				m := map[string]json.RawMessage{}
				if err := json.Unmarshal(l.Metadata, &m); err != nil {
					t.Fatal(err)
				}
				delete(m, "text")
				delete(m, "collection_name")
				for k := range m {
					if k == "start_index" || k == "page" || k == "big" || k == "created_at" {
						m[k] = ints[l.ID][k]
					}
				}
				meta, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				src.add(l.Collection, &pipeline.Vector{ID: l.ID, Text: l.Text, Metadata: meta, Embedding: l.Vector})
			}
			j := begun(t, (&pipetest.MemoryState{}).Open())
			if err := pipeline.Copy(t.Context(), job(src, open(t, ours), j)); err != nil {
				t.Fatal(err)
			}
			equal(t, src, ours, j)
			// outgrow's reader sees in their index what their client dumped.
			if units := equal(t, src, theirs, nil); len(units) != 12 {
				t.Errorf("%d collections", len(units))
			}
			x, y := fake.Created(theirs.Store.Index), fake.Created(ours.Store.Index)
			if x["deletion_protection"] == "disabled" { // the default
				delete(x, "deletion_protection")
			}
			if tags, _ := x["tags"].(map[string]any); len(tags) == 0 {
				delete(x, "tags")
			}
			delete(x, "name")
			delete(y, "name")
			if p, q := toJSON(t, x), toJSON(t, y); p != q {
				t.Errorf("made by\n%s\n%s", p, q)
			}
			if p, q := fake.Records(theirs.Store.Index), fake.Records(ours.Store.Index); len(p) != 500 || !maps.Equal(p, q) {
				t.Errorf("%d and %d records, not the same", len(p), len(q))
			}
			if dump {
				o.on(ours).run("dump", "-o", b)
				p, _ := os.ReadFile(a)
				if q, err := os.ReadFile(b); err != nil || string(p) != string(q) {
					t.Errorf("dumps of %d and %d bytes, %v", len(p), len(q), err)
				}
			}
			o.on(theirs).run("search", queries, "-o", a+".s")
			o.on(ours).run("search", queries, "-o", b+".s")
			searches(t, ours, servers.OpenWebUILines(t, queries), servers.OpenWebUILines(t, a+".s"), servers.OpenWebUILines(t, b+".s"))
		})
	}
}

// searches compares Open WebUI's hits in both indexes with each other and with
// outgrow's own.
func searches(t *testing.T, cfg Config, queries, want, got []servers.OpenWebUILine) {
	t.Helper()
	r := openReader(t, reader.Config{Store: cfg.Store})
	found := 0
	for i, w := range want {
		found += len(w.Ids)
		if !slices.Equal(w.Ids, got[i].Ids) || !slices.Equal(w.Scores, got[i].Scores) {
			t.Errorf("query %d: %v %v, not %v %v", i, got[i].Ids, got[i].Scores, w.Ids, w.Scores)
		}
		hits, err := r.Search(t.Context(), pipeline.Unit{Name: queries[i].Collection}, [][]float32{queries[i].Vector}, 10, false)
		if err != nil || len(hits[0]) != len(w.Ids) {
			t.Fatalf("query %d: %+v, %v", i, hits, err)
		}
		for n, h := range hits[0] {
			if h.ID != w.Ids[n] || h.Score-w.Scores[n] > 1e-5 || w.Scores[n]-h.Score > 1e-5 {
				t.Errorf("query %d, hit %d: %+v, not %s %g", i, n, h, w.Ids[n], w.Scores[n])
			}
		}
	}
	if len(want) != 36 || found < 300 {
		t.Errorf("%d queries, %d hits", len(want), found)
	}
	if layout.Score(cfg.Store, 1) != 1 {
		t.Error("the best score is not 1")
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
