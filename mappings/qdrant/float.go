package qdrant

import (
	"math"
	"strconv"
	"strings"
)

// Qdrant 1.18 keeps a payload as JSON text, also what came over gRPC, and reads
// numbers with serde_json's quick parser, which may be off by a unit or two in
// the last place. Whenever it moves a point into another segment it reads and
// writes the text again. So what it gives back of a double is the double, or
// what reading it once, twice, … makes of it; nothing else.

// rereadings is how many times a double may have been read and written: once
// to answer, and once for every time the point was moved.
const rereadings = 32

// sameDouble reports whether a store that was given want may give back got.
func sameDouble(want, got float64) bool {
	for range rereadings {
		if math.Float64bits(want) == math.Float64bits(got) {
			return true
		}
		next := reread(want)
		if next == want {
			return false
		}
		want = next
	}
	return false
}

// reread is what serde_json 1 reads where a double was written: digits of the
// significand as an integer, divided by or multiplied with one power of ten.
// Source: serde_json/src/de.rs, f64_from_parts; ryu/src/pretty.
func reread(f float64) float64 {
	text := strconv.FormatFloat(math.Abs(f), 'e', -1, 64)
	mantissa, exp, _ := strings.Cut(text, "e")
	exponent, err := strconv.Atoi(exp)
	if err != nil { // NaN and the infinities
		return f
	}
	whole, frac, _ := strings.Cut(mantissa, ".")
	digits := whole + frac
	exponent -= len(frac)
	const plain = 16 // digits before the point up to which there is no exponent
	if exponent >= 0 && len(digits)+exponent <= plain {
		digits += strings.Repeat("0", exponent) + "0" // 12300.0
		exponent = -1
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return f
	}
	const most = 308 // the largest power of ten that a double holds
	x := float64(n)
	if exponent < -most {
		x /= 1e308
		exponent += most
	}
	power := pow10(max(exponent, -exponent))
	if exponent < 0 {
		x /= power
	} else {
		x *= power
	}
	return math.Copysign(x, f)
}

// pow10 is the double nearest to a power of ten.
func pow10(n int) float64 {
	f, _ := strconv.ParseFloat("1e"+strconv.Itoa(n), 64)
	return f
}
