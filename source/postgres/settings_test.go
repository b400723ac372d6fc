package postgres

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
		{[]string{`CREATE TABLE config (key text PRIMARY KEY, value json)`, `INSERT INTO config VALUES ('rag.top_k', '3'), ('webhook_url', '"http://x\u0000"'), ('huge', to_json(repeat('x', 1100000)))`}, []string{"rag.top_k=3", `webhook_url="http://x\u0000"`}},
		{[]string{`CREATE TABLE config (id integer PRIMARY KEY, data json)`, `INSERT INTO config VALUES (1, '{"old":1}'), (2, '{"rag":{"top_k":3}}')`}, []string{"rag.top_k=3"}},
		{[]string{`CREATE TABLE chat (id text)`}, nil},
	} {
		s := filled(t, nil, c.statements...)
		all, err := s.Settings(t.Context())
		var got []string
		for _, x := range all {
			got = append(got, x.Key+"="+string(x.Value))
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%.100q: %q, %v; want %q", c.statements, got, err, c.want)
		}
	}
}

func TestPlugins(t *testing.T) {
	t.Parallel()
	s := filled(t, nil, `CREATE TABLE "user" (id text PRIMARY KEY, role text)`, `INSERT INTO "user" VALUES ('u1', 'admin'), ('u2', 'user')`,
		`CREATE TABLE function (id text PRIMARY KEY, content text, is_active boolean)`, `INSERT INTO function VALUES ('on', 'x', true), ('off', 'y', false), ('null', NULL, NULL)`,
		`CREATE TABLE tool (id text PRIMARY KEY, user_id text, content text)`, `INSERT INTO tool VALUES ('admins', 'u1', repeat('x', 20000)), ('others', 'u2', 'z'), ('nobodys', 'gone', 'z')`)
	all, err := s.Plugins(t.Context())
	var got []string
	for _, p := range all {
		got = append(got, fmt.Sprintf("%s %s %d %t", p.Kind, p.ID, len(p.Content), p.Installs))
	}
	want := "function null 0 false, function off 1 false, function on 1 true, tool admins 16384 true, tool nobodys 1 false, tool others 1 false"
	if strings.Join(got, ", ") != want || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
