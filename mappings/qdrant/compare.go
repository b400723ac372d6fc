package qdrant

import (
	"context"
	"math"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// Qdrant brings the vectors of a Cosine collection to unit length when it
// stores them, unless the square of the length is within nearOne of 1 or below
// nearZero. It computes in float32. Source: lib/segment/src/spaces of Qdrant
// 1.18 (cosine_preprocess, is_length_zero_or_normalized).
const (
	nearOne  = 1e-6
	nearZero = 0x1p-23 // f32::EPSILON
)

// Tolerance is the largest difference of an element between what Qdrant holds
// and the unit vector computed in float64. Elements are 1 at most; dividing
// rounds by 2^-24, the float32 sum of squares adds about as much, and where that
// sum and the float64 one are on different sides of nearOne the elements differ
// by 5e-7. Measured on 1.18.3 with 2 to 4096 dimensions: 6e-8.
const Tolerance = 1e-6

// squared is the square of a vector's length. It adds up in four sums, as one
// would wait for each of its additions.
func squared(v []float32) (sum float64) {
	var a, b, c, d float64
	for ; len(v) >= 4; v = v[4:] {
		a += float64(v[0]) * float64(v[0])
		b += float64(v[1]) * float64(v[1])
		c += float64(v[2]) * float64(v[2])
		d += float64(v[3]) * float64(v[3])
	}
	for _, f := range v {
		sum += float64(f) * float64(f)
	}
	return a + b + c + d + sum
}

// Expect is what Qdrant holds of a record that [Transform] let through: its
// vector at unit length. A zero vector stays as it is.
func Expect(v *pipeline.Vector) *pipeline.Vector {
	s := squared(v.Embedding)
	if s < nearZero || math.Abs(s-1) <= nearOne {
		return v
	}
	return unit(v, s)
}

func unit(v *pipeline.Vector, squared float64) *pipeline.Vector {
	out := *v
	out.Embedding = make([]float32, len(v.Embedding))
	length := math.Sqrt(squared)
	for i, f := range v.Embedding {
		out.Embedding[i] = float32(float64(f) / length)
	}
	return &out
}

// Compare is for pipeline.Comparison: want is the source's record after the
// transforms, got the target's.
func Compare(env.QdrantConfig) func(context.Context, pipeline.Unit, *pipeline.Vector, *pipeline.Vector) ([]pipeline.Field, error) {
	tol := vectors.Tolerance{Vector: Tolerance, Metadata: SameMetadata}
	return func(_ context.Context, _ pipeline.Unit, want, got *pipeline.Vector) ([]pipeline.Field, error) {
		fields := vectors.Fields(Expect(want), got, tol)
		// Where a float32 sum may be on the other side of nearZero, both count.
		if s := squared(want.Embedding); len(fields) > 0 && math.Abs(s-nearZero) < nearZero/1000 {
			for _, other := range []*pipeline.Vector{want, unit(want, s)} {
				if f := vectors.Fields(other, got, tol); len(f) < len(fields) {
					fields = f
				}
			}
		}
		return fields, nil
	}
}
