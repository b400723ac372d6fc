//go:build linux

package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"outgrow/mappings/fstype"
	"outgrow/pipeline"
)

// A share whose server does not answer is gone for all files, and may come back;
// a file that cannot be read is one file. EIO is either, by the file system.
func TestShareFails(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"uploads/a": "1"})
	for on, refusals := range map[fstype.Magic]map[syscall.Errno]bool{
		fstype.Ext4: {syscall.EIO: true, syscall.EACCES: true, syscall.ELOOP: true, syscall.ESTALE: false},
		fstype.NFS:  {syscall.EIO: false, syscall.EACCES: true, syscall.ESTALE: false, syscall.ETIMEDOUT: false, syscall.EINTR: false},
		fstype.FUSE: {syscall.EIO: false, syscall.ENOTCONN: false, syscall.ECONNREFUSED: false},
		fstype.SMB2: {syscall.EIO: false, syscall.EHOSTDOWN: false, syscall.ECONNABORTED: false},
	} {
		s := open(t, Config{Mount: dir, FileSystem: func(path string) (fstype.Type, error) {
			if path != dir {
				t.Errorf("asked for %s", path)
			}
			return fstype.Type{Magic: on}, nil
		}})
		for cause, one := range refusals {
			err := s.failing("reading", &fs.PathError{Op: "read", Path: "a", Err: cause})
			if !errors.Is(err, cause) || pipeline.IsRetryable(err) == one {
				t.Errorf("%s, %v: %v, retryable %v", fstype.Type{Magic: on}, cause, err, pipeline.IsRetryable(err))
			}
			if lost(cause) && (pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "") {
				t.Errorf("%s, %v: exit %d", fstype.Type{Magic: on}, cause, pipeline.ExitCode(err))
			}
		}
	}
	failed := errors.New("no answer")
	if _, err := Open(t.Context(), Config{Mount: dir, FileSystem: func(string) (fstype.Type, error) { return fstype.Type{}, failed }}); !errors.Is(err, failed) || pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("no type: %v", err)
	}
}

// When a share is unmounted its files have not vanished one by one.
func TestFolderGone(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]func(dir string) error{
		"unmounted": func(dir string) error { return os.Mkdir(filepath.Join(dir, "uploads"), 0o755) }, // the empty folder below it
		"removed":   func(string) error { return nil },
		"whole":     os.RemoveAll,
	} {
		dir := tree(t, map[string]string{"uploads/a": "1", "uploads/b": "2"})
		s := open(t, Config{Mount: dir, Units: []string{"uploads"}})
		units, err := s.Units(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		listed, err := s.Get(t.Context(), units[0], []string{"uploads/a", "uploads/b"})
		if err != nil || len(listed) != 2 {
			t.Fatalf("%v, %v", listed, err)
		}
		// A file that is removed is just that.
		if err := os.Remove(filepath.Join(dir, "uploads", "b")); err != nil {
			t.Fatal(err)
		}
		if _, err := listed["uploads/b"].Open(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a removed file: %v", err)
		}
		away := t.TempDir()
		if err := os.Rename(filepath.Join(dir, "uploads"), filepath.Join(away, "uploads")); err != nil {
			t.Fatal(err)
		}
		if err := after(dir); err != nil {
			t.Fatal(err)
		}
		_, err = listed["uploads/a"].Open(t.Context())
		if !errors.Is(err, ErrFolderGone) || errors.Is(err, fs.ErrNotExist) || !pipeline.IsRetryable(err) || pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		for _, err = range s.Read(t.Context(), pipeline.Part{Unit: units[0]}, "") {
		}
		if !errors.Is(err, ErrFolderGone) {
			t.Errorf("%s, read: %v", name, err)
		}
		if name != "unmounted" {
			continue
		}
		// Mounted again, it goes on.
		if err := os.Remove(filepath.Join(dir, "uploads")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(away, "uploads"), filepath.Join(dir, "uploads")); err != nil {
			t.Fatal(err)
		}
		r, err := listed["uploads/a"].Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(r); string(body) != "1" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
		_ = r.Close()
	}
}
