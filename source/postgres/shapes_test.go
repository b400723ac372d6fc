package postgres

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// all reads a table in one sequence.
func all(t testing.TB, s *Source, name string) (rows []*pipeline.Row) {
	t.Helper()
	for b, err := range s.Read(t.Context(), pipeline.Part{Unit: unit(name)}, "") {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, b.Records...)
	}
	return rows
}

// Types that Open WebUI does not have keep all that they say.
func TestEveryType(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	beside(t, dsn, webui, "CREATE TYPE mood AS ENUM ('so-so'); CREATE DOMAIN short AS varchar(5)",
		`CREATE TABLE odd (id uuid PRIMARY KEY, s smallint, n numeric, r real, d double precision, b bytea, z timestamptz, ts timestamp(3), day date, j jsonb, json json, l text[], c char(4), e mood, dom short, t time, g bigint GENERATED ALWAYS AS (7) STORED)`,
		`INSERT INTO odd VALUES ('00000000-0000-0000-0000-000000000002', -32768, 123456789012345678901234567890.10, 0.1, 1e300, '\x00ff', '2024-02-29 23:30:00.5-02', '2024-02-29 01:02:03.04', '2024-02-29',
			'{"b": 1.0, "a": 12345678901234567890}', '{"b":1.0,  "a":2,"a":3}', '{a,NULL}', 'ab', 'so-so', 'abc', '12:00'),
		 ('00000000-0000-0000-0000-000000000001', NULL, 'NaN', '-Infinity', NULL, '', '1999-12-31 23:00:00+00', NULL, NULL, 'null', NULL, NULL, NULL, NULL, NULL, NULL)`)
	s := snapshot(t, dsn, nil)
	rows := all(t, s, "odd")
	want := [][]any{
		{"00000000-0000-0000-0000-000000000001", nil, "NaN", nil, nil, []byte{}, "1999-12-31 23:00:00", nil, nil, "null", nil, nil, nil, nil, nil, nil},
		{"00000000-0000-0000-0000-000000000002", int64(-32768), "123456789012345678901234567890.10", 0.1, 1e300, []byte{0, 255}, "2024-03-01 01:30:00.500000", "2024-02-29 01:02:03.040000", "2024-02-29",
			`{"a": 12345678901234567890, "b": 1.0}`, `{"b":1.0,  "a":2,"a":3}`, "{a,NULL}", "ab", "so-so", "abc", "12:00:00"},
	}
	for i, w := range want {
		if w[3] == nil {
			if f, ok := rows[i].Values[3].(float64); !ok || f > 0 {
				t.Errorf("-Infinity is %v", rows[i].Values[3])
			}
			rows[i].Values[3] = nil
		}
		if !reflect.DeepEqual(rows[i].Values, w) {
			t.Errorf("\n got %#v\nwant %#v", rows[i].Values, w)
		}
	}
	got, err := s.Get(t.Context(), unit("odd"), []string{rows[0].Key(), rows[1].Key()})
	if err != nil || len(got) != 2 {
		t.Errorf("by key: %v, %v", got, err)
	}
}

// Under a collation that is not that of bytes, rows still come by their bytes,
// and parts and cursors mean the same as under any other.
func TestOrderIsThatOfBytes(t *testing.T) {
	t.Parallel()
	ids := []string{"a", "B", "b", "A", "Z", "z", "é", "e", "f", "-a", "a-b", "ab", "", " ", "日本", "00ff-1", "00FF-2", "\U0001f600"}
	for i := range 300 {
		ids = append(ids, fmt.Sprintf("%x-%X", i*7919, i))
	}
	sorted := slices.Sorted(slices.Values(ids))
	dsn := servers.PostgreSQL15(t)
	var cursors [][]pipeline.Cursor
	for _, collation := range []string{"en-x-icu", "C", "C.utf8", "default", "ucs_basic"} {
		c := beside(t, dsn, `DROP TABLE IF EXISTS alembic_version, "user", chat`, webui, fmt.Sprintf(`CREATE TABLE chat (id varchar COLLATE "%s", n int, PRIMARY KEY (id, n))`, collation))
		for i, id := range ids {
			if _, err := c.Exec(t.Context(), "INSERT INTO chat VALUES ($1, $2)", id, i); err != nil {
				t.Fatal(err)
			}
		}
		s := snapshot(t, dsn, func(c *Config) { c.Limits.Records = 17 })
		u := unit("chat")
		u.Records = int64(len(ids))
		parts, err := s.Split(t.Context(), u, 3)
		if err != nil || len(parts) != 3 {
			t.Fatalf("%d parts, %v", len(parts), err)
		}
		var got []string
		var at []pipeline.Cursor
		for _, p := range parts {
			for b, err := range s.Read(t.Context(), p, "") {
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range b.Records {
					got = append(got, r.Values[0].(string))
				}
				at = append(at, b.Next)
			}
		}
		if !slices.Equal(got, sorted) {
			t.Errorf("%s: %.300q", collation, got)
		}
		cursors = append(cursors, at)
		_ = s.Close()
	}
	for i := range cursors {
		if !slices.Equal(cursors[i], cursors[0]) {
			t.Errorf("cursors differ:\n%q\n%q", cursors[i], cursors[0])
		}
	}
}

// A table that lost its primary key is read by the target's, where that tells its
// rows apart.
func TestKeysOfTheTarget(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	beside(t, dsn, webui, "CREATE TABLE chat (id text, n int)", "INSERT INTO chat SELECT i, i FROM generate_series(1, 50) i",
		"CREATE TABLE tag (id text, user_id text)", "INSERT INTO tag VALUES ('a', 'u'), ('a', 'u')", "CREATE TABLE note (id text)", "INSERT INTO note VALUES (NULL)",
		"CREATE TABLE document (id int PRIMARY KEY, collection_name text, name text)", "INSERT INTO document SELECT i, 'c' || i % 10 || i, 'n' FROM generate_series(1, 50) i", "CREATE TABLE memory (x text)")
	s := snapshot(t, dsn, func(c *Config) { c.Limits.Records = 7 })
	s.SetKeys(map[string][]string{"chat": {"id"}, "tag": {"user_id", "id"}, "note": {"id"}, "document": {"collection_name"}})
	s.SetColumns(map[string][]string{"document": {"collection_name", "name", "not there"}})
	for name, first := range map[string]string{"chat": "1", "document": "c11"} {
		rows := all(t, s, name)
		if len(rows) != 50 || rows[0].Key() != first {
			t.Fatalf("%s: %d rows, first %s", name, len(rows), rows[0].Key())
		}
		parts, err := s.Split(t.Context(), pipeline.Unit{Lane: pipeline.Rows, Name: name, Records: 50}, 2)
		if err != nil || len(parts) != 2 {
			t.Errorf("%d parts, %v", len(parts), err)
		}
		got, err := s.Get(t.Context(), unit(name), []string{rows[9].Key(), "x"})
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if h := all(t, s, "document")[0].Table; !slices.Equal(h.Columns, []string{"collection_name", "name"}) || !slices.Equal(h.Key, []int{0}) {
		t.Errorf("%+v", h)
	}
	units, err := s.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Check(t.Context(), units)
	if err != nil {
		t.Fatal(err)
	}
	var without []string
	for _, f := range found {
		if f.Reason == "no-key" && f.Severity == pipeline.Refuse && f.Fix != "" {
			without = append(without, f.Unit)
		}
	}
	if !slices.Equal(without, []string{"rows/memory", "rows/note", "rows/tag"}) {
		t.Errorf("%q have no key: %+v", without, found)
	}
	for _, err := range s.Read(t.Context(), pipeline.Part{Unit: unit("tag")}, "") {
		if !errors.Is(err, errors.ErrUnsupported) || pipeline.HintOf(err) == "" {
			t.Error(err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	beside(t, dsn, webui, chat, tag, many(10), "CREATE TABLE hers (x text PRIMARY KEY); INSERT INTO hers VALUES ('a')", "CREATE TABLE migratehistory (id int PRIMARY KEY)",
		"CREATE TABLE document_chunk (id text PRIMARY KEY)", "CREATE TABLE _outgrow_runs (id text PRIMARY KEY)", "CREATE TABLE _alembic_tmp_chat (id text PRIMARY KEY)")
	do(t, beside(t, servers.SuperDSN(t, dsn)), "CREATE TABLE memory (id text PRIMARY KEY); CREATE TABLE theirs (x int)")
	s := snapshot(t, dsn, func(c *Config) { c.SpecialAfter = map[string][]string{"chat": {"files/uploads"}} })
	s.SetColumns(map[string][]string{"chat": {"id", "chat", "n"}})
	units, err := s.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, u := range units {
		names = append(names, fmt.Sprint(u.Name, " ", u.Records))
	}
	if want := []string{"user 2", "hers 1", "tag 0", "chat 10"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	found, err := s.Check(t.Context(), slices.DeleteFunc(units, func(u pipeline.Unit) bool { return u.Name == "hers" }))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprint(f.Severity, " ", f.Reason, " ", f.Unit, " ", f.Count))
	}
	want := []string{"refuse rights rows/memory 0", "note extra-table rows/theirs 0", "note extra-table rows/_alembic_tmp_chat 0",
		"warn extra-column rows/chat 10", "warn extra-column rows/chat 10", "warn extra-column rows/chat 10", "warn extra-column rows/chat 10", "warn extra-table rows/hers 1"}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	if in, err := s.Inspect(t.Context()); err != nil || in.Sessions != 2 {
		t.Errorf("%d sessions of others, %v", in.Sessions, err)
	}
}

// Rows that a policy hides would be lost without a word.
func TestRowLevelSecurity(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	super := beside(t, servers.SuperDSN(t, dsn), strings.ReplaceAll(webui, "CREATE TABLE ", "CREATE TABLE public."), `ALTER TABLE "user" ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON "user" USING (id = 'u1')`)
	do(t, super, `GRANT SELECT ON "user", alembic_version TO `+u.User.Username())
	s := snapshot(t, dsn, nil)
	if _, err := s.Units(t.Context()); pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" {
		t.Errorf("hidden rows: %v, hint %q", err, pipeline.HintOf(err))
	}
}

func TestNotOpenWebUI(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	beside(t, dsn, "CREATE TABLE chat (id text)", "CREATE SCHEMA app", "SET search_path = app", webui)
	for schema, hint := range map[string]string{"": "DATABASE_SCHEMA: there is a table alembic_version in app", "nowhere": "in app"} {
		_, err := Open(t.Context(), Config{URL: env.Secret(dsn), Schema: schema, Snapshot: true})
		if pipeline.ExitCode(err) != pipeline.ExitUsage || !strings.Contains(pipeline.HintOf(err), hint) {
			t.Errorf("%q: %v, hint %q", schema, err, pipeline.HintOf(err))
		}
	}
	s := snapshot(t, dsn, func(c *Config) { c.Schema = "app" })
	if head, err := s.Head(t.Context()); err != nil || head != "0bd252b206fb" {
		t.Error(head, err)
	}
}

// A pooler is named; until then it must not make reading fail, or write.
func TestPooler(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	beside(t, dsn, webui, chat, many(3000))
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = servers.PgBouncer(t, dsn)
	s := snapshot(t, u.String(), nil)
	found, err := s.Check(t.Context(), nil)
	if err != nil || found[0].Reason != "pooler" || found[0].Severity != pipeline.Refuse {
		t.Errorf("%+v, %v", found, err)
	}
}

// Long rows are never in memory beyond a batch and the record that fills it.
func TestLargeRows(t *testing.T) {
	dsn := servers.PostgreSQL(t)
	beside(t, dsn, webui, chat, `INSERT INTO chat (id, chat) SELECT i, ('{"t": "' || repeat('é0123456789', 250000) || '"}')::json FROM generate_series(1, 40) i`,
		`INSERT INTO chat (id, chat) SELECT 'large', ('{"t": "' || repeat('0123456789', 6400000) || '"}')::json`)
	s := snapshot(t, dsn, nil)
	rows, bytes := 0, int64(0)
	var largest, others uint64 // bytes alive while a batch is worked on
	base := alive()
	start := time.Now()
	for b, err := range s.Read(t.Context(), pipeline.Part{Unit: unit("chat")}, "") {
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Records) > 2 {
			t.Errorf("a batch of %d rows, %d bytes", len(b.Records), b.Bytes)
		}
		if rows, bytes = rows+len(b.Records), bytes+b.Bytes; b.Bytes > 60e6 {
			largest = max(alive(), base) - base
		} else {
			others = max(others, max(alive(), base)-base)
		}
	}
	t.Logf("%d MB in %v, %d MB alive with the largest row, %d MB with others", bytes>>20, time.Since(start).Round(time.Millisecond), largest>>20, others>>20)
	if rows != 41 || bytes < 180e6 {
		t.Errorf("%d rows, %d bytes", rows, bytes)
	}
	if largest > 170<<20 || others > 20<<20 {
		t.Errorf("%d MB of memory with a row of 64 MB, %d with rows of 3 MB", largest>>20, others>>20)
	}
	units, err := s.Units(t.Context())
	if err != nil || units[0].Name != "chat" || units[0].Records != 41 || units[0].Bytes < 100e6 || units[0].Bytes > 400e6 {
		t.Errorf("%+v, %v", units, err)
	}
}

// alive is how much of the heap is in use, in bytes.
func alive() uint64 {
	runtime.GC()
	runtime.GC() // what pools hold lives through one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
