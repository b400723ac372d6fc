package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

func chats(ids ...string) []*pipeline.Row {
	var list [][]any
	for _, id := range ids {
		list = append(list, []any{id, "u000000", `{ "n" : 1.0 }`, "{}"})
	}
	return rows("chat", []string{"id", "user_id", "chat", "meta"}, list...)
}

func TestSettlesOrphans(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	conn := connect(t, dsn)
	s := opened(t, dsn, nil)
	begin(t, s)
	prepare(t, s, "user", "chat", "chat_message", "knowledge", "knowledge_directory", "knowledge_file", "file", "group")
	write(t, s, batch("user", "", "1", users(0, 1)))
	write(t, s, batch("chat", "", "1", chats("c1")))
	var messages [][]any
	for i := range 350 { // more than are fetched at once
		chat := "c1"
		if i%2 == 1 {
			chat = "gone"
		}
		messages = append(messages, []any{fmt.Sprintf("m%03d", i), chat, "user", `{"k":  "é\\"}`, int64(i)})
	}
	write(t, s, batch("chat_message", "", "1", rows("chat_message", []string{"id", "chat_id", "role", "content", "created_at"}, messages...)))
	write(t, s, batch("knowledge", "", "1", rows("knowledge", []string{"id", "user_id", "name", "created_at", "updated_at"},
		[]any{"k", "u000000", "base", int64(1), int64(1)})))
	// A chain: the first one's parent is gone, each next one's is the one before.
	var dirs [][]any
	for i := range 12 {
		dirs = append(dirs, []any{fmt.Sprintf("d%02d", i), "k", fmt.Sprintf("d%02d", i-1), "dir", "u000000", int64(1), int64(1)})
	}
	dirs[0][2] = "never"
	dirs = append(dirs, []any{"top", "k", nil, "dir", "u000000", int64(1), int64(1)}, []any{"below", "k", "top", "dir", "u000000", int64(1), int64(1)})
	write(t, s, batch("knowledge_directory", "", "1", rows("knowledge_directory", []string{"id", "knowledge_id", "parent_id", "name", "user_id", "created_at", "updated_at"}, dirs...)))
	write(t, s, batch("file", "", "1", rows("file", []string{"id", "filename"}, []any{"f", "a.txt"}, []any{"g", "b.txt"})))
	// Its directory leaves only with the chain above.
	write(t, s, batch("knowledge_file", "", "1", rows("knowledge_file", []string{"id", "knowledge_id", "file_id", "user_id", "directory_id", "created_at", "updated_at"},
		[]any{"kf", "k", "f", "u000000", "d11", int64(1), int64(1)}, []any{"kg", "k", "g", "u000000", "below", int64(1), int64(1)})))
	write(t, s, batch("group", "", "1", rows("group", []string{"id", "user_id", "name", "parent_group_id", "created_at", "updated_at"},
		[]any{"g1", "u000000", "one", "nowhere", int64(1), int64(1)}, []any{"g2", "u000000", "two", "g1", int64(1), int64(1)})))

	out := finish(t, s)
	if len(out.Refused) != 175+12 || len(out.Changed) != 2 {
		t.Fatalf("%d refused, %d changed", len(out.Refused), len(out.Changed))
	}
	for sql, want := range map[string]int{
		"SELECT count(*) FROM chat_message":                                                                   175,
		"SELECT count(*) FROM knowledge_directory":                                                            2,
		"SELECT count(*) FROM knowledge_file WHERE id = 'kf' AND directory_id IS NULL":                        1,
		"SELECT count(*) FROM knowledge_file WHERE id = 'kg' AND directory_id = 'below'":                      1,
		`SELECT count(*) FROM "group" WHERE parent_group_id IS NULL`:                                          1,
		"SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated AND conname NOT LIKE 'pg_%'": 19,
	} {
		if got := ask[int](t, conn, sql); got != want {
			t.Errorf("%s: %d, want %d", sql, got, want)
		}
	}
	lines, err := s.Journal().Refused(t.Context(), "rows/chat_message", "m001")
	if err != nil || len(lines) != 1 || lines[0].Reason != pipeline.Orphan || lines[0].Column != "chat_id" || !strings.Contains(string(lines[0].Record), `"content":"{\"k\":  \"é\\\\\"}"`) {
		t.Fatalf("%+v %s, %v", lines, lines[0].Record, err)
	}
	changes, err := s.Journal().Changed(t.Context(), "rows/knowledge_file", "kf")
	want := pipeline.Change{Unit: "rows/knowledge_file", Key: "kf", Column: "directory_id", Reason: pipeline.ParentCleared,
		Before: pipeline.Digest("d11"), After: pipeline.Digest(nil), Note: "its parent in knowledge_directory is not there"}
	if err != nil || len(changes) != 1 || changes[0] != want {
		t.Fatalf("%+v, %v", changes, err)
	}
	refused, changed, err := s.Journal().Tallies(t.Context())
	if err != nil || fmt.Sprint(refused) != "[{rows/chat_message orphan 175 false} {rows/knowledge_directory orphan 12 false}]" || len(changed) != 2 {
		t.Fatalf("%v %v %v", refused, changed, err)
	}
}

// Finish is stopped after every one of its steps and called again.
func TestFinishResumes(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	conn := connect(t, dsn)
	made(t, conn, "public")
	want := catalog(t, conn, "public")
	s := opened(t, dsn, nil)
	begin(t, s)
	prepare(t, s, "user", "chat", "chat_message")
	write(t, s, batch("user", "", "1", users(0, 1)))
	write(t, s, batch("chat_message", "", "1", rows("chat_message", []string{"id", "chat_id", "role"}, []any{"m", "gone", "user"})))
	stops := 0
	for {
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		_, err := s.Finish(ctx, func(string) {
			if steps++; steps > stops {
				cancel()
			}
		})
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if marks, err := s.Journal().Marked(t.Context()); err != nil || marks[markVersion] == "" {
			t.Fatalf("the revision is back before the end: %v", err)
		}
		stops++
	}
	if stops < 3 {
		t.Fatalf("stopped %d times only", stops)
	}
	finish(t, s)
	sameCatalog(t, catalog(t, conn, "public"), want)
	refused, _, err := s.Journal().Tallies(t.Context())
	if err != nil || len(refused) != 1 || refused[0].Count != 1 {
		t.Fatalf("%+v, %v", refused, err)
	}
}

func TestLegacyTargetIsUsedAsItIs(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	conn := connect(t, dsn)
	made(t, conn, "public")
	// What peewee's migrations leave behind of these tables.
	run(t, conn, `ALTER TABLE chat ALTER id TYPE varchar(255), ALTER user_id TYPE varchar(255), ALTER title SET NOT NULL, ALTER share_id TYPE varchar(255);
		CREATE UNIQUE INDEX chat_id ON chat (id); ALTER TABLE document ADD id serial; ALTER TABLE document DROP CONSTRAINT document_pkey; ALTER TABLE document ADD PRIMARY KEY (id);
		CREATE TABLE migratehistory (id serial PRIMARY KEY, name varchar(255)); INSERT INTO migratehistory (name) VALUES ('001_initial_schema')`)
	want := catalog(t, conn, "public")
	s := opened(t, dsn, nil)
	target, err := s.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	columns := s.Columns(target)
	if columns["migratehistory"] != nil || columns[versionTable] != nil {
		t.Fatal(columns)
	}
	i := slices.IndexFunc(columns["chat"], func(c pg.Column) bool { return c.Name == "id" })
	if got := fmt.Sprintf("%+v", columns["chat"][i]); got != "{Name:id Type:varchar MaxLen:255 NotNull:true HasDefault:false InKey:true}" {
		t.Fatal(got)
	}
	begin(t, s)
	prepare(t, s, "chat", "document")
	out := write(t, s, batch("chat", "", "1", rows("chat", []string{"id", "title", "meta"},
		[]any{"ok", "t", "{}"}, []any{strings.Repeat("ü", 256), "t", "{}"}, []any{strings.Repeat("ü", 255), "t", "{}"}, []any{"null", nil, "{}"})))
	if len(out.Refused) != 2 || out.Refused[0].Reason != pipeline.TooLong || out.Refused[1].Reason != pipeline.NotNull || out.Refused[1].Column != "title" {
		t.Fatalf("%+v", out.Refused)
	}
	write(t, s, batch("document", "", "1", rows("document", []string{"id", "collection_name"}, []any{int64(41), "c"})))
	finish(t, s)
	sameCatalog(t, catalog(t, conn, "public"), want)
	if got := ask[int](t, conn, "SELECT nextval('document_id_seq')::int"); got != 42 {
		t.Fatal(got)
	}
}

func TestRefusesATargetInUse(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	conn := connect(t, dsn)
	made(t, conn, "public")
	run(t, conn, `INSERT INTO "user" (id, name, email, role, profile_image_url, last_active_at, updated_at, created_at) VALUES ('x', 'x', 'x@y', 'admin', '', 1, 1, 1)`)
	run(t, conn, "CREATE TABLE document_chunk (id text PRIMARY KEY); INSERT INTO document_chunk VALUES ('theirs')")
	want := catalog(t, conn, "public")
	s := opened(t, dsn, nil)
	wantRefusal(t, s, "in-use")
	begin(t, s)
	wantHint(t, s.Prepare(t.Context(), unit("user")), pipeline.ExitUsage)
	sameCatalog(t, catalog(t, conn, "public"), want)
	_ = s.Close()

	replace := func(c *Config) { c.Replace = true }
	s = opened(t, dsn, replace)
	if found, err := s.Check(t.Context(), nil); err != nil || has(found, pipeline.Refuse) {
		t.Fatalf("%+v, %v", found, err)
	}
	if n := ask[int](t, conn, `SELECT count(*) FROM "user"`); n != 1 {
		t.Fatal("a check has emptied the target")
	}
	begin(t, s)
	if n := ask[int](t, conn, `SELECT count(*) FROM "user"`); n != 0 {
		t.Fatal("the target was not emptied")
	}
	prepare(t, s, "user", "chat")
	write(t, s, batch("user", "", "1", users(0, 5)))
	_ = s.Close()

	// The same run again resumes and empties nothing.
	s = opened(t, dsn, replace)
	if r := begin(t, s); r.Fresh {
		t.Fatalf("%+v", r)
	}
	if n := ask[int](t, conn, `SELECT count(*) FROM "user"`); n != 5 {
		t.Fatalf("%d rows left of 5", n)
	}
	_ = s.Close()

	// Another source half way: what is away stays recorded.
	mine := aRun
	aRun := mine
	aRun.Source.Stable = "another"
	s = opened(t, dsn, nil)
	if _, err := s.Journal().Begin(t.Context(), aRun); !errors.Is(err, pipeline.ErrOtherPair) {
		t.Fatal(err)
	}
	_ = s.Close()
	s = opened(t, dsn, replace)
	if r, err := s.Journal().Begin(t.Context(), aRun); err != nil || !r.Fresh {
		t.Fatalf("%+v, %v", r, err)
	}
	prepare(t, s, "user")
	write(t, s, batch("user", "", "1", users(100, 7)))
	finish(t, s)
	sameCatalog(t, catalog(t, conn, "public"), want)
	if n := ask[int](t, conn, `SELECT count(*) FROM "user"`); n != 7 {
		t.Fatalf("%d rows", n)
	}
	_ = s.Close()

	// A finished run, replaced.
	s = opened(t, dsn, replace)
	if r := begin(t, s); !r.Fresh || r.Complete {
		t.Fatalf("%+v", r)
	}
	prepare(t, s, "user")
	finish(t, s)
	sameCatalog(t, catalog(t, conn, "public"), want)
	if n := ask[int](t, conn, "SELECT count(*) FROM document_chunk"); n != 1 {
		t.Fatal("a table that is not in the list was emptied")
	}
	_ = s.Close()

	// A table of somebody else refers to one of the list: nothing is emptied.
	run(t, conn, `INSERT INTO "user" (id, name, email, role, profile_image_url, last_active_at, updated_at, created_at) VALUES ('x', 'x', 'x@y', 'admin', '', 1, 1, 1);
		CREATE TABLE notes_of_mine (u text REFERENCES "user")`)
	s = opened(t, dsn, replace)
	_, err := s.Journal().Begin(t.Context(), mine)
	wantHint(t, err, pipeline.ExitEnvironment)
	if n := ask[int](t, conn, `SELECT count(*) FROM "user"`); n != 1 {
		t.Fatal("emptied all the same")
	}
}

func TestReplacesTablesOfAnotherHead(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	conn := connect(t, dsn)
	made(t, conn, "public")
	want := catalog(t, conn, "public")
	run(t, conn, "UPDATE alembic_version SET version_num = 'b8f2c6d91a04'")
	s := opened(t, dsn, nil)
	wantRefusal(t, s, "heads-differ")
	begin(t, s)
	wantHint(t, s.Prepare(t.Context(), unit("user")), pipeline.ExitUsage)
	_ = s.Close()
	run(t, conn, `ALTER TABLE "user" DROP COLUMN scim`)
	s = opened(t, dsn, func(c *Config) { c.Replace = true })
	target, err := s.Inspect(t.Context())
	columns := s.Columns(target)
	if err != nil || !slices.ContainsFunc(columns["user"], func(c pg.Column) bool { return c.Name == "scim" }) {
		t.Fatalf("%+v, %v: the columns are not those that will be made", columns["user"], err)
	}
	begin(t, s)
	prepare(t, s, "user")
	finish(t, s)
	sameCatalog(t, catalog(t, conn, "public"), want)
}

func TestJournalWithoutItsTables(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	conn := connect(t, dsn)
	s := opened(t, dsn, nil)
	begin(t, s)
	prepare(t, s, "user")
	write(t, s, batch("user", "", "1", users(0, 1)))
	_ = s.Close()
	drop := ask[[]string](t, conn, "SELECT array_agg(format('%I', relname)) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
	run(t, conn, "DROP TABLE "+strings.Join(drop, ", "))
	s = opened(t, dsn, nil)
	wantRefusal(t, s, "lost")
	begin(t, s)
	wantHint(t, s.Prepare(t.Context(), unit("user")), pipeline.ExitUsage)
	_ = s.Close()
	s = opened(t, dsn, func(c *Config) { c.Replace = true })
	if r := begin(t, s); !r.Fresh {
		t.Fatalf("%+v", r)
	}
	prepare(t, s, "user")
	finish(t, s)
}

func has(found []pipeline.Finding, sev pipeline.Severity) bool {
	return slices.ContainsFunc(found, func(f pipeline.Finding) bool { return f.Severity == sev })
}

// wantRefusal wants exactly one refusal, for this reason and with a fix.
func wantRefusal(t testing.TB, s *Sink, reason pipeline.Reason) pipeline.Finding {
	t.Helper()
	found, err := s.Check(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	found = slices.DeleteFunc(found, func(f pipeline.Finding) bool { return f.Severity != pipeline.Refuse })
	if len(found) != 1 || found[0].Reason != reason || found[0].Fix == "" || found[0].Text == "" {
		t.Fatalf("%+v, want %s", found, reason)
	}
	return found[0]
}
