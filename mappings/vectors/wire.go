package vectors

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/pgvector/pgvector-go"
)

// Append encodes an embedding in pgvector's binary form, padded with 0.0 to the
// layout's length and rounded for halfvec. The embedding must have passed
// [Transform]: it is not longer and has no element that the type refuses.
func (l PGLayout) Append(buf []byte, v []float32) ([]byte, error) {
	if l.HalfVec {
		// pgvector-go has a binary form of halfvec for pgx's own encoder only.
		buf = binary.BigEndian.AppendUint16(buf, uint16(l.MaxLength))
		buf = append(buf, 0, 0)
		for _, f := range v {
			h, _ := ToHalf(f)
			buf = binary.BigEndian.AppendUint16(buf, h)
		}
		return append(buf, make([]byte, 2*(l.MaxLength-len(v)))...), nil
	}
	if len(v) < l.MaxLength {
		v = append(make([]float32, 0, l.MaxLength), v...)[:l.MaxLength]
	}
	return pgvector.NewVector(v).EncodeBinary(buf)
}

// Parse decodes pgvector's binary form of a vector or a halfvec. With dim above
// 0 the padding behind dim elements is taken off, but only where it is 0.0.
func Parse(raw []byte, dim int) ([]float32, error) {
	if len(raw) < 4 {
		return nil, fmt.Errorf("decoding a vector: %d bytes", len(raw))
	}
	n, body := int(binary.BigEndian.Uint16(raw)), raw[4:]
	var v []float32
	switch len(body) {
	case 4 * n:
		var whole pgvector.Vector
		if err := whole.DecodeBinary(raw); err != nil {
			return nil, fmt.Errorf("decoding a vector: %w", err)
		}
		v = whole.Slice()
	case 2 * n:
		v = make([]float32, n)
		for i := range v {
			v[i] = FromHalf(binary.BigEndian.Uint16(body[2*i:]))
		}
	default:
		return nil, fmt.Errorf("decoding a vector: %d bytes for %d dimensions", len(body), n)
	}
	if dim > 0 && dim < n && zero(v[dim:]) {
		v = v[:dim:dim]
	}
	return v, nil
}

// zero reports whether all are 0.0; -0.0 is no padding.
func zero(v []float32) bool {
	for _, f := range v {
		if math.Float32bits(f) != 0 {
			return false
		}
	}
	return true
}
