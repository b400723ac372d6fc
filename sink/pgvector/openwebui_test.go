package pgvector

import (
	"bufio"
	"encoding/json"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	reader "outgrow/source/pgvector"
	"outgrow/testdata/servers"
)

// owui runs the harness around Open WebUI's own pgvector client.
type owui struct {
	t              *testing.T
	python, script string
	cfg            env.PGVectorConfig
}

// openWebUI finds the Python of an installed Open WebUI; it never installs one.
func openWebUI(t *testing.T) (python, script string) {
	shared := servers.Shared(t)
	cache := os.Getenv("OUTGROW_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache", "outgrow")
	}
	venv := filepath.Join(cache, "owui-0.12.4")
	if _, err := os.Stat(filepath.Join(venv, "installed")); err != nil {
		servers.Skip(t, "Open WebUI is not installed: testdata/e2e/openwebui.sh does that")
	}
	return filepath.Join(venv, "bin", "python"), filepath.Join(shared, "tools", "owui_vec.py")
}

func (o owui) run(args ...string) {
	o.t.Helper()
	cmd := exec.CommandContext(o.t.Context(), o.python, append([]string{o.script}, args...)...)
	set := map[string]string{"VECTOR_DB": "pgvector", "PGVECTOR_DB_URL": strings.Replace(o.cfg.URL.Reveal(), "postgres://", "postgresql://", 1),
		"PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH": "1536", "DATA_DIR": o.t.TempDir(), "OFFLINE_MODE": "true", "HF_HUB_OFFLINE": "1", "PGVECTOR_IVFFLAT_LISTS": "100"}
	if o.cfg.HalfVec {
		set["PGVECTOR_USE_HALFVEC"] = "true"
	}
	if o.cfg.IVFFlatLists == 5 {
		set["PGVECTOR_IVFFLAT_LISTS"] = "5"
	}
	cmd.Env = os.Environ()
	for k, v := range set {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		o.t.Fatalf("%s: %v\n%s", args[0], err, out[max(0, len(out)-2000):])
	}
}

type line struct {
	Collection string          `json:"collection"`
	ID         string          `json:"id"`
	Text       *string         `json:"text"`
	Metadata   json.RawMessage `json:"metadata"`
	Vector     []float32       `json:"vector"`
	Ids        []string        `json:"ids"`
	Scores     []float64       `json:"scores"`
}

func lines(t *testing.T, name string) (out []line) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewReader(f); ; {
		text, err := s.ReadBytes('\n')
		if err != nil {
			return out
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
}

// Open WebUI writes a corpus into one database and outgrow what it dumped into
// another: tables, indexes, dumps and search results are the same.
func TestLayoutIsOpenWebUIs(t *testing.T) {
	python, script := openWebUI(t)
	dir := t.TempDir()
	corpus, queries := filepath.Join(dir, "corpus"), filepath.Join(dir, "queries")
	owui{t: t, python: python, script: script}.run("gen", corpus, "--n", "500", "--dim", "384")
	var q []byte
	for i, l := range lines(t, corpus) {
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
			theirs := owui{t, python, script, cfg.PG}
			theirs.cfg.URL = env.Secret(servers.PostgreSQL(t))
			ours := owui{t, python, script, cfg.PG}
			a, b := filepath.Join(dir, c.name+".a"), filepath.Join(dir, c.name+".b")
			theirs.run("load", corpus)
			theirs.run("dump", "-o", a) // this second start makes the ivfflat index

			src := &memory{batch: 100}
			for _, l := range lines(t, a) {
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
			want, got := lines(t, a+".s"), lines(t, b+".s")
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
			searched(t, openReader(t, reader.Config{PG: theirs.cfg}), lines(t, queries), want, c.exact)
			if len(want) != 36 || found < 300 || same*10 < found*8 {
				t.Errorf("%d queries, %d of %d hits the same", len(want), same, found)
			}
		})
	}
}

// searched compares outgrow's own searches in their database with their
// client's, and finds out the dimension that the padding hides.
func searched(t *testing.T, r *reader.Source, queries, want []line, exact bool) {
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
