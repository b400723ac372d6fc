package postgres

import (
	"context"
	"errors"
	"slices"
	"testing"
)

func TestIDs(t *testing.T) {
	t.Parallel()
	s := filled(t, nil, chat, `CREATE TABLE loose (id bigint, x text)`, `CREATE TABLE other (x text)`,
		`INSERT INTO chat (id) VALUES ('b'), ('a')`, `INSERT INTO loose VALUES (7, 'x'), (NULL, 'y')`)
	for table, want := range map[string][]string{"chat": {"a", "b"}, "loose": {"7"}, "other": nil, "nowhere": nil} {
		var got []string
		for id, err := range s.IDs(t.Context(), table) {
			if err != nil {
				t.Fatal(table, err)
			}
			got = append(got, id)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", table, got, want)
		}
	}
	for range s.IDs(t.Context(), "chat") {
		break // must leave no connection behind
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var failed error
	for _, failed = range s.IDs(ctx, "chat") {
	}
	if !errors.Is(failed, context.Canceled) {
		t.Errorf("cancelled: %v", failed)
	}
}
