package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// Only the folders of lanes that take part are looked at, and what was written
// there is told once.
func TestWrittenSince(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"vector_db", "uploads"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		lanes   []pipeline.Lane
		server  string // of Chroma
		written string
		says    string // "" for nothing
	}{
		{[]pipeline.Lane{pipeline.Rows, pipeline.Vectors, pipeline.Files}, "", "", ""},
		{[]pipeline.Lane{pipeline.Rows, pipeline.Vectors, pipeline.Files}, "", "vector_db/a", "vector_db is written to (a, "},
		{[]pipeline.Lane{pipeline.Rows, pipeline.Vectors, pipeline.Files}, "", "uploads/b", "uploads is written to (b, "},
		{[]pipeline.Lane{pipeline.Rows, pipeline.Vectors}, "", "uploads/c", ""},
		{[]pipeline.Lane{pipeline.Rows, pipeline.Files}, "", "vector_db/d", ""},
		{[]pipeline.Lane{pipeline.Rows, pipeline.Vectors, pipeline.Files}, "chroma.internal", "vector_db/e", ""},
	} {
		s := &session{from: env.Deployment{Mount: dir, Vector: env.Vector{Kind: env.Chroma, Path: filepath.Join(dir, "vector_db"), Chroma: env.ChromaConfig{Host: c.server}}, Files: env.Files{Provider: env.Local}}, src: &sourceFacts{lanes: c.lanes}}
		before, err := s.folderLook()
		if err != nil {
			t.Fatal(err)
		}
		if c.written != "" {
			if err := os.WriteFile(filepath.Join(dir, c.written), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		found, err := s.writtenSince(before)
		if err != nil || (c.says == "") != (len(found) == 0) || s.src.live != (c.says != "") {
			t.Errorf("%v %s: %+v, live %v, %v", c.lanes, c.written, found, s.src.live, err)
			continue
		}
		if c.says == "" {
			continue
		}
		if f := found[0]; f.Severity != pipeline.Warn || !strings.Contains(f.Text, c.says) || s.src.wrote.IsZero() || s.src.mode != "live" {
			t.Errorf("%s: %+v, wrote %v, mode %s", c.written, f, s.src.wrote, s.src.mode)
		}
		if again, err := s.writtenSince(before); err != nil || again != nil {
			t.Errorf("it is told again: %v, %v", again, err)
		}
	}
}
