package servers

import (
	"os"
	"testing"
)

// Skip ends the test, saying why it cannot run here. With OUTGROW_NO_SKIP=1 the test fails instead.
// Every skip of the project goes through it.
func Skip(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("OUTGROW_NO_SKIP") == "1" {
		tb.Fatalf("may not be skipped (OUTGROW_NO_SKIP=1): "+format, args...)
	}
	tb.Skipf(format, args...)
}

// Shared returns the folder with the large fixtures that extended tests read, which OUTGROW_SHARED names.
// Where it is not set the test is skipped, also with OUTGROW_NO_SKIP=1: an extended test is one that nobody owes.
func Shared(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("OUTGROW_SHARED")
	if dir == "" {
		tb.Skip("OUTGROW_SHARED does not name the folder with the large fixtures")
	}
	if _, err := os.Stat(dir); err != nil {
		tb.Fatalf("OUTGROW_SHARED: %v", err)
	}
	return dir
}
