package vectors

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// SameMetadata reports whether PostgreSQL's jsonb holds the same for both: the
// same keys (of a repeated key the last counts), equal strings, numbers equal
// as exact decimals, never as float64. 1e-05 is 0.00001, but 3 is not 3.0:
// Python reads an int from the one and a float from the other.
func SameMetadata(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if a == nil || b == nil {
		return false
	}
	return sameJSON(bytes.TrimSpace(a), bytes.TrimSpace(b))
}

func sameJSON(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	if a[0] != '{' && a[0] != '[' && bytes.Equal(a, b) {
		return true
	}
	switch {
	case a[0] == '{' && b[0] == '{':
		var x, y map[string]json.RawMessage
		if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil || len(x) != len(y) {
			return false
		}
		for k, v := range x {
			w, ok := y[k]
			if !ok || !sameJSON(v, w) {
				return false
			}
		}
		return true
	case a[0] == '[' && b[0] == '[':
		var x, y []json.RawMessage
		if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !sameJSON(x[i], y[i]) {
				return false
			}
		}
		return true
	case a[0] == '"' && b[0] == '"':
		var x, y string
		return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && x == y
	}
	x, ok1 := decimalOf(a)
	y, ok2 := decimalOf(b)
	return ok1 && ok2 && x == y
}

// decimal is a number literal in a normal form: digits without zeros at either
// end, times ten to the exponent. whole tells that jsonb prints it without a
// decimal point.
type decimal struct {
	negative, whole bool
	digits          string
	exp             int
}

func decimalOf(lit []byte) (decimal, bool) {
	s, d := string(lit), decimal{}
	if s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return d, false
	}
	s, d.negative = strings.TrimPrefix(s, "-"), s[0] == '-'
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.Atoi(s[i+1:])
		if err != nil {
			return d, false
		}
		s, d.exp = s[:i], e
	}
	whole, frac, _ := strings.Cut(s, ".")
	d.exp -= len(frac)
	d.whole = d.exp >= 0 // numeric's display scale is what is left of the fraction
	d.digits = strings.TrimLeft(whole+frac, "0")
	short := strings.TrimRight(d.digits, "0")
	d.exp += len(d.digits) - len(short)
	d.digits = short
	if short == "" {
		d.negative, d.exp = false, 0
	}
	return d, true
}

// storable takes out of a JSON text what jsonb refuses: escaped NULs and
// surrogates without their other half, in keys and values. Everything else
// stays byte for byte. what names what was taken, "" when nothing was.
func storable(raw []byte) (out []byte, what string) { return strip(raw, true) }

// WithoutSurrogates takes escaped surrogates without their other half out of a
// JSON text, for stores that hold NULs; otherwise as the above: what names what
// was taken, "" when nothing was, and everything else stays byte for byte.
func WithoutSurrogates(raw []byte) (out []byte, what string) { return strip(raw, false) }

func strip(raw []byte, nuls bool) (out []byte, what string) {
	if !bytes.Contains(raw, []byte(`\u`)) {
		return raw, ""
	}
	var nul, lone bool
	for i := 0; i < len(raw); {
		if raw[i] != '\\' || i+1 == len(raw) {
			out = append(out, raw[i])
			i++
			continue
		}
		code, ok := escape(raw[i:])
		switch {
		case !ok: // \n, \\, \"
			out = append(out, raw[i], raw[i+1])
			i += 2
			continue
		case code == 0 && nuls:
			nul = true
		case code >= 0xdc00 && code < 0xe000:
			lone = true
		case code >= 0xd800 && code < 0xdc00:
			if low, ok := escape(raw[i+6:]); ok && low >= 0xdc00 && low < 0xe000 {
				out = append(out, raw[i:i+12]...)
				i += 12
				continue
			}
			lone = true
		default:
			out = append(out, raw[i:i+6]...)
		}
		i += 6
	}
	switch {
	case nul && lone:
		return out, "NUL characters and lone surrogates removed"
	case nul:
		return out, "NUL characters removed"
	case lone:
		return out, "lone surrogates removed"
	}
	return raw, ""
}

func escape(b []byte) (uint64, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return n, err == nil
}
