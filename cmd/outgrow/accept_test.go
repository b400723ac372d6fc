package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (l *lab) accept(more ...string) result {
	l.tb.Helper()
	return l.in(l.pair("accept", more...)...)
}

// traces counts what outgrow keeps on the target.
func (l *lab) traces() int {
	l.tb.Helper()
	return ask[int](l, `SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'outgrow') + (SELECT count(*) FROM pg_class WHERE relname LIKE '\_outgrow\_%')`)
}

// accepted fails unless nothing is left of the run but what is for people.
func (l *lab) accepted() {
	l.tb.Helper()
	if n := l.traces(); n != 0 {
		l.tb.Errorf("%d traces of outgrow are on the target", n)
	}
	entries, err := os.ReadDir(l.stateDir())
	if err != nil {
		l.tb.Fatal(err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case e.IsDir(), name == lanesFile, name == acceptedFile, name == cutoverFile:
			l.tb.Errorf("%s is left in the state folder", name)
		}
	}
	for _, name := range []string{"report.json", quarantineFile, ledgerFile, acceptFile} {
		if info, err := os.Stat(filepath.Join(l.stateDir(), name)); err != nil || info.Mode().Perm()&0o077 != 0 {
			l.tb.Errorf("%s: %v %v", name, info, err)
		}
	}
}

// A run is accepted only when it is proven; then nothing of outgrow's is left,
// and every command says so.
func TestAccept(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	withOrphans(l)
	before := tree(t, l.from)
	l.accept("--yes").exits(2, "no migration was begun").nextStep()
	l.migrate().exits(4)
	l.accept("--yes").exits(4, "wait in the quarantine").nextStep()
	l.migrate("--accept", "orphan").exits(0)
	l.accept("--yes").exits(2, "nothing was verified").nextStep()
	l.verify("--only", "rows").exits(0)
	l.accept("--yes").exits(2, "left the vectors out").nextStep()
	l.equal()
	do(t, l.dsn, `UPDATE "user" SET name = name || '!'`)
	l.verify().exits(4)
	l.accept("--yes").exits(4, "found differences").nextStep()
	l.sync().exits(0)
	do(t, l.dsn, `UPDATE "user" SET name = rtrim(name, '!')`)
	l.equal()
	l.sync().exits(0)
	l.accept("--yes").exits(2, "nothing was verified since").nextStep()
	l.equal()
	l.accept().exits(2, "there is no terminal", "--yes")
	if l.traces() == 0 {
		t.Fatal("the state is gone before anybody agreed")
	}

	lines := l.in("status", "--to", l.env, "--quarantine").exits(0).out
	l.accept("--yes").exits(0, "both sides were equal", l.from+"/webui.db", "vector_db: it still holds", l.from+"/uploads", "accepted: ")
	l.accepted()
	if kept := readFile(t, filepath.Join(l.stateDir(), quarantineFile)); kept != lines || kept == "" {
		t.Errorf("the quarantine is kept as\n%s\nwas\n%s", kept, lines)
	}
	if kept := readFile(t, filepath.Join(l.stateDir(), ledgerFile)); strings.Count(kept, "\n") != 31 {
		t.Errorf("the ledger is kept as %s", kept)
	}
	if r := l.report(); r.Accept == nil || r.Accept.Phase != acceptDone || r.Verify == nil {
		t.Errorf("the report says %+v", r.Accept)
	}
	l.accept("--yes").exits(0, "this run is over")
	l.in("status", "--to", l.env).exits(0, "this run is over")
	for _, command := range []string{"plan", "migrate", "sync", "verify", "watch", "cutover"} {
		more := map[string][]string{"cutover": {"--yes"}, "migrate": {"--replace"}}[command]
		l.in(l.pair(command, more...)...).exits(2, "it was accepted").nextStep()
	}
	l.in("replay", "--to", l.env).exits(2, "it was accepted")
	unchanged(t, l.from, before)
	if !l.released() {
		t.Error("the target has lost its schema revision")
	}
}

// A finished cutover is proof enough, whatever the new app has written since.
func TestAcceptCutover(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.in(l.guided("--yes")...).exits(0)
	do(t, l.dsn, `UPDATE "user" SET name = 'written by the new app'`)
	l.verify().exits(4)
	l.accept("--yes").exits(0, "accepted: ")
	l.accepted()
}

// Killed while it removes the state, it is neither a run nor accepted; the same
// command ends it.
func TestKillAccept(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate().exits(0)
	l.equal()
	c := conn(t, l.dsn)
	tx, err := c.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	// The rows' state cannot be removed as long as somebody else keeps writers off the table.
	if _, err := tx.Exec(context.Background(), "LOCK TABLE outgrow.part IN SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	cmd := l.command(l.pair("accept", "--yes")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		r, err := readAccept(l.stateDir())
		if err != nil {
			t.Fatal(err)
		}
		if r.Phase == acceptRemoving {
			break
		}
		if time.Since(began) > 5*time.Minute {
			t.Fatal("the removal has not begun")
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := tx.Rollback(context.Background()); err != nil {
		t.Fatal(err)
	}
	l.sync().exits(2, "not removed to the end", "outgrow accept").nextStep()
	l.in("status", "--to", l.env).exits(0, "run outgrow accept again")
	l.accept("--yes").exits(0, "accepted: ")
	l.accepted()
}
