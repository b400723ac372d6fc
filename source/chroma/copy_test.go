package chroma

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// counts gives what the rows of the two tables of a busy store say.
func counts(tb testing.TB, dir string) (one, other int64, check string) {
	tb.Helper()
	db, err := openImmutable(dir)
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT (SELECT max(n) FROM one), (SELECT max(n) FROM other)").Scan(&one, &other); err != nil {
		tb.Fatal(err)
	}
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil {
		tb.Fatal(err)
	}
	return one, other, check
}

// TestCopyLocked copies a database that is written to without a pause: a copy is what one commit left, and no commit fails.
func TestCopyLocked(t *testing.T) {
	store := filepath.Join(unpack(t, "1.5.9-types"), "vector_db")
	alter(t, store, "CREATE TABLE one (n)", "CREATE TABLE other (n)", "INSERT INTO one VALUES (0)", "INSERT INTO other VALUES (0)",
		"CREATE TABLE filler AS SELECT zeroblob(4000000)")
	db, err := sql.Open("sqlite", dsn(store, "mode=rw&_pragma=busy_timeout(60000)&_txlock=immediate"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	var commits int64
	var failed error
	writer.Go(func() {
		for ctx.Err() == nil && failed == nil {
			tx, err := db.Begin()
			if err == nil {
				_, err = tx.Exec("UPDATE one SET n = n + 1")
			}
			if err == nil {
				_, err = tx.Exec("UPDATE other SET n = n + 1")
			}
			if err == nil {
				err = tx.Commit()
			}
			if failed = err; err == nil {
				commits++
			}
		}
	})
	last := int64(-1)
	for range 3 {
		to := t.TempDir()
		state, err := copyLocked(ctx, store, to)
		for tries := 1; err != nil && tries < 50; tries++ { // the lock was not to be had
			state, err = copyLocked(ctx, store, to)
		}
		if err != nil {
			t.Fatal(err)
		}
		one, other, check := counts(t, to)
		if one != other || one < last || check != "ok" || !state.quiet() {
			t.Errorf("the copy has %d and %d after %d, quiet %t: %s", one, other, last, state.quiet(), check)
		}
		last = one
	}
	stop()
	writer.Wait()
	if failed != nil || commits < last {
		t.Errorf("%d commits, %v", commits, failed)
	}
}

// A copy under the lock ends when it takes too long, and with the context.
func TestCopyLockedEnds(t *testing.T) {
	store := filepath.Join(unpack(t, "1.5.9-types"), "vector_db")
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := copyLocked(ctx, store, t.TempDir()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("past the deadline: %v", err)
	}
	alter(t, store, "UPDATE collections SET name = 'again'") // no lock is left
}
