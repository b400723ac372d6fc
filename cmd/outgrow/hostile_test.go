package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"outgrow/pipeline"
)

// hostileCase is one row that real SQLite data holds and PostgreSQL does not
// take as it is.
type hostileCase struct {
	table, id string
	where     string // the row that is cloned, "" for any
	set       map[string]string
	changed   string // "column reason" of the ledger line, "" when nothing may change
	refused   string // reason and column of the quarantine line
	query     string // what the target must answer to it
	want      string
}

// nested is JSON of so many levels.
func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func hostileCases() []hostileCase {
	text := func(id, content, changed, want string) hostileCase {
		return hostileCase{table: "memory", id: id, set: map[string]string{"content": content}, changed: changed, query: "SELECT content FROM memory WHERE id = $1", want: want}
	}
	json := func(id, data, changed, want string) hostileCase {
		return hostileCase{table: "folder", id: id, set: map[string]string{"data": data, "name": "'" + id + "'"}, changed: changed, query: "SELECT coalesce(data::text, 'NULL') FROM folder WHERE id = $1", want: want}
	}
	integer := func(id, value, changed, want string) hostileCase {
		return hostileCase{table: "chat", id: id, set: map[string]string{"created_at": value, "share_id": "NULL"}, changed: changed,
			query: "SELECT coalesce(created_at::text, 'NULL') FROM chat WHERE id = $1", want: want}
	}
	boolean := func(id, value, changed, want string) hostileCase {
		return hostileCase{table: "chat", id: id, set: map[string]string{"archived": value, "share_id": "NULL"}, changed: changed,
			query: "SELECT coalesce(archived::text, 'NULL') FROM chat WHERE id = $1", want: want}
	}
	user := func(id string, set map[string]string, changed, refused, query, want string) hostileCase {
		if set["email"] == "" {
			set["email"] = "'" + id + "@example.net'"
		}
		if set["username"] == "" {
			set["username"] = "NULL"
		}
		set["oauth"] = "NULL"
		return hostileCase{table: "user", id: id, set: set, changed: changed, refused: refused, query: query, want: want}
	}
	return []hostileCase{
		text("t-nul", "'a' || char(0) || 'b'", "content nul", "ab"),
		text("t-utf8", "CAST(x'61ff62' AS TEXT)", "content utf8", "a\ufffdb"),
		text("t-surrogate", "CAST(x'61eda0bd62' AS TEXT)", "content utf8", "a\ufffdb"),
		text("t-pair", "CAST(x'eda0bdedb880' AS TEXT)", "content utf8", "\U0001f600"),
		text("t-blob", "x'616263'", "content blob", "abc"),
		text("t-copy", `'\.' || char(10) || '\N' || char(9) || char(13) || '\\x41 "q" '`, "", "\\.\n\\N\t\r\\\\x41 \"q\" "),
		text("t-only", `'\.'`, "", `\.`),
		text("t-null", `'\N'`, "", `\N`),
		text("t-empty", "''", "", ""),

		json("j-escape", `'{"a":"x\u0000y"}'`, "data nul", `{"a":"xy"}`),
		json("j-noescape", `'{"a":"x\\u0000y"}'`, "", `{"a":"x\\u0000y"}`),
		json("j-lone", `'{"a":"x\ud83dy"}'`, "data surrogate", `{"a":"xy"}`),
		json("j-pair", `'{"a":"x\ud83d\ude00y"}'`, "", `{"a":"x\ud83d\ude00y"}`),
		json("j-utf8", "CAST(x'7b2261223a22ff227d' AS TEXT)", "data utf8", "{\"a\":\"\ufffd\"}"),
		json("j-nul", `'{"a":"x' || char(0) || 'y"}'`, "data nul", `{"a":"xy"}`),
		json("j-empty", "''", "data json-empty", "NULL"),
		json("j-blank", "'  '", "data json-empty", "NULL"),
		json("j-quotes", `'{''a'': 1}'`, "data json-invalid", `"{'a': 1}"`),
		json("j-comma", `'{"a":1,}'`, "data json-invalid", `"{\"a\":1,}"`),
		json("j-word", `'undefined'`, "data json-invalid", `"undefined"`),
		json("j-cut", `'{"a":"b'`, "data json-invalid", `"{\"a\":\"b"`),
		json("j-tab", `'{"a":"x' || char(9) || 'y"}'`, "data json-repair", `{"a":"x\ty"}`),
		json("j-newline", `'{"a":"x' || char(10) || 'y"}'`, "data json-repair", `{"a":"x\ny"}`),
		json("j-bom", "CAST(x'efbbbf' AS TEXT) || '{\"a\":1}'", "data json-repair", `{"a":1}`),
		json("j-nan", `'{"a":NaN,"b":-Infinity}'`, "data json-repair", `{"a":null,"b":null}`),
		json("j-integer", "60", "", "60"),
		json("j-real", "0.5", "", "0.5"),
		json("j-infinite", "9e999", "data json-repair", "null"),
		json("j-blob", "CAST('{\"a\":1}' AS BLOB)", "data blob", `{"a":1}`),
		json("j-huge", `'{"a":1e400,"b":123456789012345678901234567890,"a":-0.0}'`, "", `{"a":1e400,"b":123456789012345678901234567890,"a":-0.0}`),
		json("j-null", `'null'`, "", "null"),
		json("j-sqlnull", "NULL", "", "NULL"),
		json("j-deep", "'"+nested(3000)+"'", "", nested(3000)),
		{table: "folder", id: "j-toodeep", set: map[string]string{"data": "'" + nested(100_000) + "'", "name": "'j-toodeep'"}, refused: "data json-depth"},

		integer("i-word", "'abc'", "created_at not-integer", ""),
		integer("i-empty", "''", "created_at not-integer", ""),
		integer("i-iso", "'2024-05-01T10:00:00'", "created_at not-integer", "1714557600"),
		integer("i-real", "1700000000.5", "created_at not-integer", "1700000000"),
		integer("i-large", "1e19", "created_at range", ""),
		integer("i-blob", "x'31'", "created_at blob", "1"),
		{table: "note", id: "i-nano", set: map[string]string{"created_at": "'2024-05-01'"}, changed: "created_at not-integer",
			query: "SELECT created_at::text FROM note WHERE id = $1", want: "1714521600000000000"},

		boolean("b-word", "'true'", "archived not-boolean", "true"),
		boolean("b-two", "2", "archived not-boolean", "true"),
		boolean("b-minus", "-1", "archived not-boolean", "true"),
		boolean("b-empty", "''", "archived not-boolean", ""),

		// The expression index on file reads these documents while rows go in.
		{table: "file", id: "f-nul", set: map[string]string{"data": `'{"status":"pending","content":"a\u0000b"}'`, "meta": `'{"data":{"knowledge_id":"k\u0000"}}'`},
			changed: "data nul,meta nul", query: "SELECT data->>'content' || (meta->'data'->>'knowledge_id') FROM file WHERE id = $1", want: "abk"},
		{table: "file", id: "f-lone", set: map[string]string{"data": `'{"status":"processing","content":"a\ud83db"}'`}, changed: "data surrogate",
			query: "SELECT data->>'content' FROM file WHERE id = $1", want: "ab"},
		{table: "chat_message", id: "m-nul", set: map[string]string{"content": `'"a\u0000b"'`}, changed: "content nul",
			query: "SELECT content #>> '{}' FROM chat_message WHERE id = $1", want: "ab"},

		user("u-long", map[string]string{"username": "'" + strings.Repeat("ü", 60) + "'"}, "username truncated", "",
			`SELECT username FROM "user" WHERE id = $1`, strings.Repeat("ü", 50)),
		user("u-fits", map[string]string{"username": "'" + strings.Repeat("ü", 50) + "'"}, "", "", `SELECT username FROM "user" WHERE id = $1`, strings.Repeat("ü", 50)),
		user("u-birth", map[string]string{"date_of_birth": "''"}, "date_of_birth not-date", "", `SELECT coalesce(date_of_birth::text, 'NULL') FROM "user" WHERE id = $1`, "NULL"),
		user("u-born", map[string]string{"date_of_birth": "'1990-02-28 10:00:00'"}, "date_of_birth not-date", "", `SELECT date_of_birth::text FROM "user" WHERE id = $1`, "1990-02-28"),
		user("u-upper", map[string]string{"email": "'ÄRGER@example.net'"}, "", "", `SELECT email FROM "user" WHERE id = $1`, "ÄRGER@example.net"),
		user("u-lower", map[string]string{"email": "'ärger@example.net'"}, "", " duplicate", "", ""),

		{table: "prompt", id: "p-long", set: map[string]string{"command": "hex(randomblob(8000))"}, refused: " too-long"},
		{table: "tag", id: "g-null", set: map[string]string{"user_id": "NULL"}, refused: "user_id null-key"},
		{table: "chat_message", id: "o-chat", set: map[string]string{"chat_id": "'gone'"}, refused: " orphan"},
		{table: "group", id: "h-child", set: map[string]string{"parent_group_id": "'h-parent'"}, query: `SELECT parent_group_id FROM "group" WHERE id = $1`, want: "h-parent"},
		{table: "group", id: "h-parent", set: map[string]string{"parent_group_id": "NULL"}, query: `SELECT coalesce(parent_group_id, 'NULL') FROM "group" WHERE id = $1`, want: "NULL"},
		{table: "group", id: "h-lost", set: map[string]string{"parent_group_id": "'gone'"}, changed: "parent_group_id parent-cleared",
			query: `SELECT coalesce(parent_group_id, 'NULL') FROM "group" WHERE id = $1`, want: "NULL"},
	}
}

// Every case of what real SQLite data violates on PostgreSQL: changed with a
// line in the ledger, refused whole with a line in the quarantine, or copied
// verbatim, and nothing else.
func TestHostileValues(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	cases := hostileCases()
	var wantChanged, wantRefused []string
	l.edit(func(db *sql.DB) {
		for _, c := range cases {
			c.set["id"] = "'" + c.id + "'"
			cloneRow(t, db, c.table, c.where, c.set)
			for _, change := range strings.Split(c.changed, ",") {
				if change != "" {
					wantChanged = append(wantChanged, c.table+" "+c.id+" "+change)
				}
			}
			if c.refused != "" {
				wantRefused = append(wantRefused, c.table+" "+c.id+" "+c.refused)
			}
		}
	})
	l.plan().exits(0)
	l.migrate().exits(4)
	var changed, refused []string
	accept := map[string]bool{}
	for _, c := range l.ledger() {
		if c.Reason != pipeline.PathRewritten {
			changed = append(changed, fmt.Sprintf("%s %s %s %s", strings.TrimPrefix(c.Unit, "rows/"), firstPart(c.Key), c.Column, c.Reason))
		}
	}
	for _, r := range l.quarantine() {
		column := r.Column
		if r.Reason != "json-depth" && r.Reason != pipeline.NullKeyReason {
			column = "" // the server does not always name it
		}
		refused = append(refused, fmt.Sprintf("%s %s %s %s", strings.TrimPrefix(r.Unit, "rows/"), firstPart(r.Key), column, r.Reason))
		accept[string(r.Reason)] = true
	}
	same(t, "ledger", changed, wantChanged)
	same(t, "quarantine", refused, wantRefused)
	l.verify().exits(4)
	l.migrate("--accept", joinComma(keysOf(accept))).exits(0)
	l.equal()

	c := conn(t, l.dsn)
	for _, h := range cases {
		if h.query == "" || h.want == "" && !strings.HasPrefix(h.id, "t-") {
			continue
		}
		var got string
		if err := c.QueryRow(context.Background(), h.query, h.id).Scan(&got); err != nil {
			t.Errorf("%s: %v", h.id, err)
		} else if got != h.want {
			t.Errorf("%s: the target has %.200q, want %.200q", h.id, got, h.want)
		}
	}
	documents(t, c)
	t.Logf("%d hostile rows: %d changed, %d refused", len(cases), len(wantChanged), len(wantRefused))
}

// firstPart is the id of a key of several columns.
func firstPart(key string) string {
	key, _, _ = strings.Cut(key, pipeline.KeySeparator)
	return key
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("%s: unexpected %s", what, g)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%s: missing %s", what, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d lines, want %d", what, len(got), len(want))
	}
}

// documents lets PostgreSQL read into every JSON value of every row.
func documents(t *testing.T, c *pgx.Conn) {
	t.Helper()
	rows, err := c.Query(context.Background(), "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'json'")
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Table, Column string }])
	if err != nil {
		t.Fatal(err)
	}
	if len(columns) != 64 {
		t.Errorf("%d JSON columns, want 64", len(columns))
	}
	for _, x := range columns {
		column := pgx.Identifier{x.Column}.Sanitize()
		if _, err := c.Exec(context.Background(), fmt.Sprintf("SELECT count(%[1]s->>'a'), count(%[1]s #>> '{a,b}'), count(%[1]s #>> '{}') FROM %[2]s",
			column, pgx.Identifier{"public", x.Table}.Sanitize())); err != nil {
			t.Errorf("reading into %s.%s: %v", x.Table, x.Column, err)
		}
	}
}
