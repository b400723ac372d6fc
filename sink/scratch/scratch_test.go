package scratch

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

func TestMarked(t *testing.T) {
	t.Parallel()
	for comment, want := range map[string]bool{"": false, Mark: true, Of("5a"): true, Mark + "s": false, "an " + Mark: false, "mine": false} {
		if Marked(comment) != want {
			t.Errorf("%q: %t", comment, !want)
		}
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{Name, "x", "_1", strings.Repeat("x", 63)} {
		if err := CheckName(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "1x", "Chat", "a b", `a"b`, "a-b", strings.Repeat("x", 64)} {
		if err := CheckName(name); pipeline.ExitCode(err) != pipeline.ExitUsage || pipeline.HintOf(err) == "" {
			t.Errorf("%q: %v", name, err)
		}
	}
	if len(making)+16 > 63 {
		t.Error("the name of an unfinished database is too long")
	}
}

// The server of a Make that was killed may be at work for it still: the next one, and
// Drop, wait until that has come to its end, and nothing of it is left.
func TestMakeWhileOneIsMade(t *testing.T) {
	t.Parallel()
	ctx, target := t.Context(), servers.PostgreSQL(t)
	super := servers.SuperDSN(t, target)
	s, err := Open(ctx, env.Secret(super))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	connect := func() *pgx.Conn {
		c, err := pgx.Connect(ctx, super)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.WithoutCancel(ctx)) })
		return c
	}
	lock, killed, watch := connect(), connect(), connect()
	name, id := "outgrow_scratch_test", "00000000000000aa"
	for _, next := range []func() error{
		func() error { return s.Make(ctx, name, id) },
		func() error { _, err := s.Drop(ctx, name, id); return err },
	} {
		tx, err := lock.Begin(ctx) // holds up whoever makes a database
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(ctx, "LOCK TABLE pg_database IN SHARE MODE"); err != nil {
			t.Fatal(err)
		}
		made := make(chan error, 1)
		go func() {
			_, err := killed.Exec(ctx, "CREATE DATABASE "+pg.Ident(making+id)+" TEMPLATE template0")
			made <- err
		}()
		for busy := false; !busy; {
			if err := watch.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'CREATE DATABASE%' || $1 || '%')", making+id).Scan(&busy); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan error, 1)
		go func() { done <- next() }()
		select {
		case err := <-done:
			t.Errorf("it did not wait (%v)", err)
			done <- err
		case <-time.After(300 * time.Millisecond):
		}
		if err := tx.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-made; err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if d, err := s.Look(ctx, making+id); err != nil || d.There {
			t.Errorf("what was half made is there: %v (%v)", d.There, err)
		}
	}
	if d, err := s.Look(ctx, name); err != nil || d.There {
		t.Errorf("the database is there: %v (%v)", d.There, err)
	}
}
