package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// webui is the least that is a database of Open WebUI.
const webui = `CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('0bd252b206fb');
CREATE TABLE "user" (id varchar PRIMARY KEY, email text); INSERT INTO "user" VALUES ('u2', 'b@x'), ('u1', 'a@x')`

// beside is a database and a connection that writes to it.
func beside(t testing.TB, dsn string, statements ...string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	for _, sql := range statements {
		do(t, c, sql)
	}
	return c
}

func do(t testing.TB, c *pgx.Conn, sql string) {
	t.Helper()
	if _, err := c.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%v in %.200s", err, sql)
	}
}

// snapshot opens a migration's source.
func snapshot(t testing.TB, dsn string, change func(*Config)) *Source {
	t.Helper()
	cfg := Config{URL: env.Secret(dsn), Snapshot: true}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func identity(t *testing.T, s *Source) pipeline.Identity {
	t.Helper()
	id, err := s.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Accounts whose sum never changes, while money moves, accounts come and go:
// whatever reads them sees one moment, the same in all connections.
func TestAllReadersSeeOneState(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	c := beside(t, dsn, webui, "CREATE TABLE memory (id text PRIMARY KEY, n bigint)", "CREATE TABLE message (id bigint PRIMARY KEY, n bigint)",
		"INSERT INTO memory SELECT md5(i::text), 100 FROM generate_series(1, 5000) i", "INSERT INTO message SELECT i, 100 FROM generate_series(1, 5000) i")
	stop, moved := make(chan struct{}), make(chan error, 1)
	turn := make(chan struct{}) // taken before each transaction
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				moved <- nil
				return
			case turn <- struct{}{}:
			default:
			}
			if _, err := c.Exec(context.Background(), fmt.Sprintf(`BEGIN; UPDATE memory SET n = n - 7 WHERE id = md5('%d'); UPDATE memory SET n = n + 7 WHERE id = md5('%d');
				INSERT INTO memory VALUES ('zz%d', 0), ('0%[3]d', 0); UPDATE message SET id = id + 100000 WHERE id = %[1]d; COMMIT`, i%5000+1, (i*17+3)%5000+1, i)); err != nil {
				moved <- err
				return
			}
		}
	}()
	written := func() { // one transaction, from its beginning to its end
		t.Helper()
		for range 2 {
			select {
			case <-turn:
			case err := <-moved:
				t.Fatal(err)
			}
		}
	}
	written()
	s := snapshot(t, dsn, func(c *Config) { c.Limits.Records, c.MaxConns = 100, 4 })
	written()
	rows := map[string]int64{}
	for _, name := range []string{"memory", "message"} {
		u := unit(name)
		var err error
		if u.Records, err = s.Count(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		rows[name] = u.Records
		parts, err := s.Split(t.Context(), u, 4)
		if err != nil || len(parts) != 4 {
			t.Fatalf("%d parts, %v", len(parts), err)
		}
		var mu sync.Mutex
		keys, sum := map[string]bool{}, int64(0)
		var wg sync.WaitGroup
		for _, p := range parts {
			wg.Go(func() {
				for b, err := range s.Read(t.Context(), p, "") {
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(2 * time.Millisecond) // there is time to write
					mu.Lock()
					for _, r := range b.Records {
						if keys[r.Key()] {
							t.Errorf("%s comes twice", r.Key())
						}
						keys[r.Key()] = true
						sum += r.Values[1].(int64)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if int64(len(keys)) != u.Records || sum != 500_000 {
			t.Errorf("%s: %d rows of %d, %d in all", name, len(keys), u.Records, sum)
		}
		var listed []string
		for k, err := range s.Keys(t.Context(), u) {
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, k)
		}
		got, err := s.Get(t.Context(), u, listed)
		sum = 0
		for _, r := range got {
			sum += r.Values[1].(int64)
		}
		if err != nil || len(got) != len(keys) || sum != 500_000 {
			t.Errorf("%s: %d rows by key of %d, %d in all, %v", name, len(got), len(keys), sum, err)
		}
	}
	close(stop)
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	now, err := s.IdentityNow(t.Context())
	if err != nil || now.State == identity(t, s).State {
		t.Errorf("nothing was written meanwhile: %v %v", now, err)
	}
	if n, err := s.Count(t.Context(), unit("memory")); err != nil || n != rows["memory"] {
		t.Errorf("%d, %v", n, err)
	}
}

// The identity changes with every write and with nothing else.
func TestIdentity(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	c := beside(t, dsn, webui, chat, many(500), "CREATE TABLE hers (x text)")
	now := func() pipeline.Identity {
		t.Helper()
		s := snapshot(t, dsn, func(c *Config) { c.MaxConns = 1 })
		defer s.Close() // else VACUUM FULL would wait
		return identity(t, s)
	}
	was := now()
	if was.Stable != "postgres 0bd252b206fb/u1" || !strings.HasPrefix(was.State, "503 rows ") {
		t.Errorf("%+v", was)
	}
	for _, sql := range []string{"ANALYZE", "VACUUM (FREEZE)", "VACUUM FULL chat", "INSERT INTO chat (id) VALUES ('new'); DELETE FROM chat WHERE id = 'new'", "BEGIN; DELETE FROM chat; ROLLBACK", "INSERT INTO hers VALUES ('not Open WebUI''s')", "CREATE INDEX ON chat (n)", "SELECT nextval('pg_temp.s') FROM (SELECT 1) a WHERE false"} {
		if strings.Contains(sql, "nextval") {
			do(t, c, "CREATE TEMP SEQUENCE s")
		}
		do(t, c, sql)
		if id := now(); id != was {
			t.Errorf("%s: %+v was %+v", sql, id, was)
		}
	}
	seen := []string{was.State}
	for _, sql := range []string{"INSERT INTO chat (id) VALUES ('new')", "UPDATE chat SET n = n WHERE id = md5('1')",
		"BEGIN; DELETE FROM chat WHERE id = md5('2'); INSERT INTO chat (id) VALUES (md5('2')); COMMIT", `UPDATE "user" SET email = 'c@x' WHERE id = 'u2'`, "DELETE FROM chat WHERE id = 'new'"} {
		do(t, c, sql)
		id := now()
		if slices.Contains(seen, id.State) || id.Stable != was.Stable {
			t.Errorf("%s: %+v", sql, id)
		}
		seen = append(seen, id.State)
	}
}

// A resume goes on from the cursor on another snapshot: what was not read yet
// comes as it is then, nothing comes twice.
func TestResumesOnAnotherSnapshot(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	c := beside(t, dsn, webui, "CREATE TABLE tag (id text, user_id text, n bigint, PRIMARY KEY (user_id, id))",
		`INSERT INTO tag SELECT i, i % 7, 1 FROM generate_series(1, 900) i`)
	limits := func(c *Config) { c.Limits.Records = 50 }
	first := snapshot(t, dsn, limits)
	seen, at := map[string]int64{}, pipeline.Cursor("")
	for b, err := range first.Read(t.Context(), pipeline.Part{Unit: unit("tag")}, "") {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range b.Records {
			seen[r.Key()] = r.Values[2].(int64)
		}
		if at = b.Next; len(seen) >= 300 {
			break
		}
	}
	was := identity(t, first)
	_ = first.Close()
	do(t, c, `INSERT INTO tag VALUES ('behind', '0', 2), ('before', '6', 2); DELETE FROM tag WHERE id = '895'; UPDATE tag SET n = 3`) // 895 % 7 is 6
	second := snapshot(t, dsn, limits)
	if is := identity(t, second); was.Stable != is.Stable || was.State == is.State {
		t.Errorf("%+v, then %+v", was, is)
	}
	for b, err := range second.Read(t.Context(), pipeline.Part{Unit: unit("tag")}, at) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range b.Records {
			if _, twice := seen[r.Key()]; twice {
				t.Errorf("%q comes twice", r.Key())
			}
			seen[r.Key()] = r.Values[2].(int64)
		}
	}
	counts := map[int64]int{}
	for _, n := range seen {
		counts[n]++
	}
	if counts[1] != 300 || counts[3] != 600 || seen["6\x1fbefore"] != 3 || len(seen) != 900 {
		t.Errorf("%v of %d", counts, len(seen))
	}
}

// terminate ends the backends of the source that are in such a state.
func terminate(t *testing.T, dsn, state string) {
	t.Helper()
	c := beside(t, servers.SuperDSN(t, dsn))
	do(t, c, fmt.Sprintf("SELECT pg_terminate_backend(pid, 300000) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'outgrow' AND %s", state))
}

// A reader that is cut goes on on the same snapshot. Once the snapshot itself is
// gone, the error says so and no retry is tried.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	c := beside(t, dsn, webui, chat, many(20000))
	was := strings.Repeat("é", 700) // more than the buffers of a connection hold
	for name, create := range map[string]string{"index": `varchar COLLATE "C"`, "keys": "varchar"} {
		do(t, c, "ALTER TABLE chat ALTER COLUMN id TYPE "+create)
		do(t, c, "UPDATE chat SET note = repeat('é', 700)")
		s := snapshot(t, dsn, func(c *Config) { c.Limits.Records = 100 })
		var keeper int // of the snapshot
		if err := c.QueryRow(t.Context(), "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_export_snapshot%' AND pid <> pg_backend_pid()").Scan(&keeper); err != nil {
			t.Fatal(err)
		}
		cuts, rows, changed := 0, 0, 0
		err := pipeline.Scan(t.Context(), pipeline.Survey[*pipeline.Row]{Source: s, Units: []pipeline.Unit{unit("chat")}, Backoff: pipeline.Backoff{Base: time.Millisecond},
			Handle: func(_ context.Context, b pipeline.Batch[*pipeline.Row]) error {
				for _, r := range b.Records {
					if rows++; r.Values[7] != was {
						changed++
					}
				}
				if rows%5000 == 0 && rows < 20000 {
					cuts++
					terminate(t, dsn, fmt.Sprintf("backend_xmin IS NOT NULL AND pid <> %d", keeper))
					if cuts == 1 {
						do(t, c, "UPDATE chat SET note = 'new'")
					}
				}
				return nil
			}})
		if err != nil || rows != 20000 || changed > 0 || cuts != 3 {
			t.Errorf("%s: %d rows, %d new, %d cuts, %v", name, rows, changed, cuts, err)
		}
		var last error
		for b, err := range s.Read(t.Context(), pipeline.Part{Unit: unit("chat")}, "") {
			if last = err; b.Prev == "" && err == nil {
				terminate(t, dsn, "true")
			}
		}
		if !pipeline.IsRetryable(last) || pipeline.ExitCode(last) == pipeline.ExitUsage {
			t.Errorf("%s: a cut connection: %v", name, last)
		}
		lost(t, s)
		_ = s.Close()
	}
}

// lost reads until the loss of the snapshot is told, for good and with what to do;
// before that an idle connection may be found to be cut.
func lost(t *testing.T, s *Source) {
	t.Helper()
	for told := 0; told < 2; {
		_, err := s.Get(t.Context(), unit("chat"), []string{"x"})
		switch {
		case errors.Is(err, pg.ErrSnapshotLost):
			if told++; pipeline.IsRetryable(err) || pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" {
				t.Errorf("without the snapshot: %v, hint %q", err, pipeline.HintOf(err))
			}
		case told > 0 || !pipeline.IsRetryable(err):
			t.Fatalf("without the snapshot: %v, told %d times", err, told)
		}
	}
}

// A definition does not change, and a table is not emptied, while it is read; its
// rows are written without waiting.
func TestTablesKeepTheirShape(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	c := beside(t, dsn, webui, chat, many(100), "CREATE TABLE hers (x text)", "SET lock_timeout = '200ms'")
	s := snapshot(t, dsn, nil)
	for _, sql := range []string{"TRUNCATE chat", "ALTER TABLE chat DROP COLUMN n", "DROP TABLE chat"} {
		if _, err := c.Exec(t.Context(), sql); !pg.HasCode(err, "55P03") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	do(t, c, "SET lock_timeout = 0") // the server's own work on a table is waited for
	for _, sql := range []string{"DELETE FROM chat", "INSERT INTO chat (id) VALUES ('a')", "VACUUM ANALYZE chat", "DROP TABLE hers"} {
		do(t, c, sql)
	}
	if n, err := s.Count(t.Context(), unit("chat")); err != nil || n != 100 {
		t.Errorf("%d, %v", n, err)
	}
	_ = s.Close()
	do(t, c, "TRUNCATE chat")
}

// Every supported server that can be had.
func TestVersions(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"15", "18"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			dsn := servers.Database(t, servers.Start(t, servers.Settings{Version: version}), servers.Plain)
			c := beside(t, dsn, webui, chat, many(5000))
			s := snapshot(t, dsn, nil)
			do(t, c, "DELETE FROM chat WHERE n > 10")
			var timeouts string
			if err := s.pool.QueryRow(t.Context(), "SELECT string_agg(setting, ' ') FROM pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')").Scan(&timeouts); err != nil || strings.Trim(timeouts, "0 ") != "" {
				t.Errorf("timeouts %q, %v", timeouts, err)
			}
			rows := 0
			for b, err := range s.Read(t.Context(), pipeline.Part{Unit: unit("chat")}, "") {
				if err != nil {
					t.Fatal(err)
				}
				rows += len(b.Records)
			}
			if rows != 5000 {
				t.Errorf("%d rows", rows)
			}
			if _, err := s.Inspect(t.Context()); err != nil {
				t.Error(err)
			}
			terminate(t, dsn, "true")
			lost(t, s)
		})
	}
}
