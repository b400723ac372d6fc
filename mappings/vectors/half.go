package vectors

import "math"

// MaxHalf is the largest magnitude that a halfvec's element can have.
const MaxHalf = 65504

// ToHalf rounds to the nearest half-precision number, ties to even, as
// pgvector's cast of vector to halfvec does; ok is false for what that cast
// refuses: NaN, infinity, and what would round to infinity.
func ToHalf(f float32) (half uint16, ok bool) {
	b := math.Float32bits(f)
	sign, abs := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case abs >= 0x477ff000: // 65520, the middle between MaxHalf and the next power of two
		return 0, false
	case abs >= 0x38800000: // 2^-14, the smallest normal half
		m := abs - 112<<23
		m += 0xfff + m>>13&1
		return sign | uint16(m>>13), true
	case abs <= 0x33000000: // 2^-25, half of the smallest subnormal
		return sign, true
	}
	mant, shift := abs&0x7fffff|0x800000, 126-abs>>23
	h, rest, middle := mant>>shift, mant&(1<<shift-1), uint32(1)<<(shift-1)
	if rest > middle || rest == middle && h&1 == 1 {
		h++
	}
	return sign | uint16(h), true
}

// FromHalf gives the exact value of a half-precision number.
func FromHalf(h uint16) float32 {
	sign, exp, mant := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exp {
	case 0:
		f := float32(mant) / (1 << 24) // exact: mant has ten bits
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | mant<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | mant<<13)
}
