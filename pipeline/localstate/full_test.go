package localstate

import (
	"fmt"
	"strings"
	"testing"

	"outgrow/pipeline"
)

// A state folder without room is no damage: the state must not be moved away, and the
// exit code is the environment's.
func TestNoRoom(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, t.TempDir(), pipeline.Files)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Begin(ctx, pipeline.Run{ID: "a", Source: pipeline.Identity{Stable: "s"}, Target: "t"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.ExecContext(ctx, "PRAGMA max_page_count = 1"); err != nil { // SQLite raises it to what there is
		t.Fatal(err)
	}
	line := pipeline.Refusal{Unit: "files/uploads", Key: "k", Reason: pipeline.Invalid, Record: fmt.Appendf(nil, "%q", strings.Repeat("x", 1<<20))}
	full := s.AddLines(ctx, []pipeline.Refusal{line}, nil)
	for name, err := range map[string]error{"adding lines": full, "opening": notOpened("dir", "dir/state.db", full)} {
		if code, hint := pipeline.ExitCode(err), pipeline.HintOf(err); code != pipeline.ExitEnvironment || !strings.HasPrefix(hint, "free space in the state folder") {
			t.Errorf("%s without room: exit %d, hint %q: %v", name, code, hint, err)
		}
	}
}

// A state of another version is whole, too.
func TestOtherVersion(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s, err := Open(ctx, dir, pipeline.Files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.ExecContext(ctx, "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(ctx, dir, pipeline.Files)
	if code, hint := pipeline.ExitCode(err), pipeline.HintOf(err); code != pipeline.ExitUsage || !strings.HasPrefix(hint, "end the run with the version") {
		t.Errorf("exit %d, hint %q: %v", code, hint, err)
	}
}
