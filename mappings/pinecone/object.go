package pinecone

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"outgrow/mappings/vectors"
)

var errNoObject = errors.New("the metadata is not a JSON object")

// entries takes an object apart, in its order; of a repeated key the last value
// counts. nil and null have none.
func entries(raw json.RawMessage) ([]vectors.Member, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] != '{' || !json.Valid(raw) {
		return nil, errNoObject
	}
	return vectors.Members(raw)
}

// float spells a double as Python does, so that a whole number stays a float:
// 3.0, 1e+16, 5e-05.
func float(f float64) string { return string(vectors.AppendFloat(nil, f)) }

// double gives the number that Pinecone keeps of a literal; exact is false for
// a whole number that loses digits, ok for one that is beyond a double.
func double(lit string) (f float64, exact, ok bool) {
	f, err := strconv.ParseFloat(lit, 64)
	if err != nil || math.IsInf(f, 0) {
		return 0, false, false
	}
	if math.Abs(f) < 1<<53 || strings.ContainsAny(lit, ".eE") {
		return f, true, true
	}
	whole, ok := new(big.Int).SetString(lit, 10)
	if !ok {
		return f, false, true
	}
	kept, _ := new(big.Float).SetFloat64(f).Int(nil)
	return f, whole.Cmp(kept) == 0, true
}

// cleaned decodes a JSON string without escaped NULs and surrogates that lack
// their other half, which Open WebUI takes out of values as well.
func cleaned(raw json.RawMessage) (s string, changed bool) {
	if bytes.Contains(raw, []byte(`\u`)) {
		raw, changed = withoutBad(raw)
	}
	_ = json.Unmarshal(raw, &s) // it was found valid
	return s, changed
}

func withoutBad(raw []byte) (out []byte, changed bool) {
	for i := 0; i < len(raw); {
		code, ok := escape(raw[i:])
		if !ok {
			n := 1
			if raw[i] == '\\' && i+1 < len(raw) {
				n = 2
			}
			out = append(out, raw[i:i+n]...)
			i += n
			continue
		}
		n := 6
		if code >= 0xd800 && code < 0xdc00 {
			if low, ok := escape(raw[i+6:]); ok && low >= 0xdc00 && low < 0xe000 {
				n = 12
			}
		}
		if code == 0 || (n == 6 && code >= 0xd800 && code < 0xe000) {
			changed = true
		} else {
			out = append(out, raw[i:i+n]...)
		}
		i += n
	}
	return out, changed
}

func escape(b []byte) (uint64, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return n, err == nil
}

// stringList reports whether a literal is a list of strings, and gives it.
func stringList(raw json.RawMessage) ([]string, bool) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	out := make([]string, len(list))
	for i, r := range list {
		if r = bytes.TrimSpace(r); len(r) == 0 || r[0] != '"' {
			return nil, false
		}
		out[i], _ = cleaned(r)
	}
	return out, true
}

// sameValue compares two literals as Pinecone keeps them: numbers as doubles.
func sameValue(a, b json.RawMessage) bool {
	a, b = bytes.TrimSpace(a), bytes.TrimSpace(b)
	switch {
	case bytes.Equal(a, b):
		return true
	case len(a) == 0 || len(b) == 0:
		return false
	case a[0] == '"' && b[0] == '"':
		x, _ := cleaned(a)
		y, _ := cleaned(b)
		return x == y
	case a[0] == '[' && b[0] == '[':
		x, ok1 := stringList(a)
		y, ok2 := stringList(b)
		return ok1 && ok2 && slices.Equal(x, y)
	}
	x, _, ok1 := double(string(a))
	y, _, ok2 := double(string(b))
	return ok1 && ok2 && x == y
}

// SameMetadata reports whether Pinecone holds the same for both: the same keys,
// numbers equal as doubles. No metadata and an empty object are the same.
func SameMetadata(a, b json.RawMessage) bool {
	x, err1 := entries(a)
	y, err2 := entries(b)
	if err1 != nil || err2 != nil || len(x) != len(y) {
		return false
	}
	have := make(map[string]json.RawMessage, len(y))
	for _, e := range y {
		have[e.Key] = e.Value
	}
	for _, e := range x {
		if w, ok := have[e.Key]; !ok || !sameValue(e.Value, w) {
			return false
		}
	}
	return true
}
