package pipeline

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Backoff says how a transient failure is retried: after waits that double, of
// which half is left to chance. By default a server may be away for 12 seconds at
// the least, and for 25 at the most, until it is given up.
type Backoff struct {
	Attempts int           // calls in all, 0 means 8
	Base     time.Duration // first wait at most, 0 means 200 ms
	Max      time.Duration // longest wait, 0 means 20 s
	// Wait sleeps for d or until ctx is done, nil means a timer. Tests inject
	// their own clock here.
	Wait func(ctx context.Context, d time.Duration) error
}

// Delayed is implemented by errors that know how long to wait at least before
// the same call is worth another try (Retry-After).
type Delayed interface {
	RetryAfter() time.Duration
}

// MaxRetryAfter bounds what a server may say of when to come back.
const MaxRetryAfter = 5 * time.Minute

// ParseRetryAfter reads the header Retry-After (RFC 9110, section 10.2.3),
// seconds or a date: 0 to [MaxRetryAfter], and 0 for what is neither.
func ParseRetryAfter(header string) time.Duration {
	d := time.Duration(0)
	if n, err := strconv.Atoi(header); err == nil {
		d = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(header); err == nil {
		d = time.Until(t)
	}
	return min(max(d, 0), MaxRetryAfter)
}

// Do calls f until it succeeds, fails for good (see [IsRetryable]) or the
// attempts are used up; it then returns the last error. f is told the number
// of the attempt, from 0. A cancelled ctx ends it at once.
func (b Backoff) Do(ctx context.Context, f func(attempt int) error) error {
	attempts, base, limit, wait := b.Attempts, b.Base, b.Max, b.Wait
	if attempts == 0 {
		attempts = 8
	}
	if base == 0 {
		base = 200 * time.Millisecond
	}
	if limit == 0 {
		limit = 20 * time.Second
	}
	if wait == nil {
		wait = Sleep
	}
	for n := 0; ; n++ {
		err := f(n)
		if err == nil || !IsRetryable(err) || n+1 >= attempts {
			return err
		}
		d := min(base<<min(n, 20), limit)
		pause := d/2 + time.Duration(rand.Int64N(int64(d)/2+1))
		if after := Delayed(nil); errors.As(err, &after) {
			pause = max(pause, after.RetryAfter())
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
}
