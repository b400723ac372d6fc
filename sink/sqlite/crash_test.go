package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/pipeline/pipetest"
	source "outgrow/source/sqlite"
	"outgrow/testdata/servers"
)

// TestMain plays the child of the crash tests: it copies a webui.db and, at the
// step that it is told, kills itself.
func TestMain(m *testing.M) {
	from := os.Getenv("CRASH_TEST_FROM")
	if from == "" {
		os.Exit(m.Run())
	}
	pipetest.Doomed()
	if err := child(from, place{os.Getenv("CRASH_TEST_DATA"), os.Getenv("CRASH_TEST_STATE")}, os.Getenv("CRASH_TEST_STEP")); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func child(from string, p place, step string) error {
	ctx := context.Background()
	src, err := source.Open(ctx, source.Config{Path: from, Limits: pipeline.Limits{Records: 20}})
	if err != nil {
		return err
	}
	j, err := localstate.Open(ctx, p.state, pipeline.Rows)
	if err != nil {
		return err
	}
	s, err := Open(ctx, Config{Path: p.db(), Head: head, Journal: j})
	if err != nil {
		return err
	}
	if _, err := j.Begin(ctx, aRun); err != nil {
		return err
	}
	n := 0
	at, count := step, 1
	for i := range step {
		if step[i] == ':' {
			at = step[:i]
			count, _ = strconv.Atoi(step[i+1:])
		}
	}
	s.step = func(now string) {
		if now != at {
			return
		}
		if n++; n == count {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	tables, err := s.Columns(ctx)
	if err != nil {
		return err
	}
	units, err := src.Units(ctx)
	if err != nil {
		return err
	}
	units = slices.DeleteFunc(units, func(u pipeline.Unit) bool { return tables[u.Name] == nil })
	if err := pipeline.Copy(ctx, pipeline.Job[*pipeline.Row]{Source: src, Sink: s, Journal: j, Units: units, PartBytes: 200 << 10, Workers: 2}); err != nil {
		return err
	}
	if err := s.Release(ctx); err != nil {
		return err
	}
	return errors.Join(s.Close(), j.Close(), src.Close())
}

// orphaned is the real database with rows that have no parent.
func orphaned(t *testing.T) string {
	t.Helper()
	path := filepath.Join(servers.DataDir(t), "webui.db")
	db := view(t, path)
	for _, q := range []string{`DELETE FROM chat WHERE rowid % 3 = 0`, `UPDATE "group" SET parent_group_id = 'nowhere'`} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func variables(from string, p place, step string) []string {
	return []string{"CRASH_TEST_FROM=" + from, "CRASH_TEST_DATA=" + p.data, "CRASH_TEST_STATE=" + p.state, "CRASH_TEST_STEP=" + step}
}

// wholeOrNot: whatever has the name of a database is a whole one.
func wholeOrNot(t *testing.T, p place) {
	t.Helper()
	if _, err := os.Stat(p.db()); err == nil {
		if err := whole(t, p).Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// ends goes on to the end and compares with a copy that was never cut off.
func ends(t *testing.T, from string, p place) {
	t.Helper()
	if err := child(from, p, ""); err != nil {
		t.Fatal(err)
	}
	db := whole(t, p)
	old := view(t, from)
	kept := map[string]string{
		"chat_message": " WHERE chat_id IN (SELECT id FROM chat)", "chat_file": " WHERE chat_id IN (SELECT id FROM chat) AND file_id IN (SELECT id FROM file)",
		"shared_chat": " WHERE chat_id IN (SELECT id FROM chat)",
	}
	left := 0
	for name := range tablesOf(t, old) {
		want := ask[int](t, old, "SELECT count(*) FROM "+ident(name)+kept[name])
		if got := ask[int](t, db, "SELECT count(*) FROM "+ident(name)); got != want {
			t.Errorf("%s: %d rows, want %d", name, got, want)
		}
		left += ask[int](t, old, "SELECT count(*) FROM "+ident(name)) - want
	}
	j, err := localstate.Open(t.Context(), p.state, pipeline.Rows)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	lines := 0
	for r, err := range j.Refusals(t.Context(), "") {
		if err != nil || r.Reason != pipeline.Orphan || len(r.Record) < 20 {
			t.Fatalf("%+v, %v", r, err)
		}
		lines++
	}
	if lines != left || left == 0 {
		t.Errorf("%d rows left, %d lines in the quarantine", left, lines)
	}
}

func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	from := orphaned(t)
	for _, step := range []string{"make", "made", "index:1", "index:40", "settle:1", "settle:3", "strip", "closed", "rename", "renamed"} {
		t.Run(step, func(t *testing.T) {
			p := newPlace(t)
			c := exec.CommandContext(t.Context(), os.Args[0])
			c.Env = append(os.Environ(), variables(from, p, step)...)
			if out, err := c.CombinedOutput(); err == nil || c.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the child ended with %v: %s", err, out)
			}
			if _, err := os.Stat(p.db()); (err == nil) != (step == "renamed") {
				t.Errorf("webui.db: %v", err)
			}
			wholeOrNot(t, p)
			ends(t, from, p)
		})
	}
}

func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	from, p := orphaned(t), newPlace(t)
	pipetest.KillChild(t, variables(from, p, ""), 50*time.Millisecond, 900*time.Millisecond)
	wholeOrNot(t, p)
	ends(t, from, p)
}
