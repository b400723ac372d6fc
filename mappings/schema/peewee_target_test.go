package schema

import "testing"

func TestLoadTarget(t *testing.T) {
	for head, want := range map[string]bool{"6a39f3d8e55c": true, "a0b1c2d3e4f5": true, "461111b60977": false, "0bd252b206fb": false} {
		plain, err := Load(head)
		if err != nil {
			t.Fatal(err)
		}
		s, err := LoadTarget(head)
		if err != nil {
			t.Fatal(err)
		}
		table, ok := s.Table("migratehistory")
		if ok != want || len(s.Tables)-len(plain.Tables) != map[bool]int{true: 1}[want] {
			t.Errorf("%s: migratehistory %v, %d and %d tables", head, ok, len(plain.Tables), len(s.Tables))
		}
		if ok && (len(table.Columns) != 3 || len(s.Statements("", BeforeLoad)) <= len(plain.Statements("", BeforeLoad))) {
			t.Errorf("%s: migratehistory has %d columns, or no statements", head, len(table.Columns))
		}
	}
}
