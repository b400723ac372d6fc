package chroma

import (
	"path/filepath"
	"strings"
	"testing"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

// TestConformance runs the suite of all readers on a store with lost vectors and
// on one whose records are in the queue only. What the records must be is proven
// by TestStores.
func TestConformance(t *testing.T) {
	// The types store as it is has values that an update put behind those of
	// later records, which a batch that ends early must not lose.
	for _, name := range []string{"0.5.9-vectors-lost", "1.5.9-types", "1.5.9-types queue only"} {
		t.Run(name, func(t *testing.T) {
			name, rewound := strings.CutSuffix(name, " queue only")
			store := filepath.Join(unpack(t, name), "vector_db")
			if rewound {
				rewind(t, store)
			}
			source := func(t testing.TB, l pipeline.Limits) pipeline.Source[*pipeline.Vector] {
				s, err := Open(t.Context(), Config{Dir: store, Private: t.TempDir(), Limits: l})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Vector]{
				Open: source,
				Want: func(t testing.TB) (want []pipetest.Expected[*pipeline.Vector]) {
					s := source(t, pipeline.Limits{})
					defer s.Close()
					units, err := s.Units(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					for _, u := range units {
						e := pipetest.Expected[*pipeline.Vector]{Unit: u}
						for b, err := range s.Read(t.Context(), pipeline.Part{Unit: u}, "") {
							if err != nil {
								t.Fatal(err)
							}
							e.Records = append(e.Records, b.Records...)
							for _, r := range b.Refused {
								e.Refused = append(e.Refused, r.Key)
							}
						}
						want = append(want, e)
					}
					return want
				},
			})
		})
	}
}
