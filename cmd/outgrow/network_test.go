package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"outgrow/testdata/servers"
)

// cutter is a TCP proxy that drops connections: after a random number of bytes,
// or right after a COMMIT was handed on, before its answer comes back.
type cutter struct {
	tb     testing.TB
	server string
	listen net.Listener

	mu      sync.Mutex
	random  *rand.Rand
	left    int  // cuts still to make
	commits bool // cut at COMMIT
	mean    int  // bytes a connection carries on average before it is cut
	made    int
	down    bool // refuse new connections
	pace    int  // bytes a second that a connection carries to the server; 0 for all
}

func newCutter(tb testing.TB, server string, seed uint64) *cutter {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	c := &cutter{tb: tb, server: server, listen: l, random: rand.New(rand.NewPCG(seed, 2))}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			wg.Add(1)
			go func() { defer wg.Done(); c.carry(in) }()
		}
	}()
	tb.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return c
}

// drop reports whether a connection ends here.
func (c *cutter) drop(chunk []byte, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	hit := c.left > 0 && (c.commits && bytes.Contains(chunk, []byte("Q\x00\x00\x00\x0bcommit\x00")) && c.random.IntN(4) == 0 || !c.commits && limit <= 0)
	if hit {
		c.left--
		c.made++
	}
	return hit
}

func (c *cutter) carry(in net.Conn) {
	defer func() { _ = in.Close() }()
	c.mu.Lock()
	down, limit, pace := c.down, 0, c.pace
	if c.mean > 0 {
		limit = int(c.random.ExpFloat64() * float64(c.mean))
	}
	c.mu.Unlock()
	if down {
		return
	}
	out, err := net.Dial("tcp", c.server)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		_, _ = io.Copy(in, out)
		_ = in.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		limit -= n
		if pace > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(pace))
		}
		if c.drop(buf[:n], limit) {
			if !c.commits {
				return
			}
			_ = in.Close() // the answer finds nobody
			if _, err := out.Write(buf[:n]); err == nil {
				time.Sleep(30 * time.Millisecond) // let the server commit before it notices
			}
			return
		}
		if n > 0 {
			if _, werr := out.Write(buf[:n]); werr != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = out.Close()
	<-answers
}

// Connections that break are retried, or the same command goes on; rows whose
// COMMIT was not answered are neither lost nor doubled.
func TestConnectionCut(t *testing.T) {
	t.Parallel()
	data := bigData(t, "20MB")
	for _, c := range []struct {
		name    string
		commits bool
		cuts    int
		mean    int
	}{
		{"anywhere", false, 12, 400_000},
		{"at commit", true, 12, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, data)
			u, err := url.Parse(l.dsn)
			if err != nil {
				t.Fatal(err)
			}
			seed := rand.Uint64()
			proxy := newCutter(t, u.Host, seed)
			proxy.left, proxy.commits, proxy.mean = c.cuts, c.commits, c.mean
			l.set("DATABASE_URL", with(t, l.dsn, func(u *url.URL) { u.Host = proxy.listen.Addr().String() }))
			runs := 1
			for ; ; runs++ {
				r := l.migrate()
				if r.code == 0 {
					break
				}
				r.exits(3).nextStep()
				if runs > c.cuts {
					t.Fatalf("still failing after %d runs (seed %d)", runs, seed)
				}
			}
			proxy.mu.Lock()
			proxy.left = 0
			made := proxy.made
			proxy.mu.Unlock()
			l.equal()
			l.sameCounts(l.sourceCounts(), 674)
			if made == 0 {
				t.Error("no connection was cut")
			}
			t.Logf("%d connections cut, %d runs (seed %d)", made, runs, seed)
		})
	}
}

// A server that goes away for good in the middle: exit 3, what is safe, what
// must not be started, the fix; and the same command ends equal when it is back.
func TestServerGoesAway(t *testing.T) {
	if testing.Short() {
		servers.Skip(t, "waits for all retries")
	}
	t.Parallel()
	l := newLab(t, bigData(t, "50MB"))
	u, err := url.Parse(l.dsn)
	if err != nil {
		t.Fatal(err)
	}
	proxy := newCutter(t, u.Host, 1)
	proxy.pace = 3 << 20 // however fast the machine is, there is a middle
	l.set("DATABASE_URL", with(t, l.dsn, func(u *url.URL) { u.Host = proxy.listen.Addr().String() }))
	run := l.start(l.pair("migrate")...).until("its first rows", func() bool {
		return ask[bool](l, "SELECT to_regclass('outgrow.part') IS NOT NULL") && ask[bool](l, "SELECT EXISTS (SELECT FROM outgrow.part WHERE written > 0)")
	})
	proxy.mu.Lock()
	proxy.down, proxy.left, proxy.commits = true, 1<<30, false
	proxy.mu.Unlock()
	run.end().exits(3, "safe    the source is untouched", "not     Do not start the new one", "fix")
	l.incomplete()
	if l.released() {
		t.Error("alembic_version is there")
	}
	proxy.mu.Lock()
	proxy.down, proxy.left, proxy.pace = false, 0, 0
	proxy.mu.Unlock()
	l.migrate().exits(0, "nothing is done twice")
	l.equal()
}

// A pooler shares sessions, which locks and COPY do not survive: it is seen,
// and the way around it named, which works while the env file stays as it is.
func TestPooler(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	pooler := servers.PgBouncer(t, dsn)
	l := labOn(t, servers.DataDir(t), dsn)
	l.set("DATABASE_URL", with(t, dsn, func(u *url.URL) { u.Host = pooler }))
	l.plan().exits(2, "--direct-url").nextStep()
	l.migrate().exits(2, "--direct-url").nextStep()
	if n := ask[int](l, "SELECT count(*) FROM pg_tables WHERE schemaname IN ('outgrow', 'public')"); n != 0 {
		t.Errorf("%d tables were made", n)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l.plan("--direct-url", u.Host).exits(0)
	l.migrate("--direct-url", u.Host).exits(0)
	l.equal("--direct-url", u.Host)
	l.in("status", "--to", l.env, "--direct-url", u.Host).exits(0, "complete")
	l.sameCounts(l.sourceCounts(), 674)
}
