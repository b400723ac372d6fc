package pg

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// Types that Open WebUI's own tables do not have, and tables of others or made by
// hand may.
const (
	smallint    schema.Type = "smallint"
	float4      schema.Type = "real"
	float8      schema.Type = "double precision"
	bytea       schema.Type = "bytea"
	timestamptz schema.Type = "timestamp with time zone"
)

// Reader turns rows of one table, as the server sends them, into pipeline rows:
// nil, int64, bool or string, which is canonical, and where a column has such a
// type float64 (floating point) and []byte (bytea). JSON is the text as it is
// stored, a time with a zone is that of UTC, any other type is its text.
type Reader struct {
	Table *pipeline.Table
	types []schema.Type
}

// NewReader reads the named columns of a table (all of them for nil), in that
// order.
func NewReader(t *Table, columns []string) (*Reader, error) {
	if columns == nil {
		columns = t.Names()
	}
	r := &Reader{Table: &pipeline.Table{Name: t.Name, Columns: columns}, types: make([]schema.Type, len(columns))}
	at := make(map[string]int, len(columns))
	for i, name := range columns {
		c, ok := t.Column(name)
		if !ok {
			return nil, &pipeline.Error{Op: "reading", Unit: t.Name, Err: fmt.Errorf("the table has no column %q", name)}
		}
		r.types[i], at[name] = c.Type, i
	}
	for _, k := range t.Key {
		i, ok := at[k]
		if !ok {
			return nil, &pipeline.Error{Op: "reading", Unit: t.Name, Err: fmt.Errorf("column %q of the primary key is not read", k)}
		}
		r.Table.Key = append(r.Table.Key, i)
	}
	return r, nil
}

// Formats asks the server for the binary form of every column; give it to the
// query as an argument.
func (r *Reader) Formats() pgx.QueryResultFormats {
	return pgx.QueryResultFormats{pgx.BinaryFormatCode}
}

// Select lists the expressions to select, for a table under this alias ("" for
// none). What has no simple binary form is asked for as text.
func (r *Reader) Select(alias string) string {
	if alias != "" {
		alias += "."
	}
	var b strings.Builder
	for i, name := range r.Table.Columns {
		if i > 0 {
			b.WriteString(", ")
		}
		switch r.types[i] {
		case schema.Text, schema.Varchar, schema.JSON, schema.Bigint, schema.Integer, schema.Boolean, smallint, bytea:
			b.WriteString(alias + Ident(name))
		case timestamptz:
			b.WriteString("(" + alias + Ident(name) + " AT TIME ZONE 'UTC')::text")
		default:
			b.WriteString(alias + Ident(name) + "::text")
		}
	}
	return b.String()
}

// Row decodes the values of [Reader.Select]; they are copied.
func (r *Reader) Row(raw [][]byte) (*pipeline.Row, error) {
	row := &pipeline.Row{Table: r.Table, Values: make([]any, len(r.types))}
	for i, v := range raw[:len(r.types)] {
		if v == nil {
			continue
		}
		ok := true
		switch r.types[i] {
		case schema.Bigint:
			if ok = len(v) == 8; ok {
				row.Values[i] = int64(binary.BigEndian.Uint64(v))
			}
		case schema.Integer:
			if ok = len(v) == 4; ok {
				row.Values[i] = int64(int32(binary.BigEndian.Uint32(v)))
			}
		case schema.Boolean:
			if ok = len(v) == 1; ok {
				row.Values[i] = v[0] != 0
			}
		case smallint:
			if ok = len(v) == 2; ok {
				row.Values[i] = int64(int16(binary.BigEndian.Uint16(v)))
			}
		case float4, float8:
			f, err := strconv.ParseFloat(string(v), 64)
			if err != nil {
				return nil, fmt.Errorf("column %q: %w", r.Table.Columns[i], err)
			}
			row.Values[i] = f
		case bytea:
			row.Values[i] = append([]byte{}, v...)
		case schema.Timestamp, timestamptz:
			row.Values[i] = Micros(string(v))
		default:
			row.Values[i] = string(v)
		}
		if !ok {
			return nil, fmt.Errorf("column %q: %d bytes for a %s", r.Table.Columns[i], len(v), r.types[i])
		}
	}
	return row, nil
}

// Micros writes a timestamp's fraction with six digits, or without one when it
// is zero, so that equal times are equal text.
func Micros(s string) string {
	whole, frac, ok := strings.Cut(s, ".")
	if !ok {
		return s
	}
	if n, err := strconv.Atoi(frac); err != nil || len(frac) > 6 {
		return s // "BC" behind it
	} else if n == 0 {
		return whole
	}
	return whole + "." + frac + strings.Repeat("0", 6-len(frac))
}
