package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

var unit = pipeline.Unit{Lane: pipeline.Vectors, Name: "file-1"}

// store is a target that searches exactly, in single precision as stores do;
// what is wrong with it can be set.
type store struct {
	*pipetest.Memory[*pipeline.Vector]
	noExact bool
	noIndex bool
	index   func(query int, ids []pipeline.Hit) []pipeline.Hit // what the index makes of the exact hits
	always  func([]pipeline.Hit) []pipeline.Hit                // what any search makes of them
	zeroNaN bool                                               // vectors of length zero have no score and come last
	fail    int                                                // so many searches fail transiently
	asked   [][][]float32
}

func (s *store) Search(ctx context.Context, u pipeline.Unit, queries [][]float32, k int, exact bool) ([][]pipeline.Hit, error) {
	if exact && s.noExact || !exact && s.noIndex {
		return nil, errors.ErrUnsupported
	}
	if s.fail > 0 {
		s.fail--
		return nil, pipeline.Transient(errors.New("busy"))
	}
	s.asked = append(s.asked, queries)
	var all []*pipeline.Vector
	for b, err := range s.Read(ctx, pipeline.Part{Unit: u}, "") {
		if err != nil {
			return nil, err
		}
		all = append(all, b.Records...)
	}
	out := make([][]pipeline.Hit, len(queries))
	for i, q := range queries {
		var hits []pipeline.Hit
		for _, v := range all {
			hits = append(hits, pipeline.Hit{ID: v.ID, Score: s.score(q, v.Embedding)})
		}
		slices.SortStableFunc(hits, func(a, b pipeline.Hit) int {
			switch {
			case math.IsNaN(a.Score) || a.Score < b.Score:
				return 1
			case math.IsNaN(b.Score) || a.Score > b.Score:
				return -1
			}
			return 0
		})
		if s.index != nil && !exact {
			hits = s.index(i, hits)
		}
		if s.always != nil {
			hits = s.always(hits)
		}
		out[i] = hits[:min(k, len(hits))]
	}
	return out, nil
}

func (s *store) score(q, v []float32) float64 {
	var dot, a, b float32
	for i := range v {
		dot, a, b = dot+q[i]*v[i], a+q[i]*q[i], b+v[i]*v[i]
	}
	if b == 0 && !s.zeroNaN {
		return 0.5
	}
	return float64(1+dot/float32(math.Sqrt(float64(a)*float64(b)))) / 2
}

func corpus(n, dim int) []*pipeline.Vector {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]*pipeline.Vector, n)
	for i := range out {
		v := &pipeline.Vector{ID: fmt.Sprintf("id-%04d", i), Embedding: make([]float32, dim)}
		for j := range v.Embedding {
			v.Embedding[j] = float32(r.NormFloat64() * float64(1+i%3))
		}
		out[i] = v
	}
	return out
}

func memory(records []*pipeline.Vector, limits pipeline.Limits) *pipetest.Memory[*pipeline.Vector] {
	return pipetest.NewMemory(limits, pipetest.Expected[*pipeline.Vector]{Unit: unit, Records: records})
}

// parity compares through Diff, as verify does.
func parity(t *testing.T, source []*pipeline.Vector, target *store, cfg pipeline.ParityConfig) pipeline.UnitParity {
	t.Helper()
	src := memory(source, pipeline.Limits{Records: 37})
	cfg.Source, cfg.Target = src, target
	cfg.Backoff = pipeline.Backoff{Base: time.Microsecond}
	p := pipeline.NewParity(cfg)
	_, err := pipeline.Diff(t.Context(), pipeline.Comparison[*pipeline.Vector]{Source: src, Transforms: cfg.Transforms, Target: target, Observe: p.Observe, Then: p.Search,
		Equal: func(context.Context, pipeline.Unit, *pipeline.Vector, *pipeline.Vector) ([]pipeline.Field, error) {
			return nil, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	r := p.Results()
	if len(r) != 1 || r[0].Unit != unit.ID() {
		t.Fatalf("%+v", r)
	}
	return r[0]
}

func TestParityOfTheSameRecords(t *testing.T) {
	records := corpus(400, 24)
	for _, n := range []int{400, 7, 1} {
		r := parity(t, records[:n], &store{Memory: memory(records[:n], pipeline.Limits{}), fail: 2}, pipeline.ParityConfig{})
		if r.Searches != 2*min(n, 8) || r.Recall != 1 || r.Exact == nil || *r.Exact != 1 || r.Fault != "" || r.ScoreDifference > 1e-6 || r.Low(1) {
			t.Errorf("%d records: %+v", n, r)
		}
	}
}

// A store that has no index yet is searched exactly, and that is what it finds.
func TestParityWithoutIndex(t *testing.T) {
	t.Parallel()
	records := corpus(400, 24)
	r := parity(t, records, &store{Memory: memory(records, pipeline.Limits{}), noIndex: true}, pipeline.ParityConfig{})
	if r.Searches != 16 || r.Recall != 1 || r.Exact == nil || *r.Exact != 1 || r.Fault != "" || r.Low(1) {
		t.Errorf("the same records: %+v", r)
	}
	others := corpus(400, 24)
	for i := range others[:200] {
		others[i].Embedding, others[i+200].Embedding = others[i+200].Embedding, others[i].Embedding
	}
	r = parity(t, records, &store{Memory: memory(others, pipeline.Limits{}), noIndex: true}, pipeline.ParityConfig{})
	if r.Fault == "" || !r.Low(0) {
		t.Errorf("vectors that were swapped: %+v", r)
	}
	p := pipeline.NewParity(pipeline.ParityConfig{Source: memory(records, pipeline.Limits{}), Target: &store{Memory: memory(records, pipeline.Limits{}), noIndex: true, noExact: true}})
	p.Observe(unit, records)
	if err := p.Search(t.Context(), unit); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a store that cannot search at all: %v", err)
	}
}

// Hits come of what was seen one after the other, each record once.
func TestNearest(t *testing.T) {
	t.Parallel()
	n := pipeline.NewNearest([][]float32{{1, 0}, {0, 2}, {0, 0}}, 2)
	for _, v := range []struct {
		id     string
		vector []float32
	}{{"right", []float32{3, 0}}, {"up", []float32{0, 1}}, {"right", []float32{3, 0}}, {"left", []float32{-1, 0}}, {"none", []float32{0, 0}}, {"nan", []float32{float32(math.NaN()), 1}}, {"padded", []float32{0, 5, 0, 0}}} {
		n.Add(v.id, v.vector)
	}
	want := [][]pipeline.Hit{{{ID: "right", Score: 1}, {ID: "up", Score: 0.5}}, {{ID: "padded", Score: 1}, {ID: "up", Score: 1}}, nil}
	if got := n.Hits(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// The same queries are asked whatever the order and the batches of reading.
func TestParitySampleIsDeterministic(t *testing.T) {
	records := corpus(300, 8)
	a, b := &store{Memory: memory(records, pipeline.Limits{})}, &store{Memory: memory(records, pipeline.Limits{})}
	p, q := pipeline.NewParity(pipeline.ParityConfig{Source: a, Target: a, Searches: 5}), pipeline.NewParity(pipeline.ParityConfig{Source: b, Target: b, Searches: 5})
	p.Observe(unit, records)
	for i := len(records) - 50; i >= 0; i -= 50 {
		q.Observe(unit, records[i:i+50])
		q.Observe(unit, records[i:i+50])
	}
	if err := errors.Join(p.Search(t.Context(), unit), q.Search(t.Context(), unit)); err != nil {
		t.Fatal(err)
	}
	if len(a.asked) != 2 || len(a.asked[0]) != 5 || fmt.Sprint(a.asked) != fmt.Sprint(b.asked) {
		t.Errorf("%d and %d searches, not the same 5 queries", len(a.asked), len(b.asked))
	}
	for _, v := range a.asked[0] {
		var sum float64
		for _, f := range v {
			sum += float64(f) * float64(f)
		}
		if sum < 0.99 || sum > 2 {
			t.Errorf("a query of the length %g", math.Sqrt(sum))
		}
	}
}

func TestParityFindsFaults(t *testing.T) {
	records := corpus(400, 24)
	swapped := slices.Clone(records)
	for i := 0; i+1 < len(swapped); i += 2 { // every vector stands under another id
		a, b := *swapped[i], *swapped[i+1]
		a.Embedding, b.Embedding = b.Embedding, a.Embedding
		swapped[i], swapped[i+1] = &a, &b
	}
	turned := slices.Clone(records)
	for i := range turned {
		v := *turned[i]
		v.Embedding = slices.Clone(v.Embedding)
		v.Embedding[0] *= 1.01
		turned[i] = &v
	}
	for name, c := range map[string]struct {
		target *store
		fault  string
		recall float64 // at most
	}{
		"swapped":    {&store{Memory: memory(swapped, pipeline.Limits{})}, "of the nearest 10 were found", 0.9},
		"half":       {&store{Memory: memory(records[:200], pipeline.Limits{})}, "the first that is missing", 0.7},
		"turned":     {&store{Memory: memory(turned, pipeline.Limits{})}, "has the score", 1},
		"raw cosine": {&store{Memory: memory(records, pipeline.Limits{}), always: raw}, "has the score", 1},
		"twice":      {&store{Memory: memory(records, pipeline.Limits{}), always: twice}, "more than once", 0.5},
		"backwards":  {&store{Memory: memory(records, pipeline.Limits{}), always: backwards}, "not in the order", 1},
		"not a number": {&store{Memory: memory(records, pipeline.Limits{}), noExact: true, always: func(h []pipeline.Hit) []pipeline.Hit {
			h[0].Score = math.NaN()
			return h
		}}, "", 0.99},
		"absent": {&store{Memory: memory(nil, pipeline.Limits{})}, "the target has no record", 0},
	} {
		r := parity(t, records, c.target, pipeline.ParityConfig{})
		if !r.Low(0.95) && c.fault != "" || c.fault != "" && !strings.Contains(r.Fault, c.fault) || r.Recall > c.recall {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func raw(hits []pipeline.Hit) []pipeline.Hit {
	for i := range hits {
		hits[i].Score = 2*hits[i].Score - 1
	}
	return hits
}

func twice(hits []pipeline.Hit) []pipeline.Hit {
	out := hits[:0:0]
	for _, h := range hits {
		out = append(out, h, h)
	}
	return out
}

func backwards(hits []pipeline.Hit) []pipeline.Hit {
	out := slices.Clone(hits[:min(10, len(hits))])
	slices.Reverse(out)
	return out
}

// A poor index is not a fault of the migration.
func TestParityTellsTheIndexApart(t *testing.T) {
	records := corpus(400, 24)
	poor := func(_ int, hits []pipeline.Hit) []pipeline.Hit { return slices.Delete(hits, 3, 6) }
	r := parity(t, records, &store{Memory: memory(records, pipeline.Limits{}), index: poor}, pipeline.ParityConfig{})
	if r.Fault != "" || r.Recall > 0.72 || *r.Exact != 1 || !r.Low(0.95) || r.Low(0.7) {
		t.Errorf("%+v", r)
	}
	r = parity(t, records, &store{Memory: memory(records, pipeline.Limits{}), index: poor, noExact: true}, pipeline.ParityConfig{})
	if r.Fault != "" || r.Recall > 0.72 || r.Exact != nil {
		t.Errorf("without exact search: %+v", r)
	}
}

// Of records that are equally near any may be found, also when there are more
// of them than are ranked.
func TestParityTies(t *testing.T) {
	records := corpus(200, 24)
	for i := range 100 {
		records[i].Embedding = records[0].Embedding
	}
	mixed := func(hits []pipeline.Hit) []pipeline.Hit {
		r := rand.New(rand.NewPCG(5, 5))
		for i := 0; i < len(hits); {
			n := 1
			for i+n < len(hits) && hits[i+n].Score == hits[i].Score {
				n++
			}
			r.Shuffle(n, func(a, b int) { hits[i+a], hits[i+b] = hits[i+b], hits[i+a] })
			i += n
		}
		return hits
	}
	r := parity(t, records, &store{Memory: memory(records, pipeline.Limits{}), always: mixed}, pipeline.ParityConfig{Searches: 40})
	if r.Fault != "" || r.Recall != 1 || *r.Exact != 1 {
		t.Errorf("%+v", r)
	}
}

func TestParityOfZeroVectors(t *testing.T) {
	records := corpus(30, 8)
	for i := 3; i < 30; i += 3 {
		records[i].Embedding = make([]float32, 8)
	}
	none := func(hits []pipeline.Hit) []pipeline.Hit {
		return slices.DeleteFunc(hits, func(h pipeline.Hit) bool { return h.Score == 0.5 })
	}
	for name, s := range map[string]*store{"one half": {}, "NaN": {zeroNaN: true}, "left out": {always: none}} {
		s.Memory = memory(records, pipeline.Limits{})
		if r := parity(t, records, s, pipeline.ParityConfig{Searches: 40, K: 25}); r.Searches != 40 || r.Fault != "" || r.Recall != 1 || *r.Exact != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	only := []*pipeline.Vector{records[3], records[6]}
	if r := parity(t, only, &store{Memory: memory(only, pipeline.Limits{})}, pipeline.ParityConfig{}); r.Skipped == "" || r.Low(1) {
		t.Errorf("nothing but zero vectors: %+v", r)
	}
}

// What is in the quarantine is not looked for, and what a replay put in is no
// wrong hit.
func TestParityFollowsTheJournal(t *testing.T) {
	records := corpus(60, 8)
	var state pipetest.MemoryState
	j := state.Open()
	if _, err := j.Begin(t.Context(), pipeline.Run{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	var refused []pipeline.Refusal
	for _, v := range records[:20] {
		refused = append(refused, pipeline.NewRefusal(unit, v, "", pipeline.Invalid, "refused"))
	}
	// A repaired record under the key of one that the transforms refuse.
	repaired := &pipeline.Vector{ID: "repaired", Embedding: records[30].Embedding}
	if err := j.AddLines(t.Context(), refused, []pipeline.Change{{Unit: unit.ID(), Key: "repaired", Reason: pipeline.Replayed}}); err != nil {
		t.Fatal(err)
	}
	source := append(slices.Clone(records), &pipeline.Vector{ID: "repaired"})
	drop := func(u pipeline.Unit, v *pipeline.Vector) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
		if len(v.Embedding) == 0 {
			return nil, nil, []pipeline.Refusal{pipeline.NewRefusal(u, v, "", pipeline.NeedsEmbedding, "lost")}
		}
		return v, nil, nil
	}
	target := &store{Memory: memory(append(slices.Clone(records[20:]), repaired), pipeline.Limits{})}
	cfg := pipeline.ParityConfig{Journal: j, Searches: 60, Transforms: []pipeline.Transform[*pipeline.Vector]{drop}}
	r := parity(t, source, target, cfg)
	if r.Fault != "" || r.Recall != 1 || *r.Exact != 1 || r.Searches < 20 {
		t.Errorf("%+v", r)
	}
	cfg.Journal = nil
	if r = parity(t, source, target, cfg); r.Fault == "" || *r.Exact > 0.9 {
		t.Errorf("without the journal: %+v", r)
	}
}

func BenchmarkParity(b *testing.B) {
	records := corpus(20_000, 768)
	target := &store{Memory: memory(records, pipeline.Limits{Records: 1000})}
	target.noExact = true
	src := memory(records, pipeline.Limits{Records: 1000, Bytes: 8 << 20})
	quick := &answers{target}
	b.ResetTimer()
	for b.Loop() {
		p := pipeline.NewParity(pipeline.ParityConfig{Source: src, Target: quick})
		p.Observe(unit, records)
		if err := p.Search(b.Context(), unit); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(records))/b.Elapsed().Seconds(), "records/s")
}

// answers costs nothing.
type answers struct{ *store }

func (a *answers) Search(_ context.Context, _ pipeline.Unit, queries [][]float32, _ int, exact bool) ([][]pipeline.Hit, error) {
	if exact {
		return nil, errors.ErrUnsupported
	}
	return make([][]pipeline.Hit, len(queries)), nil
}
