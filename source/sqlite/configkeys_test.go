package sqlite

import (
	"slices"
	"testing"
)

func TestConfigKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		statements []string
		want       []string
	}{
		{[]string{`CREATE TABLE config (key TEXT PRIMARY KEY, value JSON)`, `INSERT INTO config VALUES ('rag.top_k', 3), ('ui.banners', '[]')`}, []string{"rag.top_k", "ui.banners"}},
		{[]string{`CREATE TABLE config (id INTEGER PRIMARY KEY, data JSON)`, `INSERT INTO config VALUES (1, '{"old":1}'), (2, '{"rag":{"top_k":3},"version":0}')`}, []string{"rag", "rag.top_k", "version"}},
		{[]string{`CREATE TABLE config (id INTEGER PRIMARY KEY, data JSON)`, `INSERT INTO config VALUES (1, 'broken')`}, nil},
		{[]string{`CREATE TABLE config (x TEXT)`}, nil},
		{[]string{`CREATE TABLE chat (id TEXT)`}, nil},
	} {
		s := open(t, Config{Path: makeDB(t, c.statements...)})
		got, err := s.ConfigKeys(t.Context())
		slices.Sort(got)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v; want %q", c.statements, got, err, c.want)
		}
	}
}
