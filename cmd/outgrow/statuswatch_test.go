package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
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
		"rows    in progress: 31 of 94 parts of 80 tables done, 120,000 rows written · 10.0 MB/s · not back yet: index:chat.a",
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

// status --watch sees a migration from before its beginning to its end, takes
// nothing from it, and ends with it.
func TestStatusWatch(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	cmd := l.command("status", "--to", l.env, "--watch", "--every", "100ms")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(out)
	first, err := reader.ReadString('\n')
	if err != nil || !strings.Contains(first, "rows nothing begun") {
		t.Errorf("%v: %q %s", err, first, said.String())
	}
	rest := make(chan string, 1)
	go func() {
		body, _ := io.ReadAll(reader)
		rest <- string(body)
	}()
	l.migrate(slow...).exits(0)
	text := <-rest
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s%s", err, text, said.String())
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := lines[len(lines)-1]
	for _, want := range []string{"rows complete", "vectors complete", "files complete", "674 vectors written"} {
		if !strings.Contains(last, want) {
			t.Errorf("no %q in its last line %q", want, last)
		}
	}
	if !strings.Contains(text, "in progress") || strings.Contains(text, "\x1b") {
		t.Errorf("%q", text)
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
