package filepaths

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/env"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// connect connects to a database until the test ends.
func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func do(t testing.TB, c *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := c.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%v in %.200s", err, sql)
	}
}

func ask[T any](t testing.TB, c *pgx.Conn, sql string, args ...any) (v T) {
	t.Helper()
	if err := c.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%v in %.200s", err, sql)
	}
	return v
}

// made makes Open WebUI's table file with n rows, every tenth without a path.
func made(t testing.TB, c *pgx.Conn, n int) {
	t.Helper()
	known, err := schema.Load("0bd252b206fb")
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range known.Statements("public", schema.BeforeLoad) {
		do(t, c, st.SQL)
	}
	do(t, c, `INSERT INTO file (id, user_id, filename, path, created_at, updated_at)
		SELECT 'f' || i, 'u', i || 'é.txt', CASE WHEN i % 10 = 0 THEN NULLIF('', CASE WHEN i % 20 = 0 THEN '' END) ELSE '/data/uploads/f' || i || '_ä.txt' END, 1, 1 FROM generate_series(1, $1::int) i`, n)
}

func open(t testing.TB, dsn string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{URL: env.Secret(dsn)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// to gives every path that prefix, but for rows that keep theirs.
func to(prefix string, keep ...string) Decide {
	return func(_ context.Context, rows []Row) ([]string, error) {
		out := make([]string, len(rows))
	next:
		for i, r := range rows {
			for _, k := range keep {
				if r.ID == k {
					continue next
				}
			}
			out[i] = prefix + r.Path[strings.LastIndex(r.Path, "/")+1:]
		}
		return out, nil
	}
}

func paths(t testing.TB, c *pgx.Conn, like string) int64 {
	t.Helper()
	return ask[int64](t, c, "SELECT count(*) FROM file WHERE path LIKE $1", like)
}

func TestSwitchAndRevert(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t, servers.Plain)
	c := connect(t, dsn)
	made(t, c, 2500)
	before := ask[string](t, c, "SELECT md5(string_agg(id || coalesce(path, '-'), ',' ORDER BY id)) FROM file")
	s := open(t, dsn)
	if all, err := s.Switches(t.Context()); err != nil || len(all) > 0 {
		t.Fatalf("%v, %v before the first switch", all, err)
	}
	if _, err := s.Revert(t.Context(), "s3:b"); !errors.Is(err, ErrNoSwitch) || pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("reverting nothing: %v", err)
	}
	out, err := s.Switch(t.Context(), "s3:b", to("s3://b/", "f7"))
	if want := (Switched{Rows: 2249, Left: 1}); err != nil || out != want {
		t.Fatalf("%+v, %v, want %+v", out, err, want)
	}
	if n := paths(t, c, "s3://b/f%_ä.txt"); n != 2249 {
		t.Errorf("%d paths on s3", n)
	}
	// Again, by another process: what is left.
	s = open(t, dsn)
	if out, err = s.Switch(t.Context(), "s3:b", to("s3://b/")); err != nil || out != (Switched{Rows: 1, Here: 2249}) {
		t.Errorf("%+v, %v", out, err)
	}
	all, err := s.Switches(t.Context())
	if err != nil || len(all) != 1 || all[0].Rows != 2250 || all[0].Target != "s3:b" || all[0].Back != nil {
		t.Fatalf("%+v, %v", all, err)
	}
	// On to another store, which then must be taken back first.
	if out, err = s.Switch(t.Context(), "gcs:b", to("gs://b/")); err != nil || out.Rows != 2250 {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, err := s.Revert(t.Context(), "s3:b"); !errors.Is(err, ErrNewer) {
		t.Errorf("reverting the older switch: %v", err)
	}
	if back, err := s.Revert(t.Context(), "gcs:b"); err != nil || back.Rows != 2250 || len(back.Changed) > 0 {
		t.Fatalf("%+v, %v", back, err)
	}
	// Since the switch a row was changed, one was deleted, one is new.
	do(t, c, "UPDATE file SET path = '/elsewhere' WHERE id = 'f3'")
	do(t, c, "DELETE FROM file WHERE id = 'f4'")
	do(t, c, "INSERT INTO file (id, user_id, filename, path, created_at, updated_at) VALUES ('new', 'u', 'x', 's3://b/new_x', 1, 1)")
	for range 2 { // it may be repeated
		back, err := s.Revert(t.Context(), "s3:b")
		if err != nil || back.Rows != 2248 || len(back.Changed) != 1 || back.Changed[0] != (Row{"f3", "/elsewhere"}) || back.Gone != 1 || back.Switch.Back == nil {
			t.Fatalf("%+v, %v", back, err)
		}
		var news []Row
		for rows, err := range s.Unlisted(t.Context(), back.Switch.N) {
			if err != nil {
				t.Fatal(err)
			}
			news = append(news, rows...)
		}
		if len(news) != 1 || news[0].ID != "new" {
			t.Errorf("unlisted: %v", news)
		}
	}
	do(t, c, "DELETE FROM file WHERE id = 'new'")
	do(t, c, "UPDATE file SET path = '/data/uploads/f3_ä.txt' WHERE id = 'f3'")
	do(t, c, "INSERT INTO file (id, user_id, filename, path, created_at, updated_at) VALUES ('f4', 'u', 'x', '/data/uploads/f4_ä.txt', 1, 1)")
	if after := ask[string](t, c, "SELECT md5(string_agg(id || coalesce(path, '-'), ',' ORDER BY id)) FROM file"); after != before {
		t.Error("the paths are not what they were")
	}
	if ask[bool](t, c, "SELECT to_regclass('outgrow.path_switch') IS NULL") {
		t.Error("the old values are not in outgrow's schema")
	}
}

// An error on the way leaves all rows as they were, and no trace.
func TestSwitchIsAllOrNothing(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t, servers.Plain)
	c := connect(t, dsn)
	made(t, c, 2500)
	s := open(t, dsn)
	n, failed := 0, errors.New("the look-up failed")
	_, err := s.Switch(t.Context(), "s3:b", func(ctx context.Context, rows []Row) ([]string, error) {
		if n++; n == 3 {
			return nil, failed
		}
		return to("s3://b/")(ctx, rows)
	})
	if !errors.Is(err, failed) || paths(t, c, "s3:%") != 0 {
		t.Errorf("%v, %d paths changed", err, paths(t, c, "s3:%"))
	}
	if all, err := s.Switches(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	// A connection that dies in the middle is a rollback too.
	_, err = s.Switch(t.Context(), "s3:b", func(ctx context.Context, rows []Row) ([]string, error) {
		if n++; n == 5 {
			do(t, connect(t, servers.SuperDSN(t, dsn)), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'outgrow'")
		}
		return to("s3://b/")(ctx, rows)
	})
	if err == nil || paths(t, c, "s3:%") != 0 {
		t.Errorf("%v, %d paths changed", err, paths(t, c, "s3:%"))
	}
}

// A role without the right to make a schema keeps its tables beside the others.
func TestNoSchemaOfItsOwn(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t, servers.Plain)
	made(t, connect(t, dsn), 20)
	super := connect(t, servers.SuperDSN(t, dsn))
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	role := u.User.Username()
	// Owners have every right: the application is not the owner here.
	app := role + "_app"
	do(t, super, "CREATE ROLE "+app+" LOGIN PASSWORD 'x'")
	do(t, super, "GRANT ALL ON SCHEMA public TO "+app)
	do(t, super, "GRANT ALL ON ALL TABLES IN SCHEMA public TO "+app)
	t.Cleanup(func() {
		for _, q := range []string{"DROP OWNED BY " + app, "DROP ROLE " + app} {
			if _, err := super.Exec(context.Background(), q); err != nil {
				t.Error(err)
			}
		}
	})
	u.User = url.UserPassword(app, "x")
	s := open(t, u.String())
	if out, err := s.Switch(t.Context(), "s3:b", to("s3://b/")); err != nil || out.Rows != 18 {
		t.Fatalf("%+v, %v", out, err)
	}
	if ask[bool](t, super, "SELECT to_regclass('public._outgrow_path_value') IS NULL OR to_regnamespace('outgrow') IS NOT NULL") {
		t.Error("the tables are elsewhere")
	}
	if back, err := open(t, u.String()).Revert(t.Context(), "s3:b"); err != nil || back.Rows != 18 {
		t.Errorf("%+v, %v", back, err)
	}
}

// Somebody who writes keeps the switch waiting, and is told of.
func TestOthers(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t, servers.Plain)
	c := connect(t, dsn)
	made(t, c, 20)
	s := open(t, dsn)
	if n, err := s.Others(t.Context()); err != nil || n != 1 {
		t.Errorf("%d others, %v", n, err)
	}
	servers.Hangup(c)
	if n, err := s.Others(t.Context()); err != nil || n != 0 {
		t.Errorf("%d others once it has gone, %v", n, err)
	}
	if _, err := Open(t.Context(), Config{URL: env.Secret(servers.PostgreSQL(t, servers.Plain))}); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("an empty database: %v", err)
	}
	if testing.Short() {
		return
	}
	c = connect(t, dsn)
	do(t, c, "BEGIN")
	do(t, c, "UPDATE file SET path = path")
	if _, err := s.Switch(t.Context(), "s3:b", to("s3://b/")); pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), "stop Open WebUI") {
		t.Errorf("%v", fmt.Sprint(err))
	}
}
