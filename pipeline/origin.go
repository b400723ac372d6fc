package pipeline

import (
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// Origins gives digests of records as their source holds them, for one goroutine.
// Of one unit and under one seed, equal records have equal origins, and whatever
// is a pure function of the record is then the same too. It takes a fraction of
// the time of the transforms and of a [Summer].
//
// An origin is 128 bits of XXH3. It is only compared with the one that was kept of
// the same key, so a change stays unseen once in 2^128: there are no many records
// of which any two might meet. XXH3 does not withstand people who look for two texts
// of one digest, so the seed is random and known to nobody who cannot read the state
// folder; and verify compares values.
type Origins struct {
	hash  *xxh3.Hasher
	buf   []byte // small pieces that were not hashed yet
	table *Table
	head  []byte // what stands for the table's header
}

// NewOrigins begins to give origins under a seed.
func NewOrigins(seed uint64) *Origins { return &Origins{hash: xxh3.NewSeed(seed)} }

// Of gives the origin of a row or a vector; the zero Sum, which is none, of
// another record.
func (o *Origins) Of(r Record) Sum {
	switch r := r.(type) {
	case *Row:
		o.Begin(r.Table)
		for _, v := range r.Values {
			o.value(v)
		}
	case *Vector:
		o.Begin(nil)
		o.Text(r.ID)
		if r.Text == nil {
			o.Null()
		} else {
			o.Text(*r.Text)
		}
		o.Blob(r.Metadata)
		o.kind('e', uint64(len(r.Embedding)))
		for _, f := range r.Embedding {
			o.buf = binary.LittleEndian.AppendUint32(o.buf, math.Float32bits(f))
		}
	default:
		return Sum{}
	}
	return o.Sum()
}

// Begin begins a row of a table; its values follow in the order of the columns,
// then Sum. The names of the columns and which of them are the key count too.
func (o *Origins) Begin(t *Table) {
	o.hash.Reset()
	o.buf = o.buf[:0]
	if t == nil {
		return
	}
	if t != o.table {
		o.table, o.head = t, headOf(t)
	}
	o.buf = append(o.buf, o.head...)
}

func headOf(t *Table) []byte {
	var h Origins
	for i, c := range t.Columns {
		h.kind('c', uint64(len(c)))
		h.buf = append(h.buf, c...)
		if k := slices.Index(t.Key, i); k >= 0 {
			h.kind('k', uint64(k))
		}
	}
	return h.buf
}

// Sum ends a record.
func (o *Origins) Sum() (s Sum) {
	o.flush()
	b := o.hash.Sum128().Bytes()
	copy(s[:], b[:])
	return s
}

// Null, Integer, Real, Bool, Text and Blob are the next value, by its kind.
func (o *Origins) Null() { o.kind('0', 0) }

// Integer is the next value.
func (o *Origins) Integer(n int64) { o.kind('i', uint64(n)) }

// Real is the next value.
func (o *Origins) Real(f float64) { o.kind('f', math.Float64bits(f)) }

// Bool is the next value.
func (o *Origins) Bool(b bool) {
	if b {
		o.kind('b', 1)
	} else {
		o.kind('b', 0)
	}
}

// Text is the next value. It is not kept.
func (o *Origins) Text(s string) { o.bytes('t', unsafe.Slice(unsafe.StringData(s), len(s))) }

// Blob is the next value. It is not kept.
func (o *Origins) Blob(b []byte) { o.bytes('x', b) }

func (o *Origins) value(v any) {
	switch v := v.(type) {
	case nil:
		o.Null()
	case int64:
		o.Integer(v)
	case float64:
		o.Real(v)
	case bool:
		o.Bool(v)
	case string:
		o.Text(v)
	case []byte:
		o.Blob(v)
	default:
		o.Text(keyText(v))
	}
}

func (o *Origins) kind(k byte, n uint64) {
	o.buf = binary.LittleEndian.AppendUint64(append(o.buf, k), n)
}

func (o *Origins) bytes(k byte, b []byte) {
	o.kind(k, uint64(len(b)))
	if len(b) < direct {
		o.buf = append(o.buf, b...)
		return
	}
	o.flush()
	_, _ = o.hash.Write(b) // a hash never fails, and only reads
}

func (o *Origins) flush() {
	_, _ = o.hash.Write(o.buf)
	o.buf = o.buf[:0]
}
