package chromahttp

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"strconv"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// VectorError is how far an element may be from what was written, as a part of
// itself. The server's cosine index divides a vector by its length and
// multiplies by it again when it is read: the reciprocal of the length, the
// product with it and the product back each round to float32, 2^-24 at most;
// the length itself may be as wrong as it likes, it cancels. That makes 3*2^-24
// and terms of second order; 4*2^-24 leaves room for nothing else. Measured over
// 3,000 vectors of 64 elements of length 1e-3 to 1e5: 2.3*2^-24.
const VectorError = 0x1p-22

// Compare is for pipeline.Comparison: want is the source's record after the
// transforms, got the server's. Text is compared to the byte, metadata by
// [SameMetadata], vectors to within [VectorError]; an element so small beside
// the vector's length that its quotient is no normal float32 may be off by what
// such numbers cannot express.
func Compare(env.ChromaConfig) func(context.Context, pipeline.Unit, *pipeline.Vector, *pipeline.Vector) ([]pipeline.Field, error) {
	return func(_ context.Context, _ pipeline.Unit, want, got *pipeline.Vector) ([]pipeline.Field, error) {
		if near(want.Embedding, got.Embedding) {
			w := *want
			w.Embedding = got.Embedding
			want = &w
		}
		return vectors.Fields(want, got, vectors.Tolerance{Metadata: SameMetadata}), nil
	}
}

// near compares two vectors of which one may have 0.0 behind its end (padding
// of another store).
func near(want, got []float32) bool {
	if len(want) == 0 || len(got) == 0 {
		return false
	}
	sum := 0.0
	for _, f := range want {
		sum += float64(f) * float64(f)
	}
	tiny := (math.Sqrt(sum) + 1) * 0x1p-148
	for i := range max(len(want), len(got)) {
		var w, g float64
		if i < len(want) {
			w = float64(want[i])
		}
		if i < len(got) {
			g = float64(got[i])
		}
		if d := math.Abs(w - g); !(d <= math.Abs(w)*VectorError+tiny) {
			return false
		}
	}
	return true
}

// SameMetadata reports whether the server gives for the one what it holds of
// the other: {} and null are the same; integers are equal; floats are equal
// within one unit in the last place, because the server's JSON parser rounds
// some literals to a neighbour; 0.0 and -0.0 are the same. An integer is never
// a float.
func SameMetadata(want, got json.RawMessage) bool {
	if bytes.Equal(want, got) {
		return true
	}
	a, ok := members(want)
	b, ok2 := members(got)
	if !ok || !ok2 || len(a) != len(b) {
		return false
	}
	for k, v := range a {
		w, ok := b[k]
		if !ok || !sameValue(v, w) {
			return false
		}
	}
	return true
}

func members(raw json.RawMessage) (map[string]json.RawMessage, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] == 'n' {
		return nil, true
	}
	var m map[string]json.RawMessage
	return m, json.Unmarshal(raw, &m) == nil
}

func sameValue(want, got json.RawMessage) bool {
	w, g := string(want), string(got)
	if w == g {
		return true
	}
	if !isNumber(w) || !isNumber(g) || isFloat(w) != isFloat(g) {
		if sameList(want, got) {
			return true
		}
		return vectors.SameMetadata(want, got) && !isNumber(w)
	}
	if !isFloat(w) {
		x, err1 := strconv.ParseInt(w, 10, 64)
		y, err2 := strconv.ParseInt(g, 10, 64)
		return err1 == nil && err2 == nil && x == y
	}
	x, err1 := strconv.ParseFloat(w, 64)
	y, err2 := strconv.ParseFloat(g, 64)
	return err1 == nil && err2 == nil && (x == y || math.Nextafter(x, y) == y)
}

func isNumber(lit string) bool {
	return lit != "" && (lit[0] == '-' || lit[0] >= '0' && lit[0] <= '9')
}
