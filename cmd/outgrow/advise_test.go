package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestAdvise(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"--users", "1"}, 0, []string{"not needed   PostgreSQL", "not needed   shared storage"}},
		{[]string{"--users", "40"}, 0, []string{"recommended  PostgreSQL", "set   DATABASE_URL="}},
		{[]string{"--users", "40", "--instances", "3"}, 0, []string{"required     Redis", "set   REDIS_URL=", "ENABLE_DB_MIGRATIONS=false", "105 connections"}},
		{[]string{"--users", "40", "--workers", "2", "--json"}, 0, []string{`"name":"Redis","need":"required"`, `"UVICORN_WORKERS=2"`, `"event":"advise"`}},
		{[]string{"--users", "0"}, 2, []string{"at least one user"}},
		{nil, 2, []string{"--users"}},
	} {
		var out, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"advise"}, c.args...), nil, &out, &stderr)
		for _, want := range c.says {
			if said := out.String() + stderr.String(); code != c.code || !strings.Contains(said, want) {
				t.Errorf("%v: exit %d, want %d and %q: %s", c.args, code, c.code, want, said)
			}
		}
	}
}
