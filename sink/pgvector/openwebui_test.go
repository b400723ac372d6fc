package pgvector

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	reader "outgrow/source/pgvector"
	"outgrow/testdata/servers"
)

// owui runs Open WebUI's own pgvector client.
type owui struct {
	t       *testing.T
	harness servers.OpenWebUI
	cfg     env.PGVectorConfig
}

func (o owui) run(args ...string) {
	o.t.Helper()
	lists := 100
	if o.cfg.IVFFlatLists == 5 {
		lists = 5
	}
	o.harness.Run(o.t, []string{"VECTOR_DB=pgvector", "PGVECTOR_DB_URL=" + strings.Replace(o.cfg.URL.Reveal(), "postgres://", "postgresql://", 1),
		"PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH=1536", "PGVECTOR_USE_HALFVEC=" + strconv.FormatBool(o.cfg.HalfVec), "PGVECTOR_IVFFLAT_LISTS=" + strconv.Itoa(lists)}, args...)
}

// Open WebUI writes a corpus into one database and outgrow what it dumped into
// another: tables, indexes, dumps and search results are the same.
func TestLayoutIsOpenWebUIs(t *testing.T) {
	harness := servers.NewOpenWebUI(t, false)
	dir := t.TempDir()
	corpus, queries := filepath.Join(dir, "corpus"), filepath.Join(dir, "queries")
	owui{t: t, harness: harness}.run("gen", corpus, "--n", "500", "--dim", "384")
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
	for _, c := range []struct {
		name  string
		lists int
		half  bool
		exact bool // no vector index: searches are deterministic
	}{{"default", 100, false, true}, {"ivfflat", 5, false, false}, {"halfvec", 100, true, false}} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(servers.PostgreSQL(t), 1536)
			cfg.PG.IVFFlatLists, cfg.PG.HalfVec = c.lists, c.half
			theirs := owui{t, harness, cfg.PG}
			theirs.cfg.URL = env.Secret(servers.PostgreSQL(t))
			ours := owui{t, harness, cfg.PG}
			a, b := filepath.Join(dir, c.name+".a"), filepath.Join(dir, c.name+".b")
			theirs.run("load", corpus)
			theirs.run("dump", "-o", a) // this second start makes the ivfflat index

			src := &memory{batch: 100}
			for _, l := range servers.OpenWebUILines(t, a) {
				v := &pipeline.Vector{ID: l.ID, Text: l.Text, Metadata: l.Metadata, Embedding: l.Vector}
				if len(v.Embedding) == 1536 { // padding, as a reader of the true dimension takes it off
					v.Embedding = v.Embedding[:384]
				}
				src.add(l.Collection, v)
			}
			s := open(t, cfg)
			begin(t, s)
			if err := move(t.Context(), src, s); err != nil {
				t.Fatal(err)
			}
			equal(t, src, s)
			connA, connB := connect(t, theirs.cfg.URL.Reveal()), connect(t, cfg.PG.URL.Reveal())
			if x, y := indexes(t, connA), indexes(t, connB); !maps.Equal(x, y) {
				t.Errorf("indexes\n%q\n%q", x, y)
			}
			const columns = `SELECT json_agg(json_build_array(attname, format_type(atttypid, atttypmod), attnotnull, atthasdef, attstorage) ORDER BY attnum)::text
				FROM pg_attribute WHERE attrelid = 'document_chunk'::regclass AND attnum > 0`
			if x, y := scan[string](t, connA, columns), scan[string](t, connB, columns); x != y {
				t.Errorf("columns\n%s\n%s", x, y)
			}
			const content = "SELECT md5(string_agg(d::text, E'\\n' ORDER BY id)) FROM document_chunk d"
			if x, y := scan[string](t, connA, content), scan[string](t, connB, content); x != y {
				t.Error("the tables' contents differ")
			}
			// outgrow's reader sees in their database what their client dumped.
			r := openReader(t, reader.Config{PG: theirs.cfg, Dim: 384})
			units, err := pipeline.Diff(t.Context(), pipeline.Comparison[*pipeline.Vector]{Source: src, Target: r, Equal: vectors.Compare(cfg.PG),
				Report: func(d pipeline.Difference) { t.Errorf("%+v", d) }})
			if err != nil || len(units) != 12 {
				t.Errorf("%d collections, %v", len(units), err)
			}
			ours.run("dump", "-o", b)
			x, _ := os.ReadFile(a)
			if y, err := os.ReadFile(b); err != nil || string(x) != string(y) {
				t.Errorf("dumps of %d and %d bytes, %v", len(x), len(y), err)
			}
			theirs.run("search", queries, "-o", a+".s")
			ours.run("search", queries, "-o", b+".s")
			found, same := 0, 0
			want, got := servers.OpenWebUILines(t, a+".s"), servers.OpenWebUILines(t, b+".s")
			for i, w := range want {
				found += len(w.Ids)
				for _, id := range w.Ids {
					if slices.Contains(got[i].Ids, id) {
						same++
					}
				}
				if c.exact && (!slices.Equal(w.Ids, got[i].Ids) || !slices.Equal(w.Scores, got[i].Scores)) {
					t.Errorf("query %d: %v %v, not %v %v", i, got[i].Ids, got[i].Scores, w.Ids, w.Scores)
				}
			}
			t.Logf("%d queries, %d of %d hits the same", len(want), same, found)
			searched(t, openReader(t, reader.Config{PG: theirs.cfg}), servers.OpenWebUILines(t, queries), want, c.exact)
			if len(want) != 36 || found < 300 || same*10 < found*8 {
				t.Errorf("%d queries, %d of %d hits the same", len(want), same, found)
			}
		})
	}
}

// searched compares outgrow's own searches in their database with their
// client's, and finds out the dimension that the padding hides.
func searched(t *testing.T, r *reader.Source, queries, want []servers.OpenWebUILine, exact bool) {
	t.Helper()
	units, err := r.Units(t.Context())
	if err != nil || len(units) != 12 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	for _, u := range units {
		if u.Dim != 384 {
			t.Errorf("%s has %d dimensions, not 384", u.Name, u.Dim)
		}
	}
	for i, q := range queries {
		hits, err := r.Search(t.Context(), pipeline.Unit{Lane: pipeline.Vectors, Name: q.Collection}, [][]float32{q.Vector}, 10, false)
		if err != nil || len(hits) != 1 {
			t.Fatalf("%d answers, %v", len(hits), err)
		}
		for k, h := range hits[0] {
			if k >= len(want[i].Ids) || exact && h.ID != want[i].Ids[k] || math.Abs(h.Score-want[i].Scores[k]) > 1e-6 {
				t.Errorf("query %d, hit %d: %+v, their client has %v %v", i, k, h, want[i].Ids, want[i].Scores)
				break
			}
		}
	}
}
