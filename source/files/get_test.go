package files

import (
	"os"
	"path/filepath"
	"testing"

	"outgrow/pipeline"
)

// What would lie below a file is not there; that is no failure.
func TestGetBelowAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "uploads"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "uploads", "a"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Config{Mount: dir})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(t.Context(), pipeline.Unit{Lane: pipeline.Files, Name: "uploads"}, []string{"uploads/a", "uploads/a/in", "uploads/a/b/in", "uploads/b/in"})
	if err != nil || len(got) != 1 || got["uploads/a"] == nil {
		t.Errorf("%v, %v", got, err)
	}
}
