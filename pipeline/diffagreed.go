package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
)

// refusedThen says why lines of the quarantine tell nothing of a record that the
// transforms let through and the target does not have: they are of what the source
// held once, or what hindered the record is gone. "" when they still hold.
func refusedThen[T Record](ctx context.Context, lines []Refusal, r T) (string, error) {
	if o, ok := any(r).(*Object); ok {
		return fileRefusedThen(ctx, lines, o)
	}
	now := NewRefusal(Unit{}, r, "", "", "").Record
	for _, l := range lines {
		same, err := sameRecord(l.Record, now)
		if err != nil {
			return "", fmt.Errorf("reading the quarantine's line of %s (%s): %w", l.Unit, l.Key, err)
		}
		if !same {
			return "the quarantine holds another state of it", nil
		}
	}
	return "", nil
}

// fileRefusedThen is refusedThen of a file: its name and what the target had of that
// name are what it is refused for, or that it could not be read.
func fileRefusedThen(ctx context.Context, lines []Refusal, o *Object) (string, error) {
	if slices.ContainsFunc(lines, func(l Refusal) bool { return l.Reason == Duplicate }) {
		return "the target does not have the other file of its name any more", nil
	}
	if !unreadable(lines) {
		return "", nil
	}
	content, err := o.Open(ctx)
	if err == nil {
		_, err = io.Copy(io.Discard, content)
		_ = content.Close()
	}
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil: //nolint:nilerr // as the quarantine says
		return "", nil
	}
	return "it can be read again", nil
}

// sameRecord reports whether a quarantine line holds a record as it is now. Of a row
// only the columns count that both have, and how a database spells true does not.
func sameRecord(line, now json.RawMessage) (bool, error) {
	a, err := decoded(line)
	if err != nil {
		return false, err
	}
	b, err := decoded(now)
	if err != nil {
		return false, err
	}
	x, isRow := a["values"].(map[string]any)
	y, isRow2 := b["values"].(map[string]any)
	if !isRow || !isRow2 {
		return reflect.DeepEqual(a, b), nil
	}
	for column, v := range x {
		if w, both := y[column]; both && !reflect.DeepEqual(spelled(v), spelled(w)) {
			return false, nil
		}
	}
	return true, nil
}

func decoded(record json.RawMessage) (out map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(record))
	d.UseNumber()
	return out, d.Decode(&out)
}

func spelled(v any) any {
	switch v {
	case true:
		return json.Number("1")
	case false:
		return json.Number("0")
	}
	return v
}
