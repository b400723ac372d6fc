package pipeline

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	clock := time.Unix(0, 0)
	l := NewLimiter(100)
	l.now = func() time.Time { return clock }
	l.wait = func(_ context.Context, d time.Duration) error { clock = clock.Add(d); return nil }
	for _, n := range []int{50, 0, 100, 10} {
		if err := l.Wait(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	// 50 and 100 records have gone before the last 10.
	if got := clock.Sub(time.Unix(0, 0)); got != 1500*time.Millisecond {
		t.Errorf("the last records went after %v, want 1.5 s", got)
	}
	// A pause earns nothing.
	clock = clock.Add(time.Hour)
	before := clock
	for range 2 {
		if err := l.Wait(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
	}
	if got := clock.Sub(before); got != time.Second {
		t.Errorf("two batches after a pause took %v, want 1 s", got)
	}
}

func TestLimiterStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := NewLimiter(0.001)
	if err := l.Wait(ctx, 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := l.Wait(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := NewLimiter(0).Wait(ctx, 1_000_000); err != nil {
		t.Errorf("no limit waits: %v", err)
	}
}
