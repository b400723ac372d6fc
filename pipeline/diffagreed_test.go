package pipeline

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// What somebody has agreed to leave out is left out for as long as the source holds it
// as it was then, and what hinders it lasts.
func TestRefusedThen(t *testing.T) {
	t.Parallel()
	table := &Table{Name: "t", Columns: []string{"id", "on", "parent"}, Key: []int{0}}
	other := &Table{Name: "t", Columns: []string{"id", "on", "parent", "more"}, Key: []int{0}}
	row := func(table *Table, values ...any) *Row { return &Row{Table: table, Values: values} }
	file := func(err error) *Object {
		return &Object{Name: "uploads/a", Bytes: 1, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("a")), err }}
	}
	text := func(s string) *Vector { return &Vector{ID: "a", Text: &s, Embedding: []float32{0.1, 1e-9}} }
	for _, c := range []struct {
		name      string
		then, now Record
		reason    Reason
		holds     bool
	}{
		{"the same row", row(table, "a", true, "gone"), row(table, "a", true, "gone"), Orphan, true},
		{"as another database spells it", row(table, "a", int64(1), "gone"), row(table, "a", true, "gone"), Orphan, true},
		{"a column that one side lacks", row(table, "a", true, "gone"), row(other, "a", true, "gone", "x"), Orphan, true},
		{"a repaired row", row(table, "a", true, "gone"), row(table, "a", true, "there"), Orphan, false},
		{"an emptied value", row(table, "a", true, "gone"), row(table, "a", true, nil), Orphan, false},
		{"the same vector", text("x"), text("x"), TooLong, true},
		{"a changed vector", text("x"), text("y"), TooLong, false},
		{"a file's name", file(nil), file(nil), TooLong, true},
		{"a file that cannot be read", file(nil), file(errors.New("no")), Unreadable, true},
		{"a file that can be read again", file(nil), file(nil), Unreadable, false},
		{"a file whose namesake is gone", file(nil), file(nil), Duplicate, false},
	} {
		why, err := refusedThen(t.Context(), []Refusal{NewRefusal(Unit{}, c.then, "", c.reason, "")}, c.now)
		if err != nil || (why == "") != c.holds {
			t.Errorf("%s: %q, %v", c.name, why, err)
		}
	}
}
