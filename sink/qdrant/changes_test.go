package qdrant

import (
	"encoding/json"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"strconv"
	"testing"

	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
	reader "outgrow/source/qdrant"
)

// What the server itself changes is what Compare expects, no more: doubles of
// every size, before and after the points were moved into an indexed segment,
// and vectors of every length.
func TestWhatQdrantChanges(t *testing.T) {
	cfg := store(t, false)
	s := open(t, Config{Store: cfg, Journal: begun(t)})
	src := openReader(t, reader.Config{Store: cfg})
	r := mrand.New(mrand.NewPCG(5, 5))
	largest := 0.0
	changed := 0
	for _, dim := range []int{2, 64, 384, 1536, 4096} {
		u := pipeline.Unit{Lane: pipeline.Vectors, Name: fmt.Sprintf("file-%d", dim), Dim: dim}
		if err := s.Prepare(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		var records []*pipeline.Vector
		for i := range 60 {
			v := record(r, i, dim)
			v.Metadata = doubles(r, 100)
			scale := float32(math.Pow(10, float64(i%20-10)))
			switch i % 6 {
			case 0:
				v = unitLength(v, 1)
			case 1:
				v = unitLength(v, 1+float64(i)*2e-8) // about nearOne
			case 2:
				v = unitLength(v, math.Sqrt(0x1p-23)*(0.99+float64(i)/3000))
			case 3:
				clear(v.Embedding)
			default:
				for k := range v.Embedding {
					v.Embedding[k] *= scale
				}
			}
			records = append(records, v)
		}
		if out, err := s.write(t.Context(), u, records); err != nil || out.Written != len(records) {
			t.Fatalf("%+v, %v", out, err)
		}
		compare := func() {
			t.Helper()
			for _, v := range records {
				got, err := src.Get(t.Context(), u, []string{v.ID})
				if err != nil || got[v.ID] == nil {
					t.Fatal(err)
				}
				fields, _ := qdrant.Compare(cfg)(t.Context(), u, v, got[v.ID])
				for _, f := range fields {
					t.Errorf("%d dimensions, length %g: %s: %s", dim, math.Sqrt(squared(v.Embedding)), f.Column, f.Detail)
				}
				want := qdrant.Expect(v)
				for k := range want.Embedding {
					largest = max(largest, math.Abs(float64(want.Embedding[k]-got[v.ID].Embedding[k])))
				}
				changed += differing(t, v.Metadata, got[v.ID].Metadata)
			}
		}
		compare()
		// Every point is moved: the threshold is one that any segment reaches.
		if err := s.threshold(t.Context(), qdrant.Collection(cfg, u.Name), 1); err != nil {
			t.Fatal(err)
		}
		if err := s.green(t.Context(), qdrant.Collection(cfg, u.Name), func(string) {}); err != nil {
			t.Fatal(err)
		}
		compare()
	}
	t.Logf("largest difference of an element %.3g; %d doubles of 60,000 changed", largest, changed)
	if largest == 0 || changed == 0 {
		t.Error("nothing was changed: the test tests nothing")
	}
}

func doubles(r *mrand.Rand, n int) json.RawMessage {
	m := []byte{'{'}
	for i := range n {
		f := math.Float64frombits(r.Uint64())
		if i%2 == 0 {
			f = r.NormFloat64() * math.Pow(10, float64(r.IntN(40)-20))
		}
		if f-f != 0 || math.Abs(f) > 1e307 {
			f = float64(i)
		}
		if i%10 == 9 {
			f = math.Trunc(f)
		}
		lit := strconv.FormatFloat(f, 'e', -1, 64)
		m = fmt.Appendf(m, `"%d":%s,`, i, lit)
	}
	m[len(m)-1] = '}'
	return m
}

func differing(t *testing.T, a, b json.RawMessage) (n int) {
	t.Helper()
	var x, y map[string]float64
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		t.Fatal("not JSON")
	}
	for k, f := range x {
		if y[k] != f {
			n++
		}
	}
	return n
}

func squared(v []float32) (sum float64) {
	for _, f := range v {
		sum += float64(f) * float64(f)
	}
	return sum
}

func unitLength(v *pipeline.Vector, length float64) *pipeline.Vector {
	by := length / math.Sqrt(squared(v.Embedding))
	for k := range v.Embedding {
		v.Embedding[k] = float32(float64(v.Embedding[k]) * by)
	}
	return v
}
