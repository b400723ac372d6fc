package chroma

import (
	"os"
	"path/filepath"
	"testing"
)

// What a killed process left is removed, what a living one uses stays.
func TestPrivateFolder(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "tmp")
	used, release, err := privateFolder(parent)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(parent, privatePattern+"left")
	if err := os.MkdirAll(filepath.Join(left, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	other, done, err := privateFolder(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for dir, want := range map[string]bool{used: true, other: true, left: false} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: there is %v, want %v", filepath.Base(dir), err == nil, want)
		}
	}
	release() // as at the end of its process
	if _, again, err := privateFolder(parent); err != nil {
		t.Fatal(err)
	} else {
		defer again()
	}
	if _, err := os.Stat(used); err == nil {
		t.Error("a copy that nobody uses any more is still there")
	}
}
