package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

func TestCreatesWhatOpenWebUIMakes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", `my "odd" schema`} {
		t.Run("schema "+name, func(t *testing.T) {
			t.Parallel()
			dsn := servers.PostgreSQL(t)
			conn := connect(t, dsn)
			in := "public"
			if name != "" {
				in = name
				run(t, conn, "CREATE SCHEMA "+pg.Ident(name))
			}
			s := opened(t, dsn, func(c *Config) { c.Schema = name })
			if t0, err := s.Inspect(t.Context()); err != nil || t0.State != Empty {
				t.Fatalf("%+v, %v", t0, err)
			}
			begin(t, s)
			prepare(t, s, "user", "config_old")
			marks, err := s.Journal().Marked(t.Context())
			if err != nil || marks[markVersion] != head || len(marks) < 50 {
				t.Fatalf("%d marks, %v", len(marks), err)
			}
			write(t, s, batch("user", "", "1", users(0, 500)))
			write(t, s, batch("config_old", "", "1", rows("config_old", []string{"id", "data", "version", "created_at"},
				[]any{int64(7), `{"a" : 1.0, "a": 2}`, int64(3), "2024-02-29 01:02:03.040500"})))
			if n := ask[int](t, conn, "SELECT count(*) FROM "+pg.Ident(in)+".alembic_version"); n != 0 {
				t.Fatal("the revision is there before the end")
			}
			finish(t, s)
			finish(t, s)
			if got := ask[string](t, conn, "SELECT version_num FROM "+pg.Ident(in)+".alembic_version"); got != head {
				t.Fatal(got)
			}
			if got := ask[string](t, conn, "SELECT data::text || created_at::text || nextval('"+pg.Ident(in)+".config_id_seq') FROM "+pg.Ident(in)+".config_old"); got != `{"a" : 1.0, "a": 2}2024-02-29 01:02:03.04058` {
				t.Fatal(got)
			}
			if got := ask[string](t, conn, "SELECT name FROM "+pg.Ident(in)+".\"user\" WHERE id = 'u000499'"); got != "name\t\\N\n499" {
				t.Fatalf("%q", got)
			}
			if marks, err := s.Journal().Marked(t.Context()); err != nil || len(marks) != 4 {
				t.Fatalf("%v, %v", marks, err)
			}
			// What was made is what the real schema has.
			got := catalog(t, conn, in)
			other := connect(t, servers.PostgreSQL(t))
			if in != "public" {
				run(t, other, "CREATE SCHEMA "+pg.Ident(in))
			}
			made(t, other, in)
			sameCatalog(t, got, catalog(t, other, in))
		})
	}
}

func TestAdoptsWhatOpenWebUIMade(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	conn := connect(t, dsn)
	made(t, conn, "public")
	want := catalog(t, conn, "public")
	s := opened(t, dsn, nil)
	if found, err := s.Inspect(t.Context()); err != nil || found.State != Fresh || found.Head != head {
		t.Fatalf("%+v, %v", found, err)
	}
	begin(t, s)
	prepare(t, s, "config", "user")
	if n := ask[int](t, conn, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"); n != 0 {
		t.Fatalf("%d foreign keys during the load", n)
	}
	if n := ask[int](t, conn, "SELECT count(*) FROM pg_indexes WHERE indexname IN ('timer_at_idx', 'file_pending_knowledge_idx', 'uq_user_email_lower')"); n != 2 {
		t.Fatalf("%d of the three indexes, want the two with expressions", n)
	}
	write(t, s, batch("config", "", "1", rows("config", []string{"key", "value", "updated_at"}, []any{"ui.name", `"mine"`, int64(1)})))
	// The run ends here and begins again: what is away is known.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = opened(t, dsn, nil)
	found, err := s.Inspect(t.Context())
	if err != nil || found.State != Ours || found.Head != head || len(found.Without) < 40 || found.Locked {
		t.Fatalf("%+v, %v", found, err)
	}
	if r := begin(t, s); r.Fresh || r.Complete {
		t.Fatalf("%+v", r)
	}
	if err := s.Prepare(t.Context(), unit("user")); err != nil {
		t.Fatal(err)
	}
	finish(t, s)
	sameCatalog(t, catalog(t, conn, "public"), want)
	if got := ask[string](t, conn, "SELECT string_agg(key || value::text, ',') FROM config"); got != `ui.name"mine"` {
		t.Fatal(got)
	}
	if found, err := s.Inspect(t.Context()); err != nil || !found.Complete || len(found.Without) != 0 {
		t.Fatalf("%+v, %v", found, err)
	}
}

func TestResumesAfterAKill(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	s := opened(t, dsn, nil)
	epoch := begin(t, s).Epoch
	prepare(t, s, "user")
	write(t, s, batch("user", "", "a", users(0, 10)))
	// The second batch is in its transaction when the process dies.
	conn := connect(t, dsn)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.store.Move(t.Context(), tx, pipeline.Part{Unit: unit("user")}, "a", "b"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
	_ = s.Close()

	s = opened(t, dsn, nil)
	if r := begin(t, s); r.Fresh || r.Epoch != epoch+1 {
		t.Fatalf("%+v after epoch %d", r, epoch)
	}
	if err := s.Prepare(t.Context(), unit("user")); err != nil {
		t.Fatal(err)
	}
	parts, err := s.Journal().Parts(t.Context(), unit("user"))
	if err != nil || len(parts) != 1 || parts[0].At != "a" || parts[0].Written != 10 {
		t.Fatalf("%+v, %v", parts, err)
	}
	write(t, s, batch("user", "a", "b", users(10, 10)))
	// The same batch again, as after an answer lost at COMMIT.
	if _, err := s.Write(t.Context(), batch("user", "a", "b", users(10, 10))); !errors.Is(err, pipeline.ErrFenced) {
		t.Fatal(err)
	}
	if n := ask[int](t, connect(t, dsn), `SELECT count(*) FROM "user"`); n != 20 {
		t.Fatalf("%d rows", n)
	}
}

func TestFencesAZombie(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	zombie := opened(t, dsn, nil)
	begin(t, zombie)
	prepare(t, zombie, "user")
	other := opened(t, dsn, nil)
	if _, err := other.Journal().Begin(t.Context(), aRun); !errors.Is(err, pipeline.ErrLocked) {
		t.Fatalf("two runs at once: %v", err)
	}
	if found, err := other.Inspect(t.Context()); err != nil || !found.Locked {
		t.Fatalf("%+v, %v", found, err)
	}
	if err := other.Prepare(t.Context(), unit("user")); !errors.Is(err, pipeline.ErrLocked) {
		t.Fatal(err)
	}
	// Its lock is lost with the session that held it, but it lives on.
	_ = zombie.store.Close()
	begin(t, other)
	if err := other.Prepare(t.Context(), unit("user")); err != nil {
		t.Fatal(err)
	}
	if _, err := zombie.Write(t.Context(), batch("user", "", "a", users(0, 10))); !errors.Is(err, pipeline.ErrFenced) {
		t.Fatalf("the zombie writes: %v", err)
	}
	if err := zombie.Journal().Advance(t.Context(), pipeline.Step{Part: pipeline.Part{Unit: unit("user")}, Next: "x"}); !errors.Is(err, pipeline.ErrFenced) {
		t.Fatalf("the zombie advances: %v", err)
	}
	write(t, other, batch("user", "", "a", users(0, 10)))
}

func TestBisectsToTheRefusedRows(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	s := opened(t, dsn, nil)
	begin(t, s)
	prepare(t, s, "user", "chat", "file", "channel_member", "prompt")
	list := users(0, 2000)
	list[1234].Values[2] = "U77@Example.COM" // uq_user_email_lower
	out := write(t, s, batch("user", "", "1", list))
	if out.Written != 1999 || len(out.Refused) != 1 || out.Refused[0].Reason != pipeline.Duplicate || out.Refused[0].Key != "u001234" ||
		!strings.Contains(out.Refused[0].Detail, "uq_user_email_lower") || !strings.Contains(string(out.Refused[0].Record), "U77@Example.COM") {
		t.Fatalf("%d written, %+v", out.Written, out.Refused)
	}
	chat := []string{"id", "title", "chat", "created_at", "archived", "meta"}
	deep := strings.Repeat("[", 100000) + strings.Repeat("]", 100000)
	out = write(t, s, batch("chat", "", "1", rows("chat", chat,
		[]any{"ok", "t", `{"a":"\\u0000 l\nq"}`, int64(1<<62 + 1), true, "{}"},
		[]any{"json", "t", `{'a'}`, int64(1), nil, "{}"},
		[]any{"null", "t", `1`, int64(1), nil, nil},
		[]any{"nul", "a\x00b", `1`, int64(1), nil, "{}"},
		[]any{"utf8", "a\xed\xa0\xbdb", `1`, int64(1), nil, "{}"},
		[]any{"text", "t", `1`, "abc", nil, "{}"},
		[]any{"deep", "t", deep, int64(1), nil, "{}"},
		[]any{"ok", "again", `1`, int64(1), nil, "{}"},
		[]any{"end", "", ``, nil, nil, "{}"},
		[]any{"last", "", nil, nil, false, "{}"})))
	got := map[string]pipeline.Reason{}
	for _, r := range out.Refused {
		got[r.Key] = r.Reason
	}
	want := map[string]pipeline.Reason{"json": pipeline.Invalid, "null": pipeline.NotNull, "nul": pipeline.Invalid, "utf8": pipeline.Invalid,
		"text": pipeline.Invalid, "deep": pipeline.Invalid, "ok": pipeline.Duplicate, "end": pipeline.Invalid}
	if fmt.Sprint(got) != fmt.Sprint(want) || out.Written != 2 {
		t.Fatalf("%d written\n got %v\nwant %v", out.Written, got, want)
	}
	conn := connect(t, dsn)
	if got := ask[string](t, conn, `SELECT chat::text || created_at FROM chat WHERE id = 'ok'`); got != `{"a":"\\u0000 l\nq"}4611686018427387905` {
		t.Fatal(got)
	}
	for _, c := range []struct {
		table  string
		rows   []*pipeline.Row
		reason pipeline.Reason
	}{
		{"file", rows("file", []string{"id", "data"}, []any{"f", `{"status":"\u0000"}`}), pipeline.Invalid},
		{"channel_member", rows("channel_member", []string{"id", "channel_id", "joined_at"}, []any{"m", "c", int64(1)}), pipeline.Invalid},
		{"prompt", rows("prompt", []string{"id", "command", "user_id", "name", "content", "created_at", "updated_at"},
			[]any{"p", noise(9000), "u", "n", "c", int64(1), int64(1)}), pipeline.TooLong},
	} {
		out := write(t, s, batch(c.table, "", "1", c.rows))
		if len(out.Refused) != 1 || out.Refused[0].Reason != c.reason {
			t.Errorf("%s: %+v", c.table, out.Refused)
		}
	}
	// The lines are in the journal, once.
	refused, _, err := s.Journal().Tallies(t.Context())
	if err != nil || len(refused) != 7 {
		t.Fatalf("%+v, %v", refused, err)
	}
	lines, err := s.Journal().Refused(t.Context(), "rows/chat", "nul")
	if err != nil || len(lines) != 1 || !strings.Contains(string(lines[0].Record), `a\u0000b`) {
		t.Fatalf("%+v, %v", lines, err)
	}
}

// noise is text that does not compress.
func noise(n int) string {
	var b strings.Builder
	x := uint64(88172645463325252)
	for b.Len() < n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		fmt.Fprintf(&b, "%c", 'a'+rune(x%26))
		fmt.Fprintf(&b, "%c", 'A'+rune(x/26%26))
		fmt.Fprintf(&b, "%c", 0x4e00+rune(x/676%20000))
	}
	return b.String()
}

func TestLinesOfTheBatchAreStoredWithIt(t *testing.T) {
	t.Parallel()
	s := opened(t, servers.PostgreSQL(t), nil)
	begin(t, s)
	prepare(t, s, "user")
	list := users(0, 3)
	b := batch("user", "", "1", list[:2])
	b.Refused = []pipeline.Refusal{pipeline.NewRefusal(unit("user"), list[2], "id", pipeline.Unreadable, "as found")}
	b.Changed = []pipeline.Change{{Unit: "rows/user", Key: "u000001", Column: "name", Reason: "nul", Before: "x", After: "y"}}
	write(t, s, b)
	refused, changed, err := s.Journal().Tallies(t.Context())
	if err != nil || len(refused) != 1 || len(changed) != 1 {
		t.Fatalf("%+v %+v %v", refused, changed, err)
	}
	parts, err := s.Journal().Parts(t.Context(), unit("user"))
	if err != nil || parts[0].Written != 2 || parts[0].Refused != 1 || parts[0].At != "1" {
		t.Fatalf("%+v, %v", parts, err)
	}
}

func TestLostConnectionIsTransient(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	s := opened(t, dsn, nil)
	begin(t, s)
	prepare(t, s, "user")
	conn := connect(t, dsn)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE "user"`); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := s.Write(context.Background(), batch("user", "", "a", users(0, 10)))
		failed <- err
	}()
	killer := connect(t, dsn)
	for n := 0; n == 0; {
		n = ask[int](t, killer, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
	}
	if err := <-failed; !pipeline.IsRetryable(err) {
		t.Fatalf("not retryable: %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
		t.Fatal(err)
	}
	write(t, s, batch("user", "", "a", users(0, 10)))
}
