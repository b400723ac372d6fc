package main

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"outgrow/pipeline"
)

func TestLook(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	rows := laneStatus{Lane: pipeline.Rows, Units: 80, Parts: 94, Done: 31, Written: 120000, Bytes: 30e6, Without: []string{"index:chat.a"}}
	before := look{At: at, Lanes: []laneStatus{rows}}
	rows.Bytes += 20e6
	now := look{At: at.Add(2 * time.Second), Lanes: []laneStatus{rows, {Lane: pipeline.Files}}, Phase: phaseLive, Step: stepPlan}
	want := []string{
		"rows    in progress: 31 of 94 parts of 80 tables done, 120,000 rows written · 10.0 MB/s",
		"        not back yet: index:chat.a",
		"files   nothing copied: in place, or not begun",
		"guided  phase live, the last step that ended: plan",
	}
	if got := now.lines(before); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if now.same(before) || !now.same(now) {
		t.Error("same is wrong")
	}
	whole := laneStatus{Lane: pipeline.Rows, Parts: 1, Done: 1, Complete: true}
	for name, c := range map[string]struct {
		look look
		done bool
	}{
		"nothing begun":             {look{Lanes: []laneStatus{{Lane: pipeline.Rows}}}, false},
		"complete":                  {look{Lanes: []laneStatus{whole, {Lane: pipeline.Files}}}, true},
		"a lane under way":          {look{Lanes: []laneStatus{whole, {Lane: pipeline.Vectors, Parts: 2, Done: 1}}}, false},
		"the migration goes on":     {look{Lanes: []laneStatus{whole}, Unfinished: true}, false},
		"a pass goes on":            {look{Lanes: []laneStatus{whole}, Pass: at}, false},
		"the guided run goes on":    {look{Lanes: []laneStatus{whole}, Phase: phaseLive}, false},
		"the guided run came to it": {look{Lanes: []laneStatus{whole}, Phase: phaseDone}, true},
	} {
		if c.look.done() != c.done {
			t.Errorf("%s: done %t", name, !c.done)
		}
	}
}

func TestFrame(t *testing.T) {
	t.Parallel()
	if got := frame([]string{"one", "a long line"}, 0, 20); got != "\x1b[Jone\na long line\n" {
		t.Errorf("%q", got)
	}
	if got := frame([]string{"überlänge", "x"}, 2, 8); got != "\x1b[2A\r\x1b[Jüberlä…\nx\n" {
		t.Errorf("%q", got)
	}
}

// beside starts status --watch, and gives its lines.
func (l *lab) beside(more ...string) (*exec.Cmd, *bufio.Scanner) {
	l.tb.Helper()
	cmd := l.command(append([]string{"status", "--to", l.env, "--watch", "--every", "100ms"}, more...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.tb.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		l.tb.Fatal(err)
	}
	l.tb.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	return cmd, lines
}

// until reads lines up to one that holds the text, and gives all of them.
func until(tb testing.TB, lines *bufio.Scanner, text string) string {
	tb.Helper()
	var b strings.Builder
	for lines.Scan() {
		b.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), text) {
			return b.String()
		}
	}
	tb.Fatalf("it ended without %q (%v):\n%s", text, lines.Err(), b.String())
	return ""
}

// status --watch sees a migration from before its beginning over an interruption
// to its end, takes nothing from it, and ends with it.
func TestStatusWatch(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	cmd, lines := l.beside()
	text := until(t, lines, "rows nothing begun")
	h := l.hold(nil)
	text += until(t, lines, "vectors in progress")
	h.interrupt().exits(130)
	text += until(t, lines, "failed migrate")
	l.migrate().exits(0)
	last := ""
	for lines.Scan() {
		last = lines.Text()
		text += last + "\n"
	}
	if err := cmd.Wait(); err != nil || strings.Contains(text, "\x1b") {
		t.Fatalf("%v: %s", err, text)
	}
	for _, want := range []string{"rows complete", "vectors complete", "files complete", "674 vectors written"} {
		if !strings.Contains(last, want) {
			t.Errorf("no %q in its last line %q", want, last)
		}
	}
	l.equal()
	// What is complete already is told once.
	r := l.in("status", "--to", l.env, "--watch", "--json").exits(0)
	var e event
	if err := json.Unmarshal([]byte(r.out), &e); err != nil || e.Event != "status" {
		t.Errorf("%v: %s", err, r.out)
	}
	l.in("status", "--to", l.env, "--watch", "--every", "1ms").exits(2, "--every")
}
