package servers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ChromaPython returns the Python that has chromadb 1.5.9, for tests of stores on disk. Where it is not installed and
// may not be (OUTGROW_INSTALL=1) the test is skipped.
func ChromaPython(tb testing.TB) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), filepath.Join(testdata(tb), "servers", "chroma.sh"), "install")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		Skip(tb, "no chromadb: %v: %s", err, said.String())
	}
	python := filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "python")
	if _, err := os.Stat(python); err != nil {
		Skip(tb, "no chromadb: %v", err)
	}
	return python
}
