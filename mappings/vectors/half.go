package vectors

import "github.com/x448/float16"

// MaxHalf is the largest magnitude that a halfvec's element can have.
const MaxHalf = 65504

// ToHalf rounds to the nearest half-precision number, ties to even, as
// pgvector's cast of vector to halfvec does; ok is false for what that cast
// refuses: NaN, infinity, and what would round to infinity.
func ToHalf(f float32) (half uint16, ok bool) {
	h := float16.Fromfloat32(f)
	if !h.IsFinite() {
		return 0, false
	}
	return h.Bits(), true
}

// FromHalf gives the exact value of a half-precision number.
func FromHalf(h uint16) float32 { return float16.Frombits(h).Float32() }
