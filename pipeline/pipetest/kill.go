package pipetest

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Kills is how many random moments the kill tests try: OUTGROW_KILLS, else 10.
func Kills(tb testing.TB) int {
	tb.Helper()
	text := os.Getenv("OUTGROW_KILLS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		tb.Fatalf("OUTGROW_KILLS is %q, not a number", text)
	}
	return n
}

// KillChild runs this test program again and again with those variables, whose
// TestMain then copies, and kills it (-9) each time, between least and most
// after its start, the earliest first, until it was killed as often as [Kills]
// says or has come to its end. It gives how often it was killed; a child that
// fails ends the test, and so does one that is never killed.
func KillChild(t *testing.T, variables []string, least, most time.Duration) int {
	t.Helper()
	wanted, killed := Kills(t), 0
	for killed < wanted {
		c := exec.CommandContext(t.Context(), os.Args[0])
		c.Env = append(os.Environ(), variables...)
		var said strings.Builder
		c.Stdout, c.Stderr = &said, &said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		share := (float64(killed) + rand.Float64()) / float64(wanted)
		timer := time.AfterFunc(least+time.Duration(share*float64(most-least)), func() { _ = c.Process.Kill() })
		err := c.Wait()
		timer.Stop()
		if err == nil {
			break
		}
		if c.ProcessState.Exited() {
			t.Fatalf("the writer failed: %v: %s", err, said.String())
		}
		killed++
	}
	t.Logf("killed %d times", killed)
	if killed == 0 {
		t.Error("it was never killed")
	}
	return killed
}
