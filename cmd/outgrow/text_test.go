package main

import (
	"testing"
	"time"
)

func TestAgo(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 s ago", 90 * time.Second: "90 s ago", 3 * time.Hour: "3 h ago", 72 * time.Hour: "3 days ago",
		-900 * time.Millisecond: "0 s ago", -40 * time.Second: "40 s ahead of this machine's clock", -72 * time.Hour: "3 days ahead of this machine's clock",
	} {
		if got := ago(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}
