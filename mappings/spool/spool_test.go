package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/pipeline"
)

func TestSpool(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "a", "b")
	d, err := Open(parent, "objects", "CREATE TABLE x (a BLOB)")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Exec("INSERT INTO x VALUES (?)", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) > 0 {
		t.Errorf("it has a name on disk: %v, %v", entries, err)
	}
	if _, err := d.Exec("PRAGMA max_page_count = 3"); err != nil {
		t.Fatal(err)
	}
	_, err = d.Exec("INSERT INTO x VALUES (zeroblob(100000))")
	if err = Failed("objects", "listing", err); pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), "TMPDIR") {
		t.Errorf("a full disk: %v", err)
	}
	boom := errors.New("boom")
	if err := Failed("objects", "listing", boom); !errors.Is(err, boom) || Failed("objects", "listing", nil) != nil {
		t.Errorf("another error: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, "objects", ""); pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" {
		t.Errorf("no folder: %v", err)
	}
}
