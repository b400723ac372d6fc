package vectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Member is one key of a JSON object with its value as it is spelled.
type Member struct {
	Key   string
	Value json.RawMessage
}

// Members takes a JSON object apart, in its own order. Of a repeated key the
// last value counts, at the place of the first.
func Members(raw json.RawMessage) ([]Member, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := d.Token(); err != nil {
		return nil, err
	} else if tok != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	var out []Member
	at := map[string]int{}
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := Member{Key: tok.(string)}
		if err := d.Decode(&m.Value); err != nil {
			return nil, err
		}
		if i, ok := at[m.Key]; ok {
			out[i].Value = m.Value
			continue
		}
		at[m.Key] = len(out)
		out = append(out, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF { //nolint:errorlint // the decoder gives io.EOF itself
		return nil, errors.New("something follows the JSON object")
	}
	return out, nil
}

// Object is the reverse of [Members].
func Object(members []Member) json.RawMessage {
	b := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(AppendText(b, m.Key), ':'), m.Value...)
	}
	return append(b, '}')
}

// Excluded are the keys that Open WebUI never stores (retrieval/vector/utils.py).
var excluded = []string{"content", "pages", "tables", "paragraphs", "sections", "figures", "documents", "keyValuePairs", "styles", "languages"}

// Flatten makes metadata as Open WebUI's process_metadata leaves it: no nulls,
// lists and objects as the text that Python's str gives. With drop the keys go
// that Open WebUI never stores; a record whose metadata never went through
// process_metadata (pgcrypto) has them. What is flat already stays byte for
// byte, and what is "" then.
func Flatten(raw json.RawMessage, drop bool) (out json.RawMessage, what string, err error) {
	members, err := Members(raw)
	if err != nil {
		return nil, "", err
	}
	kept := members[:0]
	var nulls, nested, keys int
	for _, m := range members {
		switch m.Value[0] {
		case 'n':
			nulls++
			continue
		case '[', '{':
			if drop && slices.Contains(excluded, m.Key) {
				break
			}
			text, err := python(m.Value)
			if err != nil {
				return nil, "", err
			}
			m.Value = AppendText(nil, text)
			nested++
		}
		if drop && slices.Contains(excluded, m.Key) {
			keys++
			continue
		}
		kept = append(kept, m)
	}
	if nulls+nested+keys == 0 {
		return raw, "", nil
	}
	return Object(kept), fmt.Sprintf("as Open WebUI does: %d nulls and %d keys left out, %d lists and objects made text", nulls, keys, nested), nil
}

// python is Python's str of a JSON value inside a list or an object.
func python(raw json.RawMessage) (string, error) {
	raw = bytes.TrimSpace(raw)
	switch raw[0] {
	case 'n':
		return "None", nil
	case 't':
		return "True", nil
	case 'f':
		return "False", nil
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return pythonString(s), err
	case '[':
		var all []json.RawMessage
		if err := json.Unmarshal(raw, &all); err != nil {
			return "", err
		}
		words := make([]string, len(all))
		for i, v := range all {
			var err error
			if words[i], err = python(v); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(words, ", ") + "]", nil
	case '{':
		members, err := Members(raw)
		words := make([]string, len(members))
		for i, m := range members {
			word, err := python(m.Value)
			if err != nil {
				return "", err
			}
			words[i] = pythonString(m.Key) + ": " + word
		}
		return "{" + strings.Join(words, ", ") + "}", err
	}
	return pythonNumber(string(raw))
}

func pythonNumber(lit string) (string, error) {
	if !strings.ContainsAny(lit, ".eE") {
		if lit == "-0" {
			return "0", nil
		}
		return lit, nil
	}
	f, err := strconv.ParseFloat(lit, 64)
	if math.IsInf(f, 1) {
		return "inf", nil
	} else if math.IsInf(f, -1) {
		return "-inf", nil
	} else if err != nil {
		return "", err
	}
	// repr uses an exponent below 1e-4 and from 1e16 on.
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64), nil
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s, nil
}

// pythonString is repr of a str: single quotes unless only those occur inside,
// escapes for what is not printable.
func pythonString(s string) string {
	quote := '\''
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteRune(quote)
	return b.String()
}
