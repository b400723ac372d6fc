package gcs

import (
	"os"
	"path/filepath"
	"testing"

	"outgrow/mappings/env"
	"outgrow/sink/objects"
	"outgrow/testdata/servers"
)

// What is left when all is copied is forgotten. That the server is told cannot be
// seen: the emulator answers and does nothing.
func TestFinish(t *testing.T) {
	dir, body := t.TempDir(), random(3*partBytes)
	cfg := config(t, servers.GCS(t))
	open := func(cfg env.GCSConfig) *Sink {
		s, err := Open(t.Context(), cfg, dir, objects.Config{})
		if err != nil {
			t.Fatal(err)
		}
		s.up.part = partBytes
		return s
	}
	s := open(cfg)
	if n, err := s.Unfinished(t.Context()); n != 0 || err != nil {
		t.Errorf("%d at first, %v", n, err)
	}
	p := begin(t, s.up, uploadOf("a", body))
	if err := send(t.Context(), p, body, 2); err != nil {
		t.Fatal(err)
	}
	begin(t, s.up, uploadOf("a", body[1:]))
	for name, text := range map[string]string{"0" + suffix: "{", "1" + suffix + ".new": "", "theirs": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := open(cfg).Unfinished(t.Context()); n != 3 || err != nil {
		t.Errorf("%d before, %v", n, err)
	}
	for range 2 {
		if _, err := s.Finish(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Unfinished(t.Context()); n != 0 || err != nil || remembers(t, dir) != 1 {
			t.Errorf("%d afterwards, %d files, %v", n, remembers(t, dir), err)
		}
	}
	if n, err := (&Sink{up: &Uploader{state: state(filepath.Join(dir, "none"))}}).Unfinished(t.Context()); n != 0 || err != nil {
		t.Errorf("no folder: %d, %v", n, err)
	}
}
