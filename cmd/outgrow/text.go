package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// event is one JSON line.
type event struct {
	Event  string `json:"event"`
	Text   string `json:"text,omitempty"`
	Fix    string `json:"fix,omitempty"`
	Exit   int    `json:"exit,omitempty"`
	Detail any    `json:"detail,omitempty"`
}

// emit prints one JSON line.
func emit(w io.Writer, e any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(e)
}

// indent puts the following lines of a text under the first one.
func indent(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n        ") }

// size prints bytes in decimal units: "1.0 GB".
func size(n int64) string {
	f, units := float64(n), []string{"B", "kB", "MB", "GB", "TB"}
	i := 0
	for f >= 1000 && i < len(units)-1 {
		f /= 1000
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	if f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// number prints an integer with thin groups: 384,399.
func number(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural prints "1 row", "2 rows".
func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "index") || strings.HasSuffix(what, "ch") || strings.HasSuffix(what, "ss") {
		return number(n) + " " + what + "es"
	}
	if strings.HasSuffix(what, "y") && !strings.HasSuffix(what, "key") {
		return number(n) + " " + strings.TrimSuffix(what, "y") + "ies"
	}
	return number(n) + " " + what + "s"
}

// clock prints a duration as m:ss or h:mm:ss.
func clock(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// ago prints an age: "4 s ago", "3 days ago".
func ago(d time.Duration) string {
	switch {
	case d <= -time.Second: // a clock that was set back, or another machine's
		return strings.TrimSuffix(ago(-d), " ago") + " ahead of this machine's clock"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days ago", int(d.Hours()/24))
	}
}
