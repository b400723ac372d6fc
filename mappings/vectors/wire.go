package vectors

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Append encodes an embedding in pgvector's binary form, padded with 0.0 to the
// layout's length and rounded for halfvec. The embedding must have passed
// [Transform]: it is not longer and has no element that the type refuses.
func (l PGLayout) Append(buf []byte, v []float32) []byte {
	buf = binary.BigEndian.AppendUint16(buf, uint16(l.MaxLength))
	buf = append(buf, 0, 0)
	width := 4
	if l.HalfVec {
		width = 2
	}
	at, n := len(buf), l.MaxLength*width
	buf = append(buf, make([]byte, n)...)
	if l.HalfVec {
		for i, f := range v {
			h, _ := ToHalf(f)
			binary.BigEndian.PutUint16(buf[at+2*i:], h)
		}
		return buf
	}
	for i, f := range v {
		binary.BigEndian.PutUint32(buf[at+4*i:], math.Float32bits(f))
	}
	return buf
}

// Parse decodes pgvector's binary form of a vector or a halfvec. With dim above
// 0 the padding behind dim elements is taken off, but only where it is 0.0.
func Parse(raw []byte, dim int) ([]float32, error) {
	if len(raw) < 4 {
		return nil, fmt.Errorf("decoding a vector: %d bytes", len(raw))
	}
	n, body := int(binary.BigEndian.Uint16(raw)), raw[4:]
	half := len(body) == 2*n
	if !half && len(body) != 4*n {
		return nil, fmt.Errorf("decoding a vector: %d bytes for %d dimensions", len(body), n)
	}
	if dim > 0 && dim < n {
		width := len(body) / n
		if zero(body[dim*width:]) {
			n = dim
		}
	}
	v := make([]float32, n)
	for i := range v {
		if half {
			v[i] = FromHalf(binary.BigEndian.Uint16(body[2*i:]))
		} else {
			v[i] = math.Float32frombits(binary.BigEndian.Uint32(body[4*i:]))
		}
	}
	return v, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
