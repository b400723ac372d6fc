package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	store "outgrow/mappings/objects"
	"outgrow/mappings/objects/objectstest"
	"outgrow/pipeline"
)

// A run that dies in the middle of a large object leaves its parts; the next
// sends only the others.
func TestResume(t *testing.T) {
	const parts = 20
	body := text(parts*100 - 30)
	for _, sequential := range []bool{false, true} {
		for dies := 1; dies <= parts; dies++ {
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := errors.New("stopped")
			var mu sync.Mutex // nothing else gets on between the count and the end
			sent := 0
			m := &objectstest.Memory{PartBytes: 100, Sequential: sequential}
			m.Lost = func(op, _ string) error {
				mu.Lock()
				defer mu.Unlock()
				if op == objectstest.Part {
					if sent++; sent == dies {
						cancel(stop)
					}
				}
				return nil
			}
			o := object("uploads/a", body)
			_, err := opened(t, m).Write(ctx, batch(o))
			cancel(nil)
			stored := sent
			if !errors.Is(err, stop) {
				t.Fatalf("%v, dies at %d: %v", sequential, dies, err)
			}
			if len(m.Pending()) != 1 || len(m.Keys()) > 0 || stored < dies || stored > dies+senders {
				t.Fatalf("%v, dies at %d: pending %q, keys %q, %d parts", sequential, dies, m.Pending(), m.Keys(), stored)
			}
			m.Lost = nil
			before := m.Calls(objectstest.Part)
			if out := write(t, opened(t, m), o); out.Written != 1 {
				t.Errorf("%v, dies at %d: %+v", sequential, dies, out)
			}
			if again := m.Calls(objectstest.Part) - before; again != parts-stored {
				t.Errorf("%v: %d parts were sent again, %d were missing", sequential, again, parts-stored)
			}
			has(t, m, "a", body)
			if m.Calls(objectstest.Abort) > 0 || len(m.Pending()) > 0 {
				t.Errorf("%v: aborted %d times, pending %q", sequential, m.Calls(objectstest.Abort), m.Pending())
			}
		}
	}
}

// Parts that come in any order go four at a time, others one after the other.
func TestParallel(t *testing.T) {
	for sequential, want := range map[bool]int64{false: senders, true: 1} {
		var once sync.Once
		var now, most atomic.Int64
		all := make(chan struct{}) // closed once as many go as are to go
		m := &objectstest.Memory{PartBytes: 100, Sequential: sequential}
		m.Fault = func(op, _ string) error {
			if op == objectstest.Part {
				n := now.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				if n == want {
					once.Do(func() { close(all) })
				}
				select {
				case <-all:
				case <-time.After(time.Minute):
				}
				time.Sleep(2 * time.Millisecond) // one more would be seen
				now.Add(-1)
			}
			return nil
		}
		write(t, opened(t, m), object("uploads/a", text(3000)))
		has(t, m, "a", text(3000))
		if got := most.Load(); got != want {
			t.Errorf("sequential %v: %d parts at a time, want %d", sequential, got, want)
		}
	}
}

// Memory and requests stay within their bounds, whatever is written at the same
// time, and a single object that is larger than the bound gets through.
func TestBounds(t *testing.T) {
	const limit, requests = 40 << 10, 5
	for _, sequential := range []bool{false, true} {
		m := &objectstest.Memory{PartBytes: 16 << 10, Sequential: sequential}
		var now, most atomic.Int64
		m.Fault = func(op, _ string) error {
			if op == objectstest.Put {
				n := now.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				time.Sleep(time.Millisecond / 2)
				now.Add(-1)
			}
			return nil
		}
		s := opened(t, m, func(c *Config) { c.Buffers, c.Requests = limit, requests })
		var wg sync.WaitGroup
		for p := range 4 {
			wg.Go(func() {
				var list []*pipeline.Object
				for i := range 40 {
					list = append(list, object(fmt.Sprintf("uploads/%d-%d", p, i), text(i*i*37)))
				}
				if out, err := s.Write(t.Context(), batch(list...)); err != nil || out.Written != 40 {
					t.Errorf("%+v, %v", out, err)
				}
			})
		}
		wg.Wait()
		for p := range 4 {
			for i := range 40 {
				has(t, m, fmt.Sprintf("%d-%d", p, i), text(i*i*37))
			}
		}
		if s.buffers.peak > limit || s.buffers.peak < limit/2 || s.buffers.used != 0 || s.buffers.idle > limit {
			t.Errorf("at most %d bytes were held, now %d and %d idle, limit %d", s.buffers.peak, s.buffers.used, s.buffers.idle, limit)
		}
		if most.Load() > requests || most.Load() < 2 {
			t.Errorf("%d requests at a time, limit %d", most.Load(), requests)
		}
		s = opened(t, m, func(c *Config) { c.Buffers = 1000 })
		write(t, s, object("uploads/x", text(16<<10)), object("uploads/y", text(60<<10)), object("uploads/z", text(999)))
		has(t, m, "x", text(16<<10))
		has(t, m, "y", text(60<<10))
	}
}

// Only the digests are computed that the store verifies by, and what shows that
// the source is the one that it was said to be.
func TestDigests(t *testing.T) {
	both, crc := store.CRC32C|store.MD5, store.CRC32C
	cases := []struct {
		by   store.Algorithms // 0 for an Uploader that does not say
		told store.Sums
		want store.Algorithms
	}{
		{0, store.Sums{}, both},
		{crc, store.Sums{}, crc},
		{store.MD5, store.Sums{}, both},
		{crc, store.Sums{MD5: "m"}, both},
		{crc, store.Sums{CRC32C: "c", MD5: "m", SHA256: "s"}, crc},
		{crc, store.Sums{SHA256: "s"}, crc | store.SHA256},
	}
	for _, c := range cases {
		m := &objectstest.Memory{VerifyBy: c.by}
		w := &writer{opened(t, m, func(cfg *Config) {
			if c.by == 0 {
				cfg.Uploader = struct{ store.Uploader }{m}
			}
		}), unit("uploads"), false}
		if got := w.digests(c.told); got != c.want {
			t.Errorf("%+v: %b", c, got)
		}
	}
	m := &objectstest.Memory{PartBytes: 100, VerifyBy: store.CRC32C}
	write(t, opened(t, m), object("uploads/a", text(1000)))
	has(t, m, "a", text(1000))
}

// Buffers are reused, and what is kept makes room for what is needed.
func TestBuffers(t *testing.T) {
	b := newBuffers(1 << 20)
	get := func(n int64) []byte {
		t.Helper()
		buf, err := b.get(t.Context(), n)
		if err != nil || int64(len(buf)) != n {
			t.Fatalf("%d: %d, %v", n, len(buf), err)
		}
		return buf
	}
	first := get(100_000)
	b.put(first)
	if again := get(98_400); &again[0] != &first[0] {
		t.Error("a buffer was not reused")
	} else {
		b.put(again)
	}
	for n := int64(1); n < 1<<20; n += 777 {
		if c := capacity(n); c < n || n > smallest && float64(c) > 1.26*float64(n) {
			t.Fatalf("%d becomes %d", n, c)
		}
		b.put(get(n))
		if b.used != 0 || b.idle > 1<<20 || b.peak > 1<<20 {
			t.Fatalf("used %d, idle %d, peak %d", b.used, b.idle, b.peak)
		}
	}
	all := get(1 << 20)
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errDead)
	defer cancel()
	if _, err := b.get(ctx, 1); !errors.Is(err, errDead) {
		t.Errorf("more than there is: %v", err)
	}
	b.put(all)
	b.put(get(0))
	if big := get(5 << 20); b.idle != 0 {
		t.Errorf("%d bytes idle beside %d", b.idle, len(big))
	} else {
		b.put(big)
	}
	b.put(get(1))
	if b.used != 0 || b.idle != smallest {
		t.Errorf("used %d, idle %d", b.used, b.idle)
	}
}

// Cancelling ends a write at once with the cause, wherever it is, and gives
// everything back; then it can be written.
func TestCancel(t *testing.T) {
	stop := errors.New("stopped")
	ops := []string{objectstest.Put, objectstest.Head, objectstest.Begin, objectstest.Part, objectstest.Complete, "source"}
	for _, op := range ops {
		for n := range 2 {
			ctx, cancel := context.WithCancelCause(t.Context())
			var calls atomic.Int64
			hit := func(at string) {
				if at == op && int(calls.Add(1)) == n+1 {
					cancel(stop)
				}
			}
			m := &objectstest.Memory{PartBytes: 100, Fault: func(at, _ string) error { hit(at); return ctx.Err() }}
			s := opened(t, m)
			var list []*pipeline.Object
			for i := range 6 {
				o := object(fmt.Sprintf("uploads/%d", i), text(70+i%3*300))
				content := o.Open
				o.Open = func(c context.Context) (io.ReadCloser, error) { hit("source"); return content(c) }
				list = append(list, o)
			}
			out, err := s.Write(ctx, batch(list...))
			if !errors.Is(err, stop) || out.Written+len(out.Refused)+len(out.Changed) > 0 || pipeline.IsRetryable(err) {
				t.Errorf("%s %d: %+v, %v", op, n, out, err)
			}
			if m.Calls(objectstest.Abort) > 0 {
				t.Errorf("%s %d: the parts were given up", op, n)
			}
			cancel(nil)
			m.Fault = nil
			if out := write(t, s, list...); out.Written != len(list) || len(m.Pending()) > 0 {
				t.Errorf("%s %d, next: %+v", op, n, out)
			}
		}
	}
	s := opened(t, &objectstest.Memory{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Write(ctx, batch()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	if err := s.Prepare(ctx, unit("uploads")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
}

// The first error of several is the one that is told, and names the object.
func TestFirstError(t *testing.T) {
	m := &objectstest.Memory{PartBytes: 100}
	m.Fault = func(op, key string) error {
		if op == objectstest.Put && key == "3" || op == objectstest.Part {
			return errDead
		}
		return nil
	}
	var list []*pipeline.Object
	for i := range 50 {
		list = append(list, object(fmt.Sprintf("uploads/%d", i), text(i*10)))
	}
	s := opened(t, m, func(c *Config) { c.Describe = "s3://bucket/prefix" })
	_, err := s.Write(t.Context(), batch(list...))
	if !errors.Is(err, errDead) || !strings.HasPrefix(err.Error(), "writing uploads/") || !strings.Contains(err.Error(), "s3://bucket/prefix") {
		t.Error(err)
	}
	s = opened(t, m, func(c *Config) {
		c.Tags = func(context.Context, string) (map[string]string, error) { return nil, errNow }
	})
	if _, err := s.Write(t.Context(), batch(object("uploads/t", "1"))); !errors.Is(err, errNow) {
		t.Errorf("tags: %v", err)
	}
}
