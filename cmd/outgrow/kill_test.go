package main

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"outgrow/pipeline/pipetest"
)

// phase says how far the target is, from its own state.
func (l *lab) phase() string {
	l.tb.Helper()
	switch {
	case !ask[bool](l, "SELECT to_regclass('outgrow.run') IS NOT NULL"):
		return "before the first write"
	case l.released():
		return "after the end"
	case !ask[bool](l, "SELECT EXISTS (SELECT FROM outgrow.part WHERE lane = 'rows')"):
		return "preparing"
	case ask[bool](l, "SELECT EXISTS (SELECT FROM outgrow.part WHERE lane = 'rows' AND NOT done)"):
		return "loading rows"
	case ask[bool](l, "SELECT EXISTS (SELECT FROM outgrow.mark WHERE lane = 'rows' AND name LIKE 'without:%' AND name NOT LIKE 'without:foreign%')"):
		return "building indexes, adding keys"
	case ask[bool](l, "SELECT NOT EXISTS (SELECT FROM outgrow.mark WHERE lane = 'vectors' AND name = 'complete')"):
		return "rows finished, vectors not"
	}
	return "everything but the release"
}

// stop starts a migration, sends the signal after the delay and returns the
// process's end: its exit code (-1 when it was killed), what it said, and
// whether it was still running when the signal came.
func (l *lab) stop(signal syscall.Signal, after time.Duration) (result, bool) {
	l.tb.Helper()
	cmd := l.command(l.pair("migrate")...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Start(); err != nil {
		l.tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	hit := false
	select {
	case <-done:
	case <-time.After(after):
		hit = cmd.Process.Signal(signal) == nil
	}
	<-done
	return result{l.tb, cmd.Args[1:], cmd.ProcessState.ExitCode(), out.String(), stderr.String()}, hit
}

// incomplete fails when Open WebUI could start on the target already. Nobody
// knows whether a process that was killed at its very end had got there.
func (l *lab) incomplete() {
	l.tb.Helper()
	if !l.released() {
		return
	}
	if n := ask[int](l, `SELECT (SELECT count(*) FROM outgrow.part WHERE NOT done) + (SELECT count(*) FROM outgrow.mark WHERE name LIKE 'without:%')`); n != 0 {
		l.tb.Errorf("alembic_version is there, but %d parts, indexes or constraints are not", n)
	}
	if ask[bool](l, "SELECT count(DISTINCT lane) <> 2 FROM outgrow.part") {
		l.tb.Error("alembic_version is there, but a lane has not begun")
	}
}

// interrupted runs migrations that are stopped at random moments, each followed
// by the same command to the end.
func interrupted(t *testing.T, signal syscall.Signal, n int) {
	data := bigData(t, "50MB")
	before := tree(t, data)
	source := (&lab{tb: t, from: data}).sourceCounts()

	// The length of a whole run, so that the moments spread over all of it. Where
	// other work slows the machine down now and then, it is measured again.
	program(t)
	l := newLab(t, data)
	whole := func(l *lab) time.Duration {
		began := time.Now()
		l.wait(l.command(l.pair("migrate")...)).exits(0)
		return time.Since(began)
	}
	length := whole(l)
	want := catalog(l)

	at := newMoments(t, n, length, 1)
	phases := map[string]int{}
	var stopped []string
	late := 0
	for i := 0; at.more(i, len(stopped) >= n/2); i++ {
		l := newLab(t, data)
		// Every third migration is stopped several times. One stratum a
		// migration spreads few moments over the whole run.
		stops, ran := 1, time.Duration(0)
		if i%3 == 2 {
			stops = 3
		}
		phase := "before the first write" // the phase when the process is started
		for k := range stops {
			share := at.share(i)
			if k > 0 {
				share = at.random.Float64()
			}
			after := time.Duration(share * float64(max(at.length-ran, at.length/5)))
			began := time.Now()
			r, hit := l.stop(signal, after)
			ran += time.Since(began)
			if r.code == 0 { // it had ended before the signal came
				late++
				at.ended(ran)
				if k > 0 || late > 3*n {
					break
				}
				l, phase = newLab(t, data), "before the first write"
				share = at.random.Float64()
				if r, hit = l.stop(signal, time.Duration(share*float64(at.length))); r.code == 0 {
					break
				}
			}
			if !hit || (r.code != -1 && r.code != 130) {
				t.Fatalf("migration %d ended with %d by itself:\n%s", i, r.code, r.both())
			}
			p := l.phase()
			// A signal that comes before main has begun ends the process as signals do.
			if unborn := r.code == -1 && r.both() == "" && p == phase; signal == syscall.SIGINT && !unborn {
				r.exits(130)
				if strings.Contains(r.err, "failed") {
					t.Errorf("an interrupt reads as a failure:\n%s", r.err)
				}
			}
			phase = p
			phases[p]++
			stopped = append(stopped, fmt.Sprintf("%.2f s %s", after.Seconds(), p))
			l.incomplete()
		}
		l.wait(l.command(l.pair("migrate")...)).exits(0)
		l.equal()
		l.sameCounts(source, 674)
		if got := catalog(l); got != want {
			t.Errorf("migration %d: the indexes and constraints are not those of an undisturbed run", i)
		}
		if !l.released() {
			t.Errorf("migration %d: alembic_version is not there", i)
		}
		if t.Failed() {
			t.Fatalf("after %s", strings.Join(stopped, ", "))
		}
		do(t, l.dsn, "DROP SCHEMA public, outgrow CASCADE") // keeps the disk small
	}
	unchanged(t, data, before)
	names := make([]string, 0, len(phases))
	for p := range phases {
		names = append(names, p)
	}
	sort.Strings(names)
	for _, p := range names {
		t.Logf("%3d x %s", phases[p], p)
	}
	if len(stopped) < n/2 {
		t.Errorf("only %d of %d migrations were stopped before their end", len(stopped), n)
	}
	t.Logf("%d stops, %d came after the end; moments: %s", len(stopped), late, strings.Join(stopped, ", "))
}

// Whatever moment a migration dies at, the same command ends equal.
func TestKill(t *testing.T) { interrupted(t, syscall.SIGKILL, pipetest.Kills(t)) }

// An interrupt is an announced crash.
func TestInterrupt(t *testing.T) { interrupted(t, syscall.SIGINT, max(3, pipetest.Kills(t)/3)) }
