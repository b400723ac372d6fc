package pipetest

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
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

// dieAfter is the variable that tells a child when to end.
const dieAfter = "OUTGROW_TEST_DIE_AFTER"

// Doomed is what the child of [KillChild] calls first: it will be killed (-9) when
// its time has come. It does so itself, as whoever watches it may come too late.
func Doomed() {
	after, err := time.ParseDuration(os.Getenv(dieAfter))
	if err != nil {
		return
	}
	time.AfterFunc(after, func() {
		if me, err := os.FindProcess(os.Getpid()); err == nil {
			_ = me.Kill()
		}
	})
}

// KillChild runs this test program again and again with those variables, whose
// TestMain then calls [Doomed] and copies. It is killed (-9) each time, between
// least and most after that, the earliest first, until it was killed as often as
// [Kills] says or has come to its end. It gives how often it was killed; a child
// that fails ends the test, and so does one that is never killed.
func KillChild(t *testing.T, variables []string, least, most time.Duration) int {
	t.Helper()
	wanted, killed := Kills(t), 0
	for killed < wanted {
		c := exec.CommandContext(t.Context(), os.Args[0])
		share := (float64(killed) + rand.Float64()) / float64(wanted)
		after := least + time.Duration(share*float64(most-least))
		c.Env = append(os.Environ(), append(slices.Clone(variables), dieAfter+"="+after.String())...)
		var said strings.Builder
		c.Stdout, c.Stderr = &said, &said
		err := c.Run()
		if err == nil {
			break
		}
		if c.ProcessState == nil || c.ProcessState.Exited() {
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
