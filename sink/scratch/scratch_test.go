package scratch

import (
	"strings"
	"testing"

	"outgrow/pipeline"
)

func TestMarked(t *testing.T) {
	t.Parallel()
	for comment, want := range map[string]bool{"": false, Mark: true, Of("5a"): true, Mark + "s": false, "an " + Mark: false, "mine": false} {
		if Marked(comment) != want {
			t.Errorf("%q: %t", comment, !want)
		}
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{Name, "x", "_1", strings.Repeat("x", 63)} {
		if err := CheckName(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "1x", "Chat", "a b", `a"b`, "a-b", strings.Repeat("x", 64)} {
		if err := CheckName(name); pipeline.ExitCode(err) != pipeline.ExitUsage || pipeline.HintOf(err) == "" {
			t.Errorf("%q: %v", name, err)
		}
	}
	if len(making)+16 > 63 {
		t.Error("the name of an unfinished database is too long")
	}
}
