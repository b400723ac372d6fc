package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"

	"outgrow/pipeline"
)

// decodeRow makes a row as read from SQLite of a quarantine line. key are the
// primary key's columns.
func decodeRow(r pipeline.Refusal, key []string) (*pipeline.Row, error) {
	var rec struct {
		Table  string                     `json:"table"`
		Values map[string]json.RawMessage `json:"values"`
	}
	if err := json.Unmarshal(r.Record, &rec); err != nil {
		return nil, fmt.Errorf("decoding the record: %w", err)
	}
	t := &pipeline.Table{Name: rec.Table}
	for c := range rec.Values {
		t.Columns = append(t.Columns, c)
	}
	sort.Strings(t.Columns)
	row := &pipeline.Row{Table: t, Values: make([]any, len(t.Columns))}
	for i, c := range t.Columns {
		v, err := decodeValue(rec.Values[c])
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c, err)
		}
		row.Values[i] = v
	}
	for _, k := range key {
		i := sort.SearchStrings(t.Columns, k)
		if i == len(t.Columns) || t.Columns[i] != k {
			return nil, fmt.Errorf("column %s of the primary key is missing", k)
		}
		t.Key = append(t.Key, i)
	}
	return row, nil
}

func decodeValue(raw json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case json.Number:
		return strconv.ParseInt(v.String(), 10, 64)
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case map[string]any:
		for kind, decode := range map[string]func(string) (any, error){
			"$blob":  func(s string) (any, error) { return base64.StdEncoding.DecodeString(s) },
			"$bytes": func(s string) (any, error) { b, err := base64.StdEncoding.DecodeString(s); return string(b), err },
			"$real":  func(s string) (any, error) { return strconv.ParseFloat(s, 64) },
		} {
			if s, ok := v[kind].(string); ok && len(v) == 1 {
				return decode(s)
			}
		}
		return nil, fmt.Errorf("an object is not a value: JSON columns hold their text as a string")
	case []any:
		return nil, fmt.Errorf("a list is not a value: JSON columns hold their text as a string")
	default:
		return v, nil
	}
}

func decodeVector(r pipeline.Refusal) (*pipeline.Vector, error) {
	var v pipeline.Vector
	if err := json.Unmarshal(r.Record, &v); err != nil {
		return nil, fmt.Errorf("decoding the record: %w", err)
	}
	if len(v.Embedding) == 0 {
		return nil, fmt.Errorf("\"embedding\" is missing: put the vector there as a list of numbers")
	}
	return &v, nil
}
