package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"outgrow/pipeline/pipetest"
	"outgrow/testdata/servers"
)

// Whatever moment a migration of files dies at, also in the middle of a large
// one, the same command ends equal, leaves no upload unfinished, and sends less
// than one part more than what was missing.
func TestKillFilesToObjectStore(t *testing.T) {
	n := 5
	if os.Getenv("OUTGROW_KILLS") != "" {
		n = pipetest.Kills(t)
	}
	program(t)
	eachStore(t, func(t *testing.T, s objectStore) {
		large := largeBytes(t, s.large)
		data := uploadsData(t, 200, large)
		want := contents(t, data)
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 3))
		begin := func() *objectLab {
			l := toStore(t, s, data)
			l.proxy.Throttle(max(48<<20, large/8))
			l.proxy.Count(servers.Large(1))
			return l
		}
		l := begin()
		began := time.Now()
		l.wait(l.command(l.files("migrate")...)).exits(0)
		length, total := time.Since(began), l.proxy.Sent()
		t.Logf("an undisturbed run takes %v and sends %d bytes; seed %d", length.Round(time.Millisecond), total, seed)
		stopped, inside := 0, 0
		for i := range n {
			l := begin()
			// Every second one dies after a share of the bytes, which is most often in
			// the large file; the others at a moment of their share of the time.
			share := (float64(i) + random.Float64()) / float64(n)
			var r result
			if i%2 == 0 {
				r = l.killedAt(func() bool { return l.proxy.Sent() >= int64(share*float64(total)) })
			} else {
				r = l.signalled(l.command(l.files("migrate")...), syscall.SIGKILL, time.Duration(share*float64(length)))
			}
			switch r.code {
			case -1:
				stopped++
			case 0:
			default:
				t.Fatalf("migration %d ended with %d by itself:\n%s", i, r.code, r.both())
			}
			time.Sleep(300 * time.Millisecond) // the proxy has seen that it is dead
			l.proxy.Settle()
			missing := total - l.proxy.Stored()
			if missing > 0 && l.proxy.Stored() > total/10 {
				inside++
			}
			l.proxy.Count(servers.Large(1))
			l.wait(l.command(l.files("migrate")...)).exits(0)
			if sent := l.proxy.Sent(); sent >= missing+s.part {
				t.Errorf("migration %d: %d bytes were missing, %d were sent", i, missing, sent)
			} else {
				t.Logf("migration %d: %d bytes were missing, %d were sent", i, missing, sent)
			}
			l.whole(want)
			l.in(l.files("verify")...).exits(0, "verify: equal")
		}
		if stopped < n/2 || inside == 0 {
			t.Errorf("%d of %d migrations were stopped before their end, %d of them within the large file", stopped, n, inside)
		}
	})
}

// killedAt runs a migration until the condition holds, and kills it then.
func (l *objectLab) killedAt(now func() bool) result {
	l.tb.Helper()
	cmd := l.command(l.files("migrate")...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Start(); err != nil {
		l.tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-tick.C:
			if now() {
				_ = cmd.Process.Signal(syscall.SIGKILL)
				<-done
				waiting = false
			}
		}
	}
	return result{l.tb, cmd.Args[1:], cmd.ProcessState.ExitCode(), out.String(), stderr.String()}
}
