package chroma

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"

	"outgrow/mappings/vectors"
)

// documentKey is the metadata key under which chromadb keeps the document.
const documentKey = "chroma:document"

// errNotUTF8 refuses a record whose text no JSON can hold.
var errNotUTF8 = errors.New("text that is not UTF-8")

// field is one key of a record's metadata.
type field struct {
	key string
	ord int64 // rowid: the order of the keys
	// value is a string, int64, float64, bool, or a []any of one of them.
	value any
}

// body is what a record has besides id and vector.
type body struct {
	text   *string
	fields []field
}

// set replaces or adds a key.
func (b *body) set(key string, value any) {
	last := int64(0)
	for i := range b.fields {
		if b.fields[i].key == key {
			b.fields[i].value = value
			return
		}
		last = max(last, b.fields[i].ord)
	}
	b.fields = append(b.fields, field{key, last + 1, value})
}

func (b *body) drop(key string) {
	for i := range b.fields {
		if b.fields[i].key == key {
			b.fields = append(b.fields[:i], b.fields[i+1:]...)
			return
		}
	}
}

// appendMetadata writes the fields as a JSON object, in the order of their rowids.
func appendMetadata(buf []byte, fields []field) ([]byte, error) {
	for i := 1; i < len(fields); i++ { // they are few and nearly in order
		for j := i; j > 0 && fields[j-1].ord > fields[j].ord; j-- {
			fields[j-1], fields[j] = fields[j], fields[j-1]
		}
	}
	var err error
	buf = append(buf, '{')
	for i, f := range fields {
		if i > 0 {
			buf = append(buf, ',')
		}
		if buf, err = appendString(buf, f.key); err != nil {
			return buf, err
		}
		buf = append(buf, ':')
		if buf, err = appendValue(buf, f.value); err != nil {
			return buf, err
		}
	}
	return append(buf, '}'), nil
}

func appendValue(buf []byte, v any) (_ []byte, err error) {
	switch v := v.(type) {
	case string:
		return appendString(buf, v)
	case int64:
		return strconv.AppendInt(buf, v, 10), nil
	case float64:
		return appendFloat(buf, v), nil
	case bool:
		return strconv.AppendBool(buf, v), nil
	case []any:
		buf = append(buf, '[')
		for i, e := range v {
			if i > 0 {
				buf = append(buf, ',')
			}
			if buf, err = appendValue(buf, e); err != nil {
				return buf, err
			}
		}
		return append(buf, ']'), nil
	}
	return append(buf, "null"...), nil
}

// appendFloat spells a float as Python's repr does, so that it stays a float:
// 3.0, 1e-05, 1e+16. Infinity, which JSON cannot spell, becomes 1e999: that is
// read back as infinity by Python.
func appendFloat(buf []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(buf, "1e999"...)
	case math.IsInf(f, -1):
		return append(buf, "-1e999"...)
	case f == 0:
		return append(buf, "0.0"...)
	}
	return vectors.AppendFloat(buf, f)
}

// appendString quotes a string; only what JSON demands is escaped.
func appendString(buf []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return buf, errNotUTF8
	}
	return vectors.AppendText(buf, s), nil
}

// metadataJSON gives nil when there are no fields: the store then holds none.
func metadataJSON(buf []byte, fields []field) (json.RawMessage, []byte, error) {
	if len(fields) == 0 {
		return nil, buf, nil
	}
	buf, err := appendMetadata(buf[:0], fields)
	if err != nil {
		return nil, buf, err
	}
	return append(json.RawMessage(nil), buf...), buf, nil
}
