package pgvector

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// table makes Open WebUI's table for a configuration and a connection to it.
func table(t *testing.T, half bool, width int) (env.PGVectorConfig, *pgx.Conn) {
	t.Helper()
	cfg := env.PGVectorConfig{URL: env.Secret(servers.PostgreSQL(t)), MaxLength: width, HalfVec: half, HNSWM: 16, HNSWEf: 64, IVFFlatLists: 100, IterativeScan: "relaxed_order"}
	c, err := pgx.Connect(t.Context(), cfg.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	run(t, c, vectors.PG(cfg).CreateTable())
	return cfg, c
}

func run(t *testing.T, c *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := c.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// insert writes a record whose vector is padded as Open WebUI does.
func insert(t *testing.T, c *pgx.Conn, cfg env.PGVectorConfig, collection, id string, v []float32) {
	t.Helper()
	words := make([]string, cfg.MaxLength)
	for i := range words {
		words[i] = "0"
		if i < len(v) {
			words[i] = fmt.Sprint(v[i])
		}
	}
	run(t, c, "INSERT INTO document_chunk VALUES ($1, $2::text::"+vectors.PG(cfg).ColumnType()+", $3, 'text', '{\"a\": 3.0}')", id, "["+strings.Join(words, ",")+"]", collection)
}

func open(t *testing.T, cfg Config) *Source {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func random(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

func TestDimension(t *testing.T) {
	for _, c := range [][3]int{{384, 1536, 384}, {383, 1536, 384}, {1, 1536, 64}, {385, 1536, 512}, {1536, 1536, 1536}, {1500, 1536, 1536}, {700, 768, 768}, {3000, 4000, 3072}, {3900, 4000, 3900 + 100}, {5, 12, 12}} {
		if got := Dimension(c[0], c[1]); got != c[2] {
			t.Errorf("%d of %d: %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

// Collections of several models in one padded column: the dimensions are found,
// and what is cut off is 0.0.
func TestUnitsFindTheDimensions(t *testing.T) {
	for _, half := range []bool{false, true} {
		t.Run(fmt.Sprint("halfvec ", half), func(t *testing.T) {
			cfg, c := table(t, half, 1536)
			r := rand.New(rand.NewPCG(1, 0))
			for i := range 20 {
				insert(t, c, cfg, "small", fmt.Sprint("s", i), random(r, 384))
				insert(t, c, cfg, "large", fmt.Sprint("l", i), random(r, 768))
				v := random(r, 384)
				copy(v[370:], make([]float32, 14)) // every vector ends in 0.0
				insert(t, c, cfg, "short", fmt.Sprint("x", i), v)
			}
			insert(t, c, cfg, "full", "f", random(r, 1536))
			for i := range 2 * sample { // what fills the column is behind the vectors looked at first
				insert(t, c, cfg, "late", fmt.Sprint("a", i), random(r, 384))
			}
			insert(t, c, cfg, "late", "b", random(r, 1536))
			insert(t, c, cfg, "zero", "z", nil)
			minus := random(r, 384)
			insert(t, c, cfg, "minus", "m", append(minus, 0, float32(math.Copysign(0, -1)))) // -0.0 is no padding
			s := open(t, Config{PG: cfg})
			units, err := s.Units(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]int{}
			for _, u := range units {
				got[u.Name] = u.Dim
				for b, err := range s.Read(t.Context(), pipeline.Part{Unit: u}, "") {
					if err != nil {
						t.Fatal(err)
					}
					for _, v := range b.Records {
						if u.Dim > 0 && len(v.Embedding) != u.Dim {
							t.Errorf("%s: %s has %d elements of %d", u.Name, v.ID, len(v.Embedding), u.Dim)
						}
					}
				}
			}
			for name, want := range map[string]int{"small": 384, "large": 768, "short": 384, "full": 1536, "late": 1536, "minus": 512, "zero": 0} {
				if got[name] != want {
					t.Errorf("%s: %d dimensions, want %d", name, got[name], want)
				}
			}
			told, err := open(t, Config{PG: cfg, Dim: 700}).Units(t.Context())
			if err != nil || told[0].Dim != 700 {
				t.Errorf("%+v, %v", told, err)
			}
			one := open(t, Config{PG: cfg})
			run(t, c, "DELETE FROM document_chunk WHERE collection_name IN ('large', 'full', 'late', 'minus')")
			if units, err := one.Units(t.Context()); err != nil || len(units) != 3 || units[2].Name != "zero" || units[2].Dim != 384 {
				t.Errorf("zeros among one model's: %+v, %v", units, err)
			}
		})
	}
}

// Readers on a snapshot see one moment; the identity tells that it is over.
func TestSnapshotAndIdentity(t *testing.T) {
	cfg, c := table(t, false, 8)
	for i := range 30 {
		insert(t, c, cfg, "a", fmt.Sprintf("%02d", i), []float32{1, float32(i)})
	}
	s := open(t, Config{PG: cfg, Snapshot: true, Readers: 3, IDPage: 4})
	states := map[string]bool{}
	var stable string
	u := pipeline.Unit{Lane: pipeline.Vectors, Name: "a", Records: 30}
	for n, sql := range []string{"SELECT", "DELETE FROM document_chunk WHERE id = '20'", "UPDATE document_chunk SET text = 'new'", "INSERT INTO document_chunk SELECT '29a', vector, 'a', text, vmetadata FROM document_chunk LIMIT 1",
		"UPDATE document_chunk SET collection_name = 'b'"} {
		run(t, c, sql)
		live, err := open(t, Config{PG: cfg}).Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		states[live.State] = true
		if n > 0 && live.Stable != stable || strings.Contains(live.Stable, "127.0.0.1") {
			t.Errorf("the same table is %q, then %q", stable, live.Stable)
		}
		stable = live.Stable
		parts, err := s.Split(t.Context(), u, 3)
		if err != nil || len(parts) != 3 {
			t.Fatalf("%+v, %v", parts, err)
		}
		seen := 0
		for _, p := range parts {
			for b, err := range s.Read(t.Context(), p, p.From) {
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range b.Records {
					if *v.Text != "text" {
						t.Errorf("%s has changed", v.ID)
					}
				}
				seen += len(b.Records)
			}
		}
		if count, err := s.Count(t.Context(), u); err != nil || seen != 30 || count != 30 {
			t.Errorf("after %s: %d read, %d counted, %v", sql, seen, count, err)
		}
	}
	if len(states) != 5 {
		t.Errorf("five contents have the states %v", states)
	}
	run(t, connectSuper(t, cfg), "SELECT pg_terminate_backend(pid, 300000) FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND usename <> current_user AND datname = current_database()")
	if _, err := s.Count(t.Context(), u); pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("on a lost snapshot: %v", err)
	}
}

// Rows and vectors of one database are read as of one moment.
func TestSharedSnapshot(t *testing.T) {
	cfg, c := table(t, false, 4)
	insert(t, c, cfg, "a", "1", []float32{1})
	pool, err := pg.Open(t.Context(), cfg.URL, pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	shared, err := pg.TakeSnapshot(t.Context(), pool, pg.SnapshotOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	insert(t, c, cfg, "a", "2", []float32{2})
	u := pipeline.Unit{Lane: pipeline.Vectors, Name: "a"}
	for range 2 { // closing the one leaves the snapshot open
		s := open(t, Config{PG: cfg, Snapshot: true, Shared: shared})
		if n, err := s.Count(t.Context(), u); err != nil || n != 1 {
			t.Errorf("%d records, %v", n, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func connectSuper(t *testing.T, cfg env.PGVectorConfig) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), servers.SuperDSN(t, cfg.URL.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// Exact searches rank as arithmetic does, and those through an index as Open
// WebUI's settings make the server do.
func TestSearch(t *testing.T) {
	for _, half := range []bool{false, true} {
		t.Run(fmt.Sprint("halfvec ", half), func(t *testing.T) {
			cfg, c := table(t, half, 32)
			cfg.IndexMethod = vectors.HNSW
			r := rand.New(rand.NewPCG(2, 0))
			all := map[string][]float32{}
			for i := range 300 {
				id := fmt.Sprint("id", i)
				all[id] = random(r, 24)
				insert(t, c, cfg, "a", id, all[id])
				insert(t, c, cfg, "b", "other"+id, all[id])
			}
			insert(t, c, cfg, "a", "zero", nil)
			run(t, c, vectors.PG(cfg).CreateIndex(vectors.VectorIndex))
			run(t, c, "ANALYZE document_chunk")
			s := open(t, Config{PG: cfg})
			u := pipeline.Unit{Lane: pipeline.Vectors, Name: "a"}
			queries := [][]float32{random(r, 24), all["id7"], append(random(r, 32), 9, 9)} // the last one is cut off
			exact, err := s.Search(t.Context(), u, queries, 10, true)
			if err != nil {
				t.Fatal(err)
			}
			tolerance := 1e-6
			if half {
				tolerance = 1e-3
			}
			for i, hits := range exact {
				if len(hits) != 10 {
					t.Fatalf("%d hits", len(hits))
				}
				better := 0
				for id, v := range all {
					if score := (1 + cosine(queries[i][:min(32, len(queries[i]))], v)) / 2; score > hits[9].Score+tolerance {
						better++
						if !found(hits, id) {
							t.Errorf("query %d: %s with %g is not among the hits down to %g", i, id, score, hits[9].Score)
						}
					}
				}
				for _, h := range hits {
					if want := (1 + cosine(queries[i][:min(32, len(queries[i]))], all[h.ID])) / 2; math.Abs(h.Score-want) > tolerance {
						t.Errorf("query %d: %s has %g, not %g", i, h.ID, h.Score, want)
					}
				}
			}
			if exact[1][0].ID != "id7" || math.Abs(exact[1][0].Score-1) > tolerance {
				t.Errorf("a stored vector finds %+v", exact[1][0])
			}
			near, err := s.Search(t.Context(), u, queries, 10, false)
			if err != nil {
				t.Fatal(err)
			}
			same := 0
			for i := range near {
				for _, h := range near[i] {
					if found(exact[i], h.ID) {
						same++
					}
				}
			}
			if same < 24 {
				t.Errorf("%d of 30 hits are the exact ones", same)
			}
		})
	}
}

func found(hits []pipeline.Hit, id string) bool {
	for _, h := range hits {
		if h.ID == id {
			return true
		}
	}
	return false
}

func cosine(a, b []float32) float64 {
	var dot, x, y float64
	for i := range max(len(a), len(b)) {
		var p, q float64
		if i < len(a) {
			p = float64(a[i])
		}
		if i < len(b) {
			q = float64(b[i])
		}
		dot, x, y = dot+p*q, x+p*p, y+q*q
	}
	return dot / math.Sqrt(x*y)
}
