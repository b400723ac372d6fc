package main

import (
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
		begin := func() *objectLab {
			l := toStore(t, s, data)
			l.proxy.Throttle(max(48<<20, large/8))
			l.proxy.Count(servers.Large(1))
			return l
		}
		l := begin()
		began := time.Now()
		l.wait(l.command(l.files("migrate")...)).exits(0)
		total := l.proxy.Sent()
		at := newMoments(t, n, time.Since(began), 3)
		stopped, inside := 0, 0
		for i := 0; at.more(i, stopped >= n/2 && inside > 0); i++ {
			l := begin()
			// Every second one dies after a share of the bytes, which is most often in
			// the large file; the others at a moment of their share of the time.
			var r result
			if i%2 == 0 || i >= n {
				share := at.share(i)
				r = l.killedAt(func() bool { return l.proxy.Sent() >= int64(share*float64(total)) })
			} else {
				r = at.stop(l.lab, l.command(l.files("migrate")...), syscall.SIGKILL, i)
			}
			switch r.code {
			case -1:
				stopped++
			case 0:
			default:
				t.Fatalf("migration %d ended with %d by itself:\n%s", i, r.code, r.both())
			}
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
	run := l.start(l.files("migrate")...)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-run.done:
			return run.end()
		case <-tick.C:
			if now() {
				run.signal(syscall.SIGKILL)
				return run.end()
			}
		}
	}
}
