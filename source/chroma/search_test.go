package chroma

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/pipeline"
)

// The hits are those of every record that can be read, whether its vector is in
// an index file or in the queue; one whose vector is lost is none.
func TestSearch(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"0.5.9-vectors-lost", "1.5.9-types", "1.5.9-types queue only", "0.6.3-kill9"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			name, rewound := strings.CutSuffix(name, " queue only")
			store := filepath.Join(unpack(t, name), "vector_db")
			if rewound {
				rewind(t, store)
			}
			// Batches of three, so that the pages have ends.
			s := open(t, Config{Dir: store, Limits: pipeline.Limits{Records: 3}})
			units, err := s.Units(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			searched := 0
			for _, u := range units {
				var all []*pipeline.Vector
				for b, err := range s.Read(t.Context(), pipeline.Part{Unit: u}, "") {
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, b.Records...)
				}
				var queries [][]float32
				for i := 0; i < len(all) && len(queries) < 4; i += 1 + len(all)/4 {
					q := slices.Clone(all[i].Embedding)
					q[0]++
					queries = append(queries, all[i].Embedding, q)
				}
				const k = 5
				got, err := s.Search(t.Context(), u, queries, k, true)
				if err != nil || len(got) != len(queries) {
					t.Fatalf("%s: %d answers to %d queries, %v", u.Name, len(got), len(queries), err)
				}
				for i, q := range queries {
					of, best := scores(q, all)
					best = best[:min(k, len(best))]
					searched += len(best)
					if len(got[i]) != len(best) {
						t.Errorf("%s: %d hits, want %d", u.Name, len(got[i]), len(best))
						continue
					}
					// Those that are equally near may stand for one another.
					for n, h := range got[i] {
						if math.Abs(h.Score-best[n]) > 1e-12 || math.Abs(h.Score-of[h.ID]) > 1e-12 {
							t.Errorf("%s: hit %d is %v, want the score %v, its own is %v", u.Name, n, h, best[n], of[h.ID])
						}
						delete(of, h.ID) // once
					}
				}
				if _, err := s.Search(t.Context(), u, queries, k, false); !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("through an index: %v", err)
				}
			}
			if searched == 0 {
				t.Error("nothing was found anywhere")
			}
		})
	}
}

// A collection that is not there holds nothing, so that a comparison tells what is
// missing; as a source it cannot be read.
func TestNoCollection(t *testing.T) {
	t.Parallel()
	empty, err := Open(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "vector_db"), AllowMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	for name, s := range map[string]*Source{"a store": open(t, Config{Dir: filepath.Join(unpack(t, "1.5.9-types"), "vector_db")}), "no store": empty} {
		u := pipeline.Unit{Lane: pipeline.Vectors, Name: "nobody-made-this"}
		if n, err := s.Count(t.Context(), u); n != 0 || err != nil {
			t.Errorf("%s: %d records, %v", name, n, err)
		}
		if got, err := s.Get(t.Context(), u, []string{"a"}); len(got) != 0 || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		for _, err := range s.Read(t.Context(), pipeline.Part{Unit: u}, "") {
			if !errors.Is(err, errNoCollection) {
				t.Errorf("%s: reading: %v", name, err)
			}
		}
		if _, err := s.Search(t.Context(), u, [][]float32{{1}}, 1, true); !errors.Is(err, errNoCollection) {
			t.Errorf("%s: searching: %v", name, err)
		}
	}
}

// scores gives the cosine of every record, the plain way, and all of them in order.
func scores(q []float32, all []*pipeline.Vector) (of map[string]float64, best []float64) {
	of = map[string]float64{}
	for _, v := range all {
		var dot, a, b float64
		for i := range v.Embedding {
			dot, a, b = dot+float64(q[i])*float64(v.Embedding[i]), a+float64(q[i])*float64(q[i]), b+float64(v.Embedding[i])*float64(v.Embedding[i])
		}
		if score := (1 + dot/math.Sqrt(a*b)) / 2; !math.IsInf(b, 0) && !math.IsNaN(score) {
			of[v.ID], best = score, append(best, score)
		}
	}
	slices.Sort(best)
	slices.Reverse(best)
	return of, best
}
