package pipeline

import (
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
