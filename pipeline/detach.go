package pipeline

import (
	"bytes"
	"slices"
	"strings"
)

// detached gives a copy of a record that keeps nothing else in memory. Readers
// and transforms put the values of many records into blocks that any one of them
// holds on to; a pass keeps few records of many batches, which would hold blocks
// of several times their own size.
func detached[T Record](r T) T {
	switch r := any(r).(type) {
	case *Row:
		c := &Row{Table: r.Table, Values: slices.Clone(r.Values)}
		for i, v := range c.Values {
			switch v := v.(type) {
			case string:
				c.Values[i] = strings.Clone(v)
			case []byte:
				c.Values[i] = bytes.Clone(v)
			}
		}
		return any(c).(T)
	case *Vector:
		c := &Vector{ID: strings.Clone(r.ID), Metadata: bytes.Clone(r.Metadata), Embedding: slices.Clone(r.Embedding)}
		if r.Text != nil {
			c.Text = new(strings.Clone(*r.Text))
		}
		return any(c).(T)
	}
	return r
}
