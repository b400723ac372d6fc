package postgres

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"

	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// copyText reads rows as COPY's text format. It holds nothing but where it is,
// so a batch is never in memory twice.
type copyText struct {
	rows     []*pipeline.Row
	row, col int
	at       int    // bytes of the current string that are out
	tmp      []byte // rest of a short value, of the array below
	buf      [32]byte
}

// escapes holds, for every byte that COPY's text format escapes, the letter
// after the backslash. Source: PostgreSQL's reference of COPY, "Text Format".
var escapes = [256]byte{'\\': '\\', '\n': 'n', '\r': 'r', '\t': 't'}

// Read implements io.Reader; p must hold at least two bytes.
func (e *copyText) Read(p []byte) (int, error) {
	n := 0
	for {
		if len(e.tmp) > 0 {
			c := copy(p[n:], e.tmp)
			n, e.tmp = n+c, e.tmp[c:]
			if len(e.tmp) > 0 {
				return n, nil
			}
		}
		if e.row == len(e.rows) {
			if n == 0 {
				return 0, io.EOF
			}
			return n, nil
		}
		v := e.rows[e.row].Values[e.col]
		s, isText := v.(string)
		if isText {
			c := escape(p[n:], s[e.at:], &e.at)
			n += c
			if e.at < len(s) {
				return n, nil
			}
		} else {
			e.tmp = appendText(e.buf[:0], v)
		}
		e.at = 0
		e.col++
		end := byte('\t')
		if e.col == len(e.rows[e.row].Values) {
			e.row, e.col, end = e.row+1, 0, '\n'
		}
		if isText {
			e.tmp = append(e.buf[:0], end)
		} else {
			e.tmp = append(e.tmp, end)
		}
	}
}

// escape writes as much of s as fits and moves at by what it took.
func escape(p []byte, s string, at *int) int {
	n, from := 0, 0
	for i := 0; ; i++ {
		if i < len(s) && escapes[s[i]] == 0 {
			continue
		}
		c := copy(p[n:], s[from:i])
		n += c
		*at += c
		if c < i-from || i == len(s) || len(p)-n < 2 {
			return n
		}
		p[n], p[n+1] = '\\', escapes[s[i]]
		n, from = n+2, i+1
		*at++
	}
}

// appendText writes a value that needs no escapes.
func appendText(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, `\N`...)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case bool:
		if v {
			return append(b, 't')
		}
		return append(b, 'f')
	default:
		return append(b, fmt.Sprint(v)...)
	}
}

// copyBinary reads rows as COPY's binary format, for tables all of whose
// columns are text, JSON, bigint or boolean.
type copyBinary struct {
	rows     []*pipeline.Row
	row, col int
	at       int
	tmp      []byte
	buf      [32]byte
	state    int // 0: the header is to come, 1: rows, 2: the trailer is out
	open     bool
}

const binaryHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// Read implements io.Reader.
func (e *copyBinary) Read(p []byte) (int, error) {
	n := 0
	for {
		if len(e.tmp) > 0 {
			c := copy(p[n:], e.tmp)
			n, e.tmp = n+c, e.tmp[c:]
			if len(e.tmp) > 0 {
				return n, nil
			}
		}
		switch {
		case e.state == 0:
			e.tmp, e.state = append(e.buf[:0], binaryHeader...), 1
			continue
		case e.state == 2:
			if n == 0 {
				return 0, io.EOF
			}
			return n, nil
		case e.row == len(e.rows):
			e.tmp, e.state = append(e.buf[:0], 0xff, 0xff), 2
			continue
		}
		vals := e.rows[e.row].Values
		if e.open {
			s, _ := vals[e.col].(string)
			c := copy(p[n:], s[e.at:])
			n, e.at = n+c, e.at+c
			if e.at < len(s) {
				return n, nil
			}
			e.open, e.at = false, 0
			e.next(vals)
			continue
		}
		e.tmp = e.buf[:0]
		if e.col == 0 {
			e.tmp = binary.BigEndian.AppendUint16(e.tmp, uint16(len(vals)))
		}
		switch v := vals[e.col].(type) {
		case nil:
			e.tmp = append(e.tmp, 0xff, 0xff, 0xff, 0xff)
		case int64:
			e.tmp = binary.BigEndian.AppendUint32(e.tmp, 8)
			e.tmp = binary.BigEndian.AppendUint64(e.tmp, uint64(v))
		case bool:
			b := byte(0)
			if v {
				b = 1
			}
			e.tmp = append(e.tmp, 0, 0, 0, 1, b)
		case string:
			e.tmp = binary.BigEndian.AppendUint32(e.tmp, uint32(len(v)))
			e.open = true
			continue
		}
		e.next(vals)
	}
}

func (e *copyBinary) next(vals []any) {
	if e.col++; e.col == len(vals) {
		e.row, e.col = e.row+1, 0
	}
}

// fitsBinary reports whether every value has the Go type that its column's
// binary form is made from.
func fitsBinary(t *pg.Table, rows []*pipeline.Row) bool {
	cols := rows[0].Table.Columns
	types := make([]schema.Type, len(cols))
	for i, name := range cols {
		c, ok := t.Column(name)
		if !ok {
			return false
		}
		switch c.Type {
		case schema.Text, schema.Varchar, schema.JSON, schema.Bigint, schema.Boolean:
		default:
			return false
		}
		types[i] = c.Type
	}
	for _, r := range rows {
		for i, v := range r.Values {
			ok := true
			switch v.(type) {
			case nil:
			case int64:
				ok = types[i] == schema.Bigint
			case bool:
				ok = types[i] == schema.Boolean
			case string:
				ok = types[i] != schema.Bigint && types[i] != schema.Boolean
			default:
				ok = false
			}
			if !ok {
				return false
			}
		}
	}
	return true
}
