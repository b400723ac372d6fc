package sqlite

import (
	"encoding/binary"
	"math"
	"unsafe"

	"outgrow/pipeline"
)

// value is one of a record.
type value struct {
	kind  uint64 // its serial type
	bytes []byte
}

// look looks at the row that the tree is at. Not ok: SQLite is to read it.
func (g *glance) look(o *pipeline.Origins) (key string, origin pipeline.Sum, size int, ok bool, err error) {
	if ok, err = g.parse(); !ok || err != nil {
		return "", origin, 0, false, err
	}
	o.Begin(g.table)
	for _, c := range g.columns {
		size += 16 + g.trace(c, o)
	}
	return g.key(), o.Sum(), size, true, nil
}

// parse finds the values in a record, section 2.1 of the format.
func (g *glance) parse() (bool, error) {
	c := &g.tree.cell
	record := c.local
	head, n := varint(record)
	if n == 0 || head > uint64(len(record)) || c.bytes > longest {
		return false, nil
	}
	at, i := int(head), 0
	for n < int(head) {
		if i == len(g.values) {
			return false, nil
		}
		kind, m := varint(record[n:head])
		if m == 0 {
			return false, nil
		}
		n += m
		width, known := widthOf(kind)
		if !known || width > c.bytes-at {
			return false, nil
		}
		g.values[i].kind = kind
		at += width
		i++
	}
	if i < g.missing || at != c.bytes {
		return false, nil
	}
	record, err := g.tree.record()
	if err != nil {
		return false, err
	}
	at = int(head)
	for k := range g.values[:i] {
		width, _ := widthOf(g.values[k].kind)
		g.values[k].bytes = record[at : at+width]
		at += width
	}
	clear(g.values[i:]) // NULL
	return true, nil
}

// widthOf gives the bytes of a value.
func widthOf(kind uint64) (int, bool) {
	switch {
	case kind >= 12:
		return int(min((kind-12)/2, math.MaxInt32)), true
	case kind >= 10:
		return 0, false
	}
	return [...]int{0, 1, 2, 3, 4, 6, 8, 8, 0, 0}[kind], true
}

const (
	kindReal  = 7
	kindZero  = 8
	kindOne   = 9
	kindBytes = 12 // and more: odd ones are texts
)

func (v *value) text() (string, bool) {
	if v.kind < kindBytes || v.kind%2 == 0 {
		return "", false
	}
	return unsafe.String(unsafe.SliceData(v.bytes), len(v.bytes)), true
}

func (v *value) integer() int64 {
	switch v.kind {
	case kindZero:
		return 0
	case kindOne:
		return 1
	}
	n := int64(int8(v.bytes[0]))
	for _, b := range v.bytes[1:] {
		n = n<<8 | int64(b)
	}
	return n
}

// trace adds a value to an origin, as SQLite would give it, and tells the bytes of a
// text or blob.
func (g *glance) trace(c place, o *pipeline.Origins) int {
	v := &g.values[c.at]
	switch {
	case c.rowid:
		o.Integer(g.tree.last)
	case v.kind == 0:
		o.Null()
	case v.kind >= kindBytes:
		if text, ok := v.text(); ok {
			o.Text(text)
		} else {
			o.Blob(v.bytes)
		}
		return len(v.bytes)
	case v.kind == kindReal:
		if f := math.Float64frombits(binary.BigEndian.Uint64(v.bytes)); math.IsNaN(f) {
			o.Null()
		} else {
			o.Real(f)
		}
	case c.real:
		o.Real(float64(v.integer()))
	default:
		o.Integer(v.integer())
	}
	return 0
}

// key is that of the row, valid until the next one.
func (g *glance) key() string {
	if k := g.table.Key; len(k) == 1 {
		if c := g.columns[k[0]]; !c.rowid {
			if text, ok := g.values[c.at].text(); ok {
				return text
			}
		}
	}
	for _, k := range g.table.Key {
		g.row.Values[k] = g.value(g.columns[k])
	}
	return g.row.Key()
}

func (g *glance) value(c place) any {
	v := &g.values[c.at]
	if text, ok := v.text(); ok && !c.rowid {
		return text
	}
	switch {
	case c.rowid:
		return g.tree.last
	case v.kind >= kindBytes:
		return v.bytes
	case v.kind == kindReal:
		if f := math.Float64frombits(binary.BigEndian.Uint64(v.bytes)); !math.IsNaN(f) {
			return f
		}
	case v.kind > 0 && c.real:
		return float64(v.integer())
	case v.kind > 0:
		return v.integer()
	}
	return nil
}
