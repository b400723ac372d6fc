package pipeline

import (
	"context"
	"sync"
	"time"
)

// Limiter spreads records over time. It is safe for concurrent use; a nil
// *Limiter limits nothing.
type Limiter struct {
	perSecond float64
	now       func() time.Time
	wait      func(context.Context, time.Duration) error

	mu   sync.Mutex
	next time.Time // when the next records may go
}

// NewLimiter lets a number of records pass a second; 0 or less means no limit
// and gives nil.
func NewLimiter(perSecond float64) *Limiter {
	if perSecond <= 0 {
		return nil
	}
	return &Limiter{perSecond: perSecond, now: time.Now, wait: Sleep}
}

// Wait returns when n records may be written, or when ctx is done. The first
// ones may at once; what they take is waited for by those that follow.
func (l *Limiter) Wait(ctx context.Context, n int) error {
	if l == nil || n <= 0 {
		return nil
	}
	l.mu.Lock()
	now := l.now()
	at := l.next
	if at.Before(now) {
		at = now
	}
	l.next = at.Add(time.Duration(float64(n) / l.perSecond * float64(time.Second)))
	l.mu.Unlock()
	if pause := at.Sub(now); pause > 0 {
		return l.wait(ctx, pause)
	}
	return nil
}
