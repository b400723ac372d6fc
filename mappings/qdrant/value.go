package qdrant

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"outgrow/mappings/vectors"

	pb "github.com/qdrant/go-client/qdrant"
)

var errJSON = errors.New("not valid JSON")

// Value turns JSON into Qdrant's own values. A number without point and
// exponent is an integer, or a double when it is beyond int64; any other is a
// double: 3 and 3.0 stay apart. Of a repeated key the last counts.
func Value(raw json.RawMessage) (*pb.Value, error) {
	if !json.Valid(raw) {
		return nil, errJSON
	}
	p := parser{raw: raw}
	v, err := p.value()
	if err == nil && p.blank() != 0 {
		err = errJSON
	}
	return v, err
}

// parser reads JSON that is valid.
type parser struct {
	raw []byte
	at  int
}

// blank passes over blanks and gives the byte behind them, 0 at the end.
func (p *parser) blank() byte {
	for ; p.at < len(p.raw); p.at++ {
		switch c := p.raw[p.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (p *parser) value() (*pb.Value, error) {
	switch p.blank() {
	case '{':
		return p.object()
	case '[':
		return p.list()
	case '"':
		s, err := p.text()
		return pb.NewValueString(s), err
	case 't':
		p.at += len("true")
		return pb.NewValueBool(true), nil
	case 'f':
		p.at += len("false")
		return pb.NewValueBool(false), nil
	case 'n':
		p.at += len("null")
		return pb.NewValueNull(), nil
	case 0:
		return nil, errJSON
	}
	lit := literal(p.raw[p.at:])
	p.at += len(lit)
	if isInteger(lit) {
		if n, err := strconv.ParseInt(lit, 10, 64); err == nil {
			return pb.NewValueInt(n), nil
		}
	}
	f, err := strconv.ParseFloat(lit, 64)
	if err != nil {
		return nil, fmt.Errorf("the number %.40s is beyond what a double can hold", lit)
	}
	return pb.NewValueDouble(f), nil
}

func (p *parser) object() (*pb.Value, error) {
	fields := map[string]*pb.Value{}
	for p.at++; p.blank() != '}'; {
		if p.raw[p.at] == ',' {
			p.at++
			p.blank()
		}
		key, err := p.text()
		if err != nil {
			return nil, err
		}
		p.blank()
		p.at++ // the colon
		if fields[key], err = p.value(); err != nil {
			return nil, err
		}
	}
	p.at++
	return pb.NewValueFromFields(fields), nil
}

func (p *parser) list() (*pb.Value, error) {
	var items []*pb.Value
	for p.at++; p.blank() != ']'; {
		if p.raw[p.at] == ',' {
			p.at++
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		items = append(items, v)
	}
	p.at++
	return pb.NewValueFromList(items...), nil
}

func (p *parser) text() (string, error) {
	from := p.at
	plain := true
	for p.at++; p.raw[p.at] != '"'; p.at++ {
		if p.raw[p.at] == '\\' {
			plain = false
			p.at++
		}
	}
	p.at++
	lit := p.raw[from:p.at]
	if plain {
		return string(lit[1 : len(lit)-1]), nil
	}
	var s string
	err := json.Unmarshal(lit, &s)
	return s, err
}

// literal is the number at the start of b.
func literal(b []byte) string {
	n := 0
	for n < len(b) && (b[n] >= '0' && b[n] <= '9' || strings.IndexByte("+-.eE", b[n]) >= 0) {
		n++
	}
	return string(b[:n])
}

func isInteger(lit string) bool { return !strings.ContainsAny(lit, ".eE") }

// JSON is the reverse of [Value]; keys come in order. NaN and the infinities,
// which JSON has not, become null, as they do in Qdrant itself.
func JSON(v *pb.Value) json.RawMessage { return appendJSON(nil, v) }

func appendJSON(b []byte, v *pb.Value) []byte {
	switch k := v.GetKind().(type) {
	case *pb.Value_StringValue:
		return vectors.AppendText(b, k.StringValue)
	case *pb.Value_IntegerValue:
		return strconv.AppendInt(b, k.IntegerValue, 10)
	case *pb.Value_DoubleValue:
		return appendDouble(b, k.DoubleValue)
	case *pb.Value_BoolValue:
		return strconv.AppendBool(b, k.BoolValue)
	case *pb.Value_StructValue:
		b = append(b, '{')
		fields := k.StructValue.GetFields()
		for i, key := range slices.Sorted(maps.Keys(fields)) {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(vectors.AppendText(b, key), ": "...)
			b = appendJSON(b, fields[key])
		}
		return append(b, '}')
	case *pb.Value_ListValue:
		b = append(b, '[')
		for i, item := range k.ListValue.GetValues() {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendJSON(b, item)
		}
		return append(b, ']')
	}
	return append(b, "null"...)
}

// appendDouble writes the shortest literal of the double that is no integer's.
func appendDouble(b []byte, f float64) []byte {
	if f-f != 0 {
		return append(b, "null"...)
	}
	return vectors.AppendFloat(b, f)
}

// SameMetadata reports whether Qdrant may give back got where it was given want:
// integers as int64, other numbers as Qdrant reads doubles, strings and keys
// byte for byte.
func SameMetadata(want, got json.RawMessage) bool {
	if string(want) == string(got) {
		return true
	}
	x, err1 := Value(orNull(want))
	y, err2 := Value(orNull(got))
	return err1 == nil && err2 == nil && same(x, y)
}

func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}

func same(a, b *pb.Value) bool {
	switch x := a.GetKind().(type) {
	case *pb.Value_StringValue:
		y, ok := b.GetKind().(*pb.Value_StringValue)
		return ok && x.StringValue == y.StringValue
	case *pb.Value_IntegerValue:
		y, ok := b.GetKind().(*pb.Value_IntegerValue)
		return ok && x.IntegerValue == y.IntegerValue
	case *pb.Value_DoubleValue:
		y, ok := b.GetKind().(*pb.Value_DoubleValue)
		return ok && sameDouble(x.DoubleValue, y.DoubleValue)
	case *pb.Value_BoolValue:
		y, ok := b.GetKind().(*pb.Value_BoolValue)
		return ok && x.BoolValue == y.BoolValue
	case *pb.Value_StructValue:
		y, ok := b.GetKind().(*pb.Value_StructValue)
		return ok && maps.EqualFunc(x.StructValue.GetFields(), y.StructValue.GetFields(), same)
	case *pb.Value_ListValue:
		y, ok := b.GetKind().(*pb.Value_ListValue)
		return ok && slices.EqualFunc(x.ListValue.GetValues(), y.ListValue.GetValues(), same)
	}
	_, ok := b.GetKind().(*pb.Value_NullValue)
	return ok || b.GetKind() == nil
}

// validText replaces what is not UTF-8, which gRPC cannot carry.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
