package pipeline

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"math"
	"unsafe"
)

// Sum is a digest of a record as it is to be written: the first 16 bytes of a
// SHA-256.
type Sum [16]byte

// SumOf gives the digest of a record. Two records of one unit have the same sum
// when a target cannot tell them apart: for rows all values with their kinds
// and the names of their columns, for vectors id, text, metadata and every
// dimension's bits, for objects name, size, modification time and the digests
// that are known without reading them.
func SumOf(r Record) (Sum, error) {
	h := summing{Hash: sha256.New()}
	switch r := r.(type) {
	case *Row:
		h.row(r)
	case *Vector:
		h.vector(r)
	case *Object:
		h.text(r.Name)
		h.number(uint64(r.Bytes))
		h.number(uint64(r.ModTime.UnixNano()))
		h.text(r.SHA256)
		h.text(r.MD5)
		h.text(r.CRC32C)
	default:
		body, err := json.Marshal(r)
		if err != nil {
			return Sum{}, fmt.Errorf("digesting %s: %w", r.Key(), err)
		}
		h.text(string(body))
	}
	return h.sum(), nil
}

// sumOfRefusals is the digest of a record that was refused before any target
// saw it: the lines hold it whole.
func sumOfRefusals(lines []Refusal) Sum {
	h := summing{Hash: sha256.New()}
	for _, l := range lines {
		h.text(l.Column)
		h.text(string(l.Reason))
		h.text(string(l.Record))
	}
	return h.sum()
}

type summing struct {
	hash.Hash
	buf [9]byte
}

func (h *summing) sum() (s Sum) {
	copy(s[:], h.Sum(nil))
	return s
}

func (h *summing) kind(k byte, n uint64) {
	h.buf[0] = k
	binary.BigEndian.PutUint64(h.buf[1:], n)
	_, _ = h.Write(h.buf[:])
}

func (h *summing) number(n uint64) { h.kind('n', n) }

func (h *summing) text(s string) {
	h.kind('t', uint64(len(s)))
	_, _ = h.Write(unsafe.Slice(unsafe.StringData(s), len(s))) // without a copy: a hash only reads
}

func (h *summing) row(r *Row) {
	for i, v := range r.Values {
		h.text(r.Table.Columns[i])
		switch v := v.(type) {
		case nil:
			h.kind('0', 0)
		case bool:
			if v {
				h.kind('b', 1)
			} else {
				h.kind('b', 0)
			}
		case int64:
			h.kind('i', uint64(v))
		case float64:
			h.kind('f', math.Float64bits(v))
		case string:
			h.text(v)
		case []byte:
			h.kind('x', uint64(len(v)))
			_, _ = h.Write(v)
		default:
			h.text(fmt.Sprintf("%T %v", v, v))
		}
	}
}

func (h *summing) vector(v *Vector) {
	h.text(v.ID)
	if v.Text == nil {
		h.kind('0', 0)
	} else {
		h.text(*v.Text)
	}
	h.kind('m', uint64(len(v.Metadata)))
	_, _ = h.Write(v.Metadata)
	bits := make([]byte, 4*len(v.Embedding))
	for i, f := range v.Embedding {
		binary.LittleEndian.PutUint32(bits[4*i:], math.Float32bits(f))
	}
	h.kind('e', uint64(len(v.Embedding)))
	_, _ = h.Write(bits)
}
