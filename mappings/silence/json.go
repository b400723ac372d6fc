package silence

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
)

// form is what a change found.
type form int

const (
	silent     form = iota // nothing of it acts
	changeable             // it acts, and was changed
	unknown                // it is left as it is
)

// document reads the JSON of a column; false for what is none. Numbers keep
// their spelling.
func (e *edit) document(column string) (any, bool) {
	s, ok := e.get(column).(string)
	if !ok {
		return nil, e.get(column) == nil
	}
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, false
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, false
	}
	return v, true
}

// null reports whether a column holds nothing, or JSON's null.
func (e *edit) null(column string) bool {
	v, ok := e.document(column)
	return ok && v == nil
}

// object reads a column that holds an object. What is neither one nor null is
// told of.
func (e *edit) object(column, what string) (map[string]any, bool) {
	v, ok := e.document(column)
	o, is := v.(map[string]any)
	if !is && (!ok || v != nil) {
		e.left(column, what+" is of an unknown form")
	}
	return o, is
}

func (e *edit) setJSON(column string, v any, note string) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		e.left(column, "it cannot be written") // what was read can be
		return
	}
	e.set(column, strings.TrimSuffix(b.String(), "\n"), note)
}

// blank empties a URL.
func blank(v any) (any, form) {
	switch s, ok := v.(string); {
	case falsy(v):
		return v, silent
	case !ok:
		return v, unknown
	case strings.TrimSpace(s) == "":
		return v, silent
	}
	return "", changeable
}

// no switches a flag off.
func no(v any) (any, form) {
	if falsy(v) {
		return v, silent
	}
	return false, changeable
}

// disabled switches a flag of every object of a list off; missing is what the
// flag is where an object has none. What is no object is passed over, as Open
// WebUI does.
func disabled(flag string, missing bool) func(any) (any, form) {
	return func(v any) (any, form) {
		list, found := items(v)
		for _, item := range list {
			o, ok := item.(map[string]any)
			if !ok {
				continue
			}
			if is, there := o[flag]; there && !falsy(is) || !there && missing {
				o[flag], found = false, changeable
			}
		}
		return v, found
	}
}

// toolServers switches connections off, whose flag is config.enable.
func toolServers(v any) (any, form) {
	list, found := items(v)
	var configs []any
	for _, item := range list {
		if o, ok := item.(map[string]any); ok {
			configs = append(configs, o["config"]) // a map: it is changed in place
		}
	}
	if len(configs) > 0 {
		_, found = disabled("enable", false)(configs)
	}
	return v, found
}

// items gives those of a list; none of what Python counts as false, and of what
// is no list, which is unknown.
func items(v any) ([]any, form) {
	list, ok := v.([]any)
	if !ok && !falsy(v) {
		return nil, unknown
	}
	return list, silent
}

// falsy reports whether Python counts a value as false.
func falsy(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case json.Number:
		f, err := v.Float64()
		return err == nil && f == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

func negative(v any) bool {
	n, ok := v.(json.Number)
	if !ok {
		return false
	}
	f, _ := n.Float64() // of what is too large the sign is right
	return f < 0
}

func equalNumber(v, column any) bool {
	n, ok := v.(json.Number)
	i, whole := column.(int64)
	return ok && whole && n.String() == strconv.FormatInt(i, 10)
}
