package main

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"outgrow/pipeline"
)

// What the system refuses is the environment's fault, and the fix names it.
func TestSurroundings(t *testing.T) {
	t.Parallel()
	for refused, hint := range map[syscall.Errno]string{syscall.ENOSPC: "free space", syscall.EDQUOT: "free space", syscall.EROFS: "for writing", syscall.EFBIG: "ulimit -f", syscall.EACCES: "as a user"} {
		err := surroundings(fmt.Errorf("writing: %w", &fs.PathError{Op: "write", Path: "x", Err: refused}))
		if code, got := pipeline.ExitCode(err), pipeline.HintOf(err); code != pipeline.ExitEnvironment || !strings.Contains(got, hint) {
			t.Errorf("%v: exit %d, %q", refused, code, got)
		}
	}
}
