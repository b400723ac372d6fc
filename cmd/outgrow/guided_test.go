package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"outgrow/mappings/doctor"
	"outgrow/mappings/fstype"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

// A guided run beside an app that writes until it is stopped, and what is said
// and refused afterwards.
func TestGuidedCutover(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	stop := l.runApp()
	out, started := filepath.Join(l.dir, "start.env"), filepath.Join(l.dir, "started")
	r := l.in(l.guided("--yes", "--stop-cmd", stop, "--start-cmd", "touch '"+started+"'", "--env-out", out)...)
	r.exits(0, "window  a stop now would take about", "verify: equal", "downtime ", "outgrow's part", "next    outgrow watch --from")
	l.equal()
	if _, err := os.Stat(started); err != nil {
		t.Errorf("the new app was not started: %v", err)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("--env-out: %v %v", info, err)
	}
	c := l.report().Cutover
	if c == nil || c.Phase != phaseDone || c.Downtime <= 0 || c.Own <= 0 || c.Window.Own <= 0 {
		t.Fatalf("the report says %+v", c)
	}
	steps := map[string]cutoverStep{}
	for _, s := range c.Steps {
		steps[s.Step] = s
	}
	for _, name := range []string{stepMigrate, stepRehearse, "pass 1", stepQuiet, stepFinal, stepVerify} {
		if s := steps[name]; s.Seconds <= 0 || s.Predicted <= 0 {
			t.Errorf("%s: %+v, want what was predicted and what it took", name, s)
		}
	}
	// It is over: nothing is overwritten any more.
	l.in(l.guided("--yes")...).exits(0, "nothing was done now", "--again")
	l.sync().exits(2, "would overwrite", "--strays").nextStep()
	l.in(l.pair("watch", "--for", "1ms")...).exits(0, "nothing was written to the old side")
	l.in(l.pair("watch", "--once")...).exits(0, "nothing was written to the old side")
}

// What an old container that came back has written is named, and carried over
// where the target was not changed too.
func TestSplitBrain(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.in(l.guided("--yes", "--json")...).exits(0, `"event":"cutover"`, `"phase":"done"`)
	// The old side: a row of each kind.
	l.live(7)
	l.sqlite("webui.db", `UPDATE chat SET title = 'old side' WHERE id IN (SELECT id FROM chat ORDER BY id DESC LIMIT 2)`, "PRAGMA wal_checkpoint(TRUNCATE)")
	// The new side: one of these rows, and one that the old side has deleted.
	last := ask[string](l, "SELECT id FROM chat ORDER BY id DESC LIMIT 1")
	do(t, l.dsn, "UPDATE chat SET title = 'new side' WHERE id = '"+last+"'")
	chats := ask[int](l, "SELECT count(*) FROM chat")

	l.in(l.guided("--yes")...).exits(4, "split brain").nextStep()
	l.in(l.pair("watch", "--for", "1s")...).exits(4, "split brain: ", "rows/chat ", "1 memory", "sync --from")
	r := l.sync("--strays")
	r.exits(4, "carried", "the target's were left as they are", "nothing was removed there")
	if got := ask[string](l, "SELECT title FROM chat WHERE id = '"+last+"'"); got != "new side" {
		t.Errorf("the target's own change was overwritten: %s", got)
	}
	if n := ask[int](l, "SELECT count(*) FROM chat WHERE title = 'old side'"); n != 1 {
		t.Errorf("%d chats were carried over, want 1", n)
	}
	if n := ask[int](l, "SELECT count(*) FROM chat"); n != chats {
		t.Errorf("%d chats of %d are left", n, chats)
	}
	if n := ask[int](l, "SELECT count(*) FROM memory WHERE content = 'new'"); n != 1 {
		t.Errorf("%d memories were carried over, want 1", n)
	}
	list, err := os.ReadFile(filepath.Join(l.dir, "scaled.outgrow", straysFile))
	if err != nil || !strings.Contains(string(list), `"conflict"`) || !strings.Contains(string(list), last) {
		t.Errorf("the list: %v\n%s", err, list)
	}
	// Again: only the conflict and what was removed are left.
	r = l.sync("--strays", "--json").exits(4)
	for line := range strings.Lines(r.out) {
		var e struct {
			Event  string
			Detail struct {
				Units []struct {
					Unit                    string
					New, Changed, Conflicts int64
				}
			}
		}
		if json.Unmarshal([]byte(line), &e) != nil || e.Event != "strays" {
			continue
		}
		for _, u := range e.Detail.Units {
			if u.New+u.Changed > 0 || u.Conflicts > 0 && u.Unit != "rows/chat" && !strings.HasPrefix(u.Unit, "vectors/") {
				t.Errorf("%+v is carried a second time", u)
			}
		}
	}
}

// Enter or a yes goes on; any other word, and an end of the input, does not.
func TestAsk(t *testing.T) {
	t.Parallel()
	for line, goes := range map[string]bool{"\n": true, "\r\n": true, " Yes \n": true, "y\n": true, "no\n": false, "n\n": false, "q\n": false, "stop": false, "": false} {
		in, out, err := os.Pipe()
		if err == nil {
			_, err = out.WriteString(line)
		}
		if err := errors.Join(err, out.Close()); err != nil {
			t.Fatal(err)
		}
		var asked bytes.Buffer
		err = (&app{in: in, err: &asked}).ask(t.Context(), "sure? ")
		if (err == nil) != goes || err != nil && (pipeline.ExitCode(err) != 2 || pipeline.HintOf(err) == "") || asked.String() != "sure? " {
			t.Errorf("%q: %v, after %q", line, err, asked.String())
		}
		_ = in.Close()
	}
}

// Nobody is asked where nobody can answer, and nothing goes on while the source
// is written to.
func TestGuidedRefuses(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.in(l.guided()...).exits(2, "there is no terminal", "--yes").nextStep()
	stop := l.runApp()
	l.in(l.guided("--yes", "--stop-cmd", "echo no; exit 7", "--wait", "1s")...).exits(3, "exit status 7", "no").nextStep()
	l.in(l.guided("--yes", "--wait", "500ms")...).exits(3, "nobody writes", "webui.db is ").nextStep()
	l.in(l.guided("--yes", "--stop-cmd", stop)...).exits(0, "goes on where it stood", "verify: equal")
	l.equal()
}

// What doctor says must be fixed ends the run before anything is written, unless
// it is told not to.
func TestGuidedBeginsWithDoctor(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.fs = func(string) (fstype.Type, error) { return fstype.Type{Magic: fstype.Ext4}, nil }
	l.set("DATABASE_POOL_SIZE", "0")
	l.in(l.guided("--yes")...).exits(2, "must    D06", "there is no pool", "1 must be fixed", "--skip-doctor").nextStep()
	l.saysOfDoctor(2, "D06")
	l.set("DATABASE_POOL_SIZE", "1")
	l.set("REDIS_URL", "redis://:s3cretpw@127.0.0.1:1/0")
	r := l.in(l.guided("--yes", "--json")...).exits(3, `"id":"D12"`, `"unreachable":["REDIS_URL"]`, "--skip-doctor")
	if strings.Contains(r.both(), "s3cretpw") {
		t.Errorf("it shows a password: %s", r.both())
	}
	l.saysOfDoctor(3, "D12")
	if n := ask[int](l, "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"); n != 0 {
		t.Errorf("%d tables were made", n)
	}
	if entries, err := os.ReadDir(l.share); err != nil || len(entries) != 0 {
		t.Errorf("the target's folder holds %v %v", entries, err)
	}
	l.in(l.guided("--yes", "--skip-doctor")...).exits(0, "verify: equal")
	l.set("REDIS_URL", "")
	l.in(l.guided("--yes", "--again")...).exits(0, "doctor  0 must be fixed", "took    doctor", "verify: equal")
	l.saysOfDoctor(0, "")
}

// saysOfDoctor fails unless the report and its page say what doctor found last:
// its exit code, and that id among what must be fixed ("" for nothing).
func (l *lab) saysOfDoctor(exit int, id string) {
	l.tb.Helper()
	r, page := l.reported()
	d := r.Doctor
	if d == nil {
		l.tb.Fatal("the report says nothing of doctor")
	}
	var must []string
	for _, f := range d.Findings {
		if f.Severity == doctor.Must {
			must = append(must, f.ID)
		}
	}
	if d.Exit != exit || (id == "") != (len(must) == 0) || id != "" && !slices.Contains(must, id) {
		l.tb.Errorf("the report says of doctor: exit %d, must %v; want %d, %q", d.Exit, must, exit, id)
	}
	if !strings.Contains(page, "What outgrow doctor says") || strings.Contains(page, "must fix") != (id != "") {
		l.tb.Errorf("the page does not show what doctor says (%q)", id)
	}
}

// Without agreement to what the target cannot hold there is no stop.
func TestGuidedNeedsConsent(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.sqlite("webui.db", "PRAGMA foreign_keys = OFF", "INSERT INTO chat_message (id, chat_id, role) VALUES ('stray', 'nobody', 'user')", "PRAGMA wal_checkpoint(TRUNCATE)")
	l.in(l.guided("--yes", "--stop-cmd", "echo must not run >&2; exit 1")...).exits(4, "--accept orphan").nextStep()
	l.in(l.guided("--yes", "--accept", "orphan")...).exits(0, "verify: equal")
}

// When verify finds a difference the old app goes on.
func TestGuidedNotEqual(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	started := filepath.Join(l.dir, "started")
	l.in(l.guided("--yes")...).exits(0)
	do(t, l.dsn, `UPDATE "user" SET name = 'damaged'`)
	l.in(l.guided("--yes", "--again", "--start-cmd", "touch '"+started+"'")...).exits(4, "start the OLD app again", "Do not start the new app")
	if _, err := os.Stat(started); err == nil {
		t.Error("the new app was started on a target that differs")
	}
}

// Whatever moment a cutover dies at, the same command ends equal.
func TestKillCutover(t *testing.T) {
	n := 2
	if os.Getenv("OUTGROW_KILLS") != "" {
		n = pipetest.Kills(t)
	}
	program(t)
	at, killed, phases := newMoments(t, n, 9*time.Second, 6), 0, map[string]int{}
	i := 0
	for ; at.more(i, killed >= n) && !t.Failed(); i++ {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			l := newLab(t, "")
			stop, started := l.runApp(), filepath.Join(l.dir, "started")
			args := l.guided("--yes", "--stop-cmd", stop, "--start-cmd", "touch '"+started+"'")
			if r := at.stop(l, l.command(args...), syscall.SIGKILL, killed); r.code == -1 {
				killed++
			}
			c, err := readCutover(filepath.Join(l.dir, "scaled.outgrow"), cutoverFile)
			if err != nil {
				t.Fatal(err)
			}
			phases[c.Phase]++
			if _, err := os.Stat(started); err == nil && c.Phase != phaseVerified && c.Phase != phaseDone {
				t.Errorf("the new app was started in phase %q", c.Phase)
			}
			l.wait(l.command(args...)).exits(0)
			if _, err := os.Stat(started); err != nil {
				t.Error("the new app was not started")
			}
			l.equal()
		})
	}
	t.Logf("killed or ended in %v", phases)
	at.all(t, killed, i)
}
