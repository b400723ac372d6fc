//go:build linux

package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// share is a file of a share that fails as it is told.
type share struct {
	*os.File
	write, sync, close, chown func() error
}

func (s *share) Write(p []byte) (int, error) {
	if err := s.write(); err != nil {
		return 0, err
	}
	return s.File.Write(p)
}

func (s *share) Sync() error {
	if err := s.sync(); err != nil {
		return err
	}
	return s.File.Sync()
}

func (s *share) Close() error {
	err := s.File.Close()
	if failed := s.close(); failed != nil {
		return failed
	}
	return err
}

func (s *share) Chown(uid, gid int) error { return s.chown() }

// failing makes the sink's files fail at one call, times times; always with -1.
func failing(s *Sink, at string, err error, times int64) *atomic.Int64 {
	var n atomic.Int64
	fail := func(call string) func() error {
		return func() error {
			if call != at || times >= 0 && n.Load() >= times {
				return nil
			}
			n.Add(1)
			return &fs.PathError{Op: call, Path: "a file", Err: err}
		}
	}
	s.wrap = func(f *os.File) file {
		return &share{File: f, write: fail("write"), sync: fail("sync"), close: fail("close"), chown: fail("chown")}
	}
	return &n
}

// A share that has no room, no quota or no disk left says so at the write, at
// the flush or only at the close: the batch fails, nothing has its name, nothing
// is left, and the same batch goes in once the share is well.
func TestShareFails(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"write", "sync", "close"} {
		for _, cause := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.ESTALE} {
			dir := t.TempDir()
			s := open(t, Config{Mount: dir})
			calls := failing(s, at, cause, -1)
			b := batch("uploads", object("uploads/a", strings.Repeat("a", 100_000)), object("uploads/d/b", "b"))
			out, err := s.Write(t.Context(), b)
			if !errors.Is(err, cause) || out.Written+len(out.Refused)+len(out.Changed) > 0 || calls.Load() == 0 {
				t.Errorf("%v at %s: %+v, %v", cause, at, out, err)
			}
			wantExit := pipeline.ExitEnvironment
			if cause == syscall.ESTALE { // the engine tries again
				wantExit = pipeline.ExitFailed
			}
			if pipeline.ExitCode(err) != wantExit || pipeline.IsRetryable(err) != (cause == syscall.ESTALE) || wantExit == pipeline.ExitEnvironment && pipeline.HintOf(err) == "" {
				t.Errorf("%v at %s: exit %d, retryable %v: %v", cause, at, pipeline.ExitCode(err), pipeline.IsRetryable(err), err)
			}
			for _, name := range []string{"uploads/a", "uploads/d/b"} {
				if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%v at %s: %s is there: %v", cause, at, name, err)
				}
			}
			if l := leftovers(t, dir); len(l) > 0 {
				t.Errorf("%v at %s: left %q", cause, at, l)
			}
			s.wrap = func(f *os.File) file { return f }
			if out := write(t, s, b); out.Written != 2 || len(out.Refused) > 0 {
				t.Errorf("%v at %s, then well: %+v", cause, at, out)
			}
			if body, err := os.ReadFile(filepath.Join(dir, "uploads/a")); err != nil || len(body) != 100_000 {
				t.Errorf("%v at %s, then well: %d bytes, %v", cause, at, len(body), err)
			}
		}
	}
}

// One failing file out of many does not take the others' content along, and with
// Replace the old content stays until the new one is safe.
func TestShareFailsOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Config{Mount: dir})
	write(t, s, batch("uploads", object("uploads/a", "old")))
	s = open(t, Config{Mount: dir, Replace: true})
	failing(s, "close", syscall.EDQUOT, 1)
	if _, err := s.Write(t.Context(), batch("uploads", object("uploads/a", "new"))); !errors.Is(err, syscall.EDQUOT) {
		t.Fatal(err)
	}
	if body, err := os.ReadFile(filepath.Join(dir, "uploads/a")); string(body) != "old" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	failing(s, "sync", syscall.EIO, 1)
	var list []*pipeline.Object
	for i := range 40 {
		list = append(list, object(fmt.Sprintf("uploads/%02d", i), crashText(i)))
	}
	if _, err := s.Write(t.Context(), batch("uploads", list...)); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	for i, o := range list {
		if body, err := os.ReadFile(filepath.Join(dir, o.Name)); err == nil && string(body) != crashText(i) {
			t.Errorf("%s has %d bytes", o.Name, len(body))
		}
	}
	if out := write(t, s, batch("uploads", list...)); out.Written != 40 || len(leftovers(t, dir)) > 0 {
		t.Errorf("%+v", out)
	}
}

// Files that cannot be given away are told of once and are there; any other
// failure of chown is one.
func TestOwnerOnAShare(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.EPERM, syscall.EACCES, syscall.EINVAL, syscall.EOPNOTSUPP, syscall.ENOSYS} {
		s := open(t, Config{Mount: t.TempDir(), Owner: "12345:23456"})
		calls := failing(s, "chown", cause, -1)
		out := write(t, s, batch("uploads", object("uploads/a", "1"), object("uploads/d/b", "2")))
		out.Add(write(t, s, batch("uploads", object("uploads/c", "3"))))
		if out.Written != 3 || len(out.Refused) > 0 || len(out.Changed) != 1 || out.Changed[0].Reason != OwnerKept || !strings.Contains(out.Changed[0].Note, "12345:23456") {
			t.Errorf("%v: %+v", cause, out)
		}
		if calls.Load() < 3 {
			t.Errorf("%v: %d calls", cause, calls.Load())
		}
	}
	// A share that takes it and does nothing.
	s := open(t, Config{Mount: t.TempDir(), Owner: "12345:23456"})
	failing(s, "chown", nil, 0)
	if out := write(t, s, batch("uploads", object("uploads/a", "1"))); out.Written != 1 || len(out.Changed) != 1 {
		t.Errorf("done as if: %+v", out)
	}
	for _, cause := range []error{syscall.EIO, syscall.EDQUOT, syscall.ESTALE} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "uploads"), 0o755); err != nil {
			t.Fatal(err)
		}
		s := open(t, Config{Mount: dir, Owner: "12345:23456"})
		failing(s, "chown", cause, -1)
		if _, err := s.Write(t.Context(), batch("uploads", object("uploads/a", "1"), object("uploads/d/b", "1"))); !errors.Is(err, cause) {
			t.Errorf("%v: %v", cause, err)
		}
		if l := leftovers(t, dir); len(l) > 0 {
			t.Errorf("%v: left %q", cause, l)
		}
	}
}

// What an ordinary user cannot do is told before anything is written.
func TestOwnerToldBeforehand(t *testing.T) {
	t.Parallel()
	if servers.Unprivileged(t) {
		return
	}
	for owner, want := range map[string]bool{"": false, "0:0": true, fmt.Sprint(os.Geteuid()): false} {
		s := open(t, Config{Mount: t.TempDir(), Owner: owner})
		found, err := s.Check(context.Background(), nil)
		if got := len(found) == 1 && found[0].Reason == OwnerKept; err != nil || got != want {
			t.Errorf("%q: %+v, %v", owner, found, err)
		}
	}
}
