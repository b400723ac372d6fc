package sqlite

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		statements []string
		want       []string
	}{
		{[]string{`CREATE TABLE config (key TEXT PRIMARY KEY, value JSON)`, `INSERT INTO config VALUES ('rag.top_k', 3), ('a.ratio', 0.5), ('webhook_url', '"http://x"'), ('z', NULL), ('large', '"' || printf('%.1000000c', 'x') || 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"'), ('huge', '"' || printf('%.1100000c', 'x') || '"')`},
			[]string{"a.ratio=0.5", `large=…`, "rag.top_k=3", `webhook_url="http://x"`}},
		{[]string{`CREATE TABLE config (id INTEGER PRIMARY KEY, data JSON)`, `INSERT INTO config VALUES (1, '{"old":1}'), (2, '{"rag":{"top_k":3}}')`}, []string{"rag.top_k=3"}},
		{[]string{`CREATE TABLE config (id INTEGER PRIMARY KEY, data JSON)`, `INSERT INTO config VALUES (1, 'broken')`}, nil},
		{[]string{`CREATE TABLE config (x TEXT)`}, nil},
		{[]string{`CREATE TABLE chat (id TEXT)`}, nil},
	} {
		s := open(t, Config{Path: makeDB(t, c.statements...)})
		all, err := s.Settings(t.Context())
		var got []string
		for _, x := range all {
			if len(x.Value) > 100 {
				x.Value = []byte("…")
			}
			got = append(got, x.Key+"="+string(x.Value))
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%.100q: %q, %v; want %q", c.statements, got, err, c.want)
		}
	}
}

func TestPlugins(t *testing.T) {
	t.Parallel()
	s := open(t, Config{Path: makeDB(t, `ALTER TABLE "user" ADD COLUMN role VARCHAR`, `UPDATE "user" SET role = CASE id WHEN 'u1' THEN 'admin' ELSE 'user' END`,
		`CREATE TABLE function (id TEXT PRIMARY KEY, content TEXT, is_active BOOLEAN)`, `INSERT INTO function VALUES ('on', 'x', 1), ('off', 'y', 0), ('null', NULL, NULL)`,
		`CREATE TABLE tool (id TEXT PRIMARY KEY, user_id TEXT, content TEXT)`, `INSERT INTO tool VALUES ('admins', 'u1', printf('%.20000c', 'x')), ('others', 'u2', 'z'), ('nobodys', 'gone', 'z')`)})
	all, err := s.Plugins(t.Context())
	var got []string
	for _, p := range all {
		got = append(got, fmt.Sprintf("%s %s %d %t", p.Kind, p.ID, len(p.Content), p.Installs))
	}
	want := "function null 0 false, function off 1 false, function on 1 true, tool admins 16384 true, tool nobodys 1 false, tool others 1 false"
	if strings.Join(got, ", ") != want || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, statement := range []string{`CREATE TABLE tool (id TEXT)`, `CREATE TABLE function (id TEXT, content TEXT)`} {
		if got, err := open(t, Config{Path: makeDB(t, statement)}).Plugins(t.Context()); err != nil || got != nil {
			t.Errorf("%s: %v, %v", statement, got, err)
		}
	}
}
