package main

import (
	"bytes"
	"math/rand/v2"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// moments spreads the stops of a series over a whole run.
type moments struct {
	n      int
	length time.Duration // of an undisturbed run
	random *rand.Rand
}

func newMoments(tb testing.TB, n int, length time.Duration, stream uint64) *moments {
	tb.Helper()
	seed := rand.Uint64()
	tb.Logf("an undisturbed run takes %v; seed %d", length.Round(time.Millisecond), seed)
	return &moments{n, length, rand.New(rand.NewPCG(seed, stream))}
}

// share is the part of a run after which the stop of round i comes.
func (m *moments) share(i int) float64 {
	return (float64(i%m.n) + m.random.Float64()) / float64(m.n)
}

// more reports whether a series has another round: n of them, and up to four
// times as many more until it has shown what it is to show. A machine that is
// slower or faster now than when the run was measured needs them.
func (m *moments) more(i int, shown bool) bool { return i < m.n || !shown && i < 5*m.n }

// stop runs a command and sends the signal at the moment of round i. One that
// had ended before makes the next moments earlier.
func (m *moments) stop(l *lab, cmd *exec.Cmd, signal syscall.Signal, i int) result {
	l.tb.Helper()
	began := time.Now()
	r := l.signalled(cmd, signal, time.Duration(m.share(i)*float64(m.length)))
	if r.code != -1 && r.code != 130 {
		m.ended(time.Since(began))
	}
	return r
}

// ended tells that a run took so long; one that was resumed is shorter than a
// whole one.
func (m *moments) ended(ran time.Duration) { m.length = max(m.length/2, min(m.length, ran)) }

// all says how many stops of a series hit, and fails unless as many did as it has
// rounds.
func (m *moments) all(tb testing.TB, hit, rounds int) {
	tb.Helper()
	if tb.Logf("%d of %d rounds hit; a run takes %v by now", hit, rounds, m.length.Round(time.Millisecond)); hit < m.n {
		tb.Errorf("only %d of %d rounds hit, %d were wanted", hit, rounds, m.n)
	}
}

// A series whose run takes a part of what was measured, or many times as much,
// comes to all its hits, and one that can hit nothing ends.
func TestMoments(t *testing.T) {
	t.Parallel()
	for _, measured := range []time.Duration{100 * time.Millisecond, 3 * time.Second, 20 * time.Second} {
		const takes = time.Second
		at, hit, i := newMoments(t, 30, measured, 8), 0, 0
		for ; at.more(i, hit >= at.n); i++ {
			if at.share(hit)*float64(at.length) < float64(takes) {
				hit++
			} else {
				at.ended(takes)
			}
		}
		if at.all(t, hit, i); at.length < min(measured, takes) {
			t.Errorf("measured %v: a run is taken for %v", measured, at.length)
		}
	}
	at, i := newMoments(t, 3, time.Second, 8), 0
	for ; at.more(i, false); i++ {
		at.ended(0)
	}
	if i != 15 || at.length <= 0 {
		t.Errorf("it ended after %d rounds, with %v", i, at.length)
	}
}

// running is a command that is under way.
type running struct {
	l        *lab
	cmd      *exec.Cmd
	out, err bytes.Buffer
	done     chan struct{}
}

func (l *lab) start(args ...string) *running {
	l.tb.Helper()
	r := &running{l: l, cmd: l.command(args...), done: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.err
	if err := r.cmd.Start(); err != nil {
		l.tb.Fatal(err)
	}
	go func() { _ = r.cmd.Wait(); close(r.done) }()
	l.tb.Cleanup(func() { r.signal(syscall.SIGKILL); <-r.done })
	return r
}

// until waits for something to hold, and fails when the command ends before.
func (r *running) until(what string, holds func() bool) *running {
	r.l.tb.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		select {
		case <-r.done:
			if holds() { // since it was looked at
				return r
			}
			r.l.tb.Fatalf("it ended before %s:\n%s", what, r.end().both())
		default:
		}
		if time.Now().After(deadline) {
			r.signal(syscall.SIGKILL)
			r.l.tb.Fatalf("it does not come to %s:\n%s", what, r.end().both())
		}
	}
	return r
}

// held does something while the command stands still, holding all that it holds.
func (r *running) held(do func()) *running {
	r.l.tb.Helper()
	r.signal(syscall.SIGSTOP)
	defer r.signal(syscall.SIGCONT)
	do()
	return r
}

func (r *running) signal(s syscall.Signal) { _ = r.cmd.Process.Signal(s) }

// end waits for the command's end.
func (r *running) end() result {
	r.l.tb.Helper()
	<-r.done
	return result{r.l.tb, r.cmd.Args[1:], r.cmd.ProcessState.ExitCode(), r.out.String(), r.err.String()}
}
