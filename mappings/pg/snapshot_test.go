package pg_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// both are a pool, and a connection that writes beside it.
func both(t *testing.T, statements ...string) (*pgxpool.Pool, *pgx.Conn) {
	t.Helper()
	dsn := servers.PostgreSQL(t, servers.Plain)
	pool, err := pg.Open(t.Context(), env.Secret(dsn), pg.Options{MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	for _, sql := range statements {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	return pool, c
}

func counted(t *testing.T, s *pg.Snapshot) (n int) {
	t.Helper()
	tx, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM a").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "INSERT INTO a VALUES (0)"); !pg.HasCode(err, "25006") {
		t.Errorf("a snapshot takes writes: %v", err)
	}
	return n
}

func TestSnapshotIsOfOneMoment(t *testing.T) {
	t.Parallel()
	pool, c := both(t, "CREATE TABLE a (i int)", "INSERT INTO a SELECT generate_series(1, 10)")
	s, err := pg.TakeSnapshot(t.Context(), pool, pg.SnapshotOptions{Lock: []string{"a"}, Alive: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := c.Exec(t.Context(), "DELETE FROM a WHERE i > 3"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // the transaction has been used several times
	if n := counted(t, s); n != 10 {
		t.Errorf("%d rows on the snapshot", n)
	}
	if _, err := c.Exec(t.Context(), "SET lock_timeout = '100ms'; TRUNCATE a"); !pg.HasCode(err, "55P03") {
		t.Errorf("a table was emptied under a snapshot: %v", err)
	}
	s.Close()
	s.Close()
	if _, err := c.Exec(t.Context(), "SET lock_timeout = '5min'; TRUNCATE a"); err != nil {
		t.Errorf("after the snapshot: %v", err)
	}
	if _, err := s.Begin(t.Context()); !errors.Is(err, pg.ErrSnapshotLost) {
		t.Errorf("on a closed snapshot: %v", err)
	}
}

func TestSnapshotWaitsBrieflyForATable(t *testing.T) {
	t.Parallel()
	pool, c := both(t, "CREATE TABLE a (i int)", "BEGIN", "LOCK TABLE a")
	_, err := pg.TakeSnapshot(t.Context(), pool, pg.SnapshotOptions{Lock: []string{"a"}})
	if !pipeline.IsRetryable(err) || pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" {
		t.Errorf("behind a lock: %v", err)
	}
	if _, err := c.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	_, err = pg.TakeSnapshot(t.Context(), pool, pg.SnapshotOptions{Lock: []string{"nowhere"}})
	if !pg.HasCode(err, "42P01") {
		t.Errorf("of no table: %v", err)
	}
	for deadline := time.Now().Add(5 * time.Minute); pool.Stat().TotalConns() != pool.Stat().IdleConns() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // a connection in a transaction is ended behind the back
	}
	if n := pool.Stat().TotalConns() - pool.Stat().IdleConns(); n != 0 {
		t.Errorf("%d connections are held after failures", n)
	}
}

// A snapshot whose transaction ends is lost for good, whether its connection is
// found dead or a reader is refused.
func TestSnapshotIsLost(t *testing.T) {
	t.Parallel()
	for name, alive := range map[string]time.Duration{"noticed": 5 * time.Millisecond, "refused": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, c := both(t, "CREATE TABLE a (i int)")
			s, err := pg.TakeSnapshot(t.Context(), pool, pg.SnapshotOptions{Alive: alive})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			// It may be at work just then, on what keeps it alive; no other is in a transaction.
			var ended int
			if err := c.QueryRow(t.Context(), "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 300000)) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user AND xact_start IS NOT NULL AND pid <> pg_backend_pid()").Scan(&ended); err != nil || ended != 1 {
				t.Fatal(ended, err)
			}
			for deadline := time.Now().Add(5 * time.Minute); name == "noticed" && s.Lost() == nil && time.Now().Before(deadline); {
				time.Sleep(5 * time.Millisecond)
			}
			for range 2 {
				_, err = s.Begin(t.Context())
				if !errors.Is(err, pg.ErrSnapshotLost) || pipeline.IsRetryable(pg.Classify("reading", err)) || pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" {
					t.Errorf("%v, hint %q", err, pipeline.HintOf(err))
				}
			}
		})
	}
}
