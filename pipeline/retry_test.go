package pipeline

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"
)

func TestParseRetryAfter(t *testing.T) {
	date := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	if a, b, c, d := ParseRetryAfter("7"), ParseRetryAfter(date), ParseRetryAfter("99999"), ParseRetryAfter("soon"); a != 7*time.Second || b < time.Minute || b > 91*time.Second || c != MaxRetryAfter || d != 0 {
		t.Error(a, b, c, d)
	}
}

// A server that is started anew is waited for: by default for 12 seconds at the
// least, and not for ever.
func TestBackoffWaits(t *testing.T) {
	away := errors.New("away")
	for range 100 {
		var waited time.Duration
		calls := 0
		err := Backoff{Wait: func(_ context.Context, d time.Duration) error { waited += d; return nil }}.Do(t.Context(), func(n int) error {
			if n != calls {
				t.Errorf("attempt %d is told to be %d", calls, n)
			}
			calls++
			return Transient(away)
		})
		if !errors.Is(err, away) || calls != 8 || waited < 12*time.Second || waited > 26*time.Second {
			t.Fatalf("%d calls in %s, then %v", calls, waited, err)
		}
	}
}
