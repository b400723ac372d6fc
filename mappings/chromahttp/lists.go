package chromahttp

import (
	"bytes"
	"encoding/json"
	"strconv"

	"outgrow/mappings/vectors"
)

// Values takes a list apart that chromadb 1.5 holds as it is: not empty, and
// all strings, all booleans, all integers of 64 bits or all floats. ok is false
// for anything else.
func Values(raw json.RawMessage) (values []json.RawMessage, ok bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &values) != nil || len(values) == 0 {
		return nil, false
	}
	first := kind(values[0])
	for _, v := range values {
		if k := kind(v); k == 0 || k != first {
			return nil, false
		}
	}
	return values, true
}

// kind tells the type of a scalar that chromadb can hold, 0 for anything else.
func kind(v json.RawMessage) byte {
	switch c := v[0]; {
	case c == '"':
		return 's'
	case c == 't' || c == 'f':
		return 'b'
	case !isNumber(string(v)) || number(string(v)) != "":
		return 0
	case isFloat(string(v)):
		return 'f'
	}
	return 'i'
}

// flattenKeeping is [vectors.Flatten] that leaves the lists which chromadb
// holds. Open WebUI writes none; whatever else wrote into its store may.
func flattenKeeping(raw json.RawMessage) (json.RawMessage, string, error) {
	if bytes.IndexByte(raw, '[') < 0 {
		return vectors.Flatten(raw, false)
	}
	all, err := vectors.Members(raw)
	if err != nil {
		return nil, "", err
	}
	kept := map[string]json.RawMessage{}
	for i, m := range all {
		if _, ok := Values(m.Value); ok {
			kept[m.Key], all[i].Value = m.Value, json.RawMessage("0")
		}
	}
	if len(kept) == 0 {
		return vectors.Flatten(raw, false)
	}
	flat, what, err := vectors.Flatten(vectors.Object(all), false)
	if err != nil || what == "" {
		return raw, "", err
	}
	if all, err = vectors.Members(flat); err != nil {
		return nil, "", err
	}
	for i, m := range all {
		if v, ok := kept[m.Key]; ok {
			all[i].Value = v
		}
	}
	return vectors.Object(all), what, nil
}

// sameList compares two lists that a store holds as they are.
func sameList(want, got json.RawMessage) bool {
	a, ok := Values(want)
	b, ok2 := Values(got)
	if !ok || !ok2 || len(a) != len(b) {
		return false
	}
	for i := range a {
		if !sameValue(a[i], b[i]) {
			return false
		}
	}
	return true
}

// Scalar gives a metadata value as SQLite takes it: string, int64, float64 or
// bool; ok is false for anything else, and for numbers beyond 64 bits.
func Scalar(raw json.RawMessage) (value any, ok bool) {
	switch kind(raw) {
	case 's':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err == nil
	case 'b':
		return raw[0] == 't', true
	case 'i':
		n, err := strconv.ParseInt(string(raw), 10, 64)
		return n, err == nil
	case 'f':
		f, err := strconv.ParseFloat(string(raw), 64)
		return f, err == nil
	}
	return nil, false
}
