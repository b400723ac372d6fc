package pipeline

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"math"
	"slices"
	"strings"
	"unsafe"
)

// Sum is a digest of a record as it is to be written: the first 16 bytes of a
// SHA-256.
type Sum [16]byte

// SumOf gives the digest of a record. Two records of one unit have the same sum
// when a target cannot tell them apart: for rows all values that are not NULL,
// with their kinds and the names of their columns in whatever order, for vectors
// id, text, metadata and every dimension's bits, for objects name, size,
// modification time, the digests that are known without reading them, and version.
func SumOf(r Record) (Sum, error) { return new(Summer).Of(r) }

// Summer gives the digests of many records, of one goroutine. The zero value is
// ready.
type Summer struct {
	summing
	table *Table
	order []int    // of the table's columns, by name
	names []string // what goes before the value of each
}

// Of is SumOf.
func (s *Summer) Of(r Record) (Sum, error) {
	s.begin()
	switch r := r.(type) {
	case *Row:
		s.row(r)
	case *Vector:
		s.vector(r)
	case *Object:
		s.text(r.Name)
		s.number(uint64(r.Bytes))
		s.number(uint64(r.ModTime.UnixNano()))
		s.text(r.SHA256)
		s.text(r.MD5)
		s.text(r.CRC32C)
		if r.Version != "" {
			s.text(r.Version)
		}
	default:
		body, err := json.Marshal(r)
		if err != nil {
			return Sum{}, fmt.Errorf("digesting %s: %w", r.Key(), err)
		}
		s.text(string(body))
	}
	return s.sum(), nil
}

// sumOfRefusals is the digest of a record that was refused before any target
// saw it: the lines hold it whole.
func sumOfRefusals(lines []Refusal) Sum {
	var h summing
	h.begin()
	for _, l := range lines {
		h.text(l.Column)
		h.text(string(l.Reason))
		h.text(string(l.Record))
	}
	return h.sum()
}

// summing is a hash that gets small pieces together.
type summing struct {
	hash hash.Hash
	buf  []byte
}

// direct is the length from which a text goes to the hash without a copy.
const direct = 512

func (h *summing) begin() {
	if h.hash == nil {
		h.hash = sha256.New()
	}
	h.hash.Reset()
	h.buf = h.buf[:0]
}

func (h *summing) sum() (s Sum) {
	h.flush()
	h.buf = h.hash.Sum(h.buf)
	copy(s[:], h.buf)
	return s
}

func (h *summing) flush() {
	_, _ = h.hash.Write(h.buf) // a hash never fails
	h.buf = h.buf[:0]
}

func (h *summing) kind(k byte, n uint64) {
	h.buf = binary.BigEndian.AppendUint64(append(h.buf, k), n)
}

func (h *summing) number(n uint64) { h.kind('n', n) }

func (h *summing) text(s string) {
	h.kind('t', uint64(len(s)))
	if len(s) < direct {
		h.buf = append(h.buf, s...)
		return
	}
	h.flush()
	_, _ = h.hash.Write(unsafe.Slice(unsafe.StringData(s), len(s))) // without a copy: a hash only reads
}

func (h *summing) bytes(k byte, b []byte) {
	h.kind(k, uint64(len(b)))
	h.flush()
	_, _ = h.hash.Write(b)
}

// columns prepares for the rows of a table.
func (s *Summer) columns(t *Table) {
	s.table, s.order, s.names = t, s.order[:0], s.names[:0]
	for i, c := range t.Columns {
		var h summing
		h.kind('t', uint64(len(c)))
		s.order, s.names = append(s.order, i), append(s.names, string(h.buf)+c)
	}
	slices.SortFunc(s.order, func(a, b int) int { return strings.Compare(t.Columns[a], t.Columns[b]) })
}

func (s *Summer) row(r *Row) {
	if r.Table != s.table {
		s.columns(r.Table)
	}
	for _, i := range s.order {
		v := r.Values[i]
		if v == nil {
			continue
		}
		s.buf = append(s.buf, s.names[i]...)
		switch v := v.(type) {
		case bool:
			if v {
				s.kind('b', 1)
			} else {
				s.kind('b', 0)
			}
		case int64:
			s.kind('i', uint64(v))
		case float64:
			s.kind('f', math.Float64bits(v))
		case string:
			s.text(v)
		case []byte:
			s.bytes('x', v)
		default:
			s.text(fmt.Sprintf("%T %v", v, v))
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
	h.bytes('m', v.Metadata)
	h.kind('e', uint64(len(v.Embedding)))
	for _, f := range v.Embedding {
		h.buf = binary.LittleEndian.AppendUint32(h.buf, math.Float32bits(f))
	}
}
