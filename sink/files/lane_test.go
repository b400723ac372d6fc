//go:build linux

package files

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	source "outgrow/source/files"
	"outgrow/testdata/servers"
)

// The whole lane: copied by the engine with its journal, resumed, compared.
func TestLane(t *testing.T) {
	from, to, state := t.TempDir(), t.TempDir(), t.TempDir()
	if shared := os.Getenv("OUTGROW_SHARED"); shared != "" {
		if err := os.CopyFS(from, os.DirFS(filepath.Join(shared, "fixtures", "small"))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 500 {
		at := filepath.Join(from, "uploads", fmt.Sprintf("%03d_naïve café.txt", i))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(strings.Repeat("x", i*37)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(at, time.Time{}, when); err != nil {
			t.Fatal(err)
		}
	}
	src, err := source.Open(t.Context(), source.Config{Mount: from, Limits: pipeline.Limits{Records: 50}})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		sink := open(t, Config{Mount: to})
		journal, err := localstate.Open(t.Context(), state, pipeline.Files, from)
		if err != nil {
			t.Fatal(err)
		}
		id, err := src.Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		res, err := journal.Begin(t.Context(), pipeline.Run{ID: "1", Source: id, Target: "t"})
		if err != nil || res.Fresh != (round == 0) || res.SourceChanged {
			t.Fatalf("%+v, %v", res, err)
		}
		if err := pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Object]{Source: src, Sink: sink, Journal: journal, PartBytes: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		target, err := source.Open(t.Context(), source.Config{Mount: to})
		if err != nil {
			t.Fatal(err)
		}
		sums, err := pipeline.Diff(t.Context(), pipeline.Comparison[*pipeline.Object]{Source: src, Target: target, Journal: journal, Equal: source.Equal,
			Report: func(d pipeline.Difference) { t.Errorf("difference %+v", d) }})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sums {
			t.Logf("%s: %d of %d equal", s.Unit, s.Equal, s.Source)
			if s.Equal != s.Source || s.Source == 0 {
				t.Errorf("%+v", s)
			}
		}
		if err := journal.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(to, "uploads/007_naïve café.txt"))
	if err != nil || !info.ModTime().Equal(when) {
		t.Errorf("time %v, %v", info.ModTime(), err)
	}
}

// A full disk: the environment's error, with a hint, nothing half written, and
// the rest once there is room.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		servers.Skip(t, "only root may mount a small disk")
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		servers.Skip(t, "cannot mount a small disk: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s := open(t, Config{Mount: dir})
	list := []*pipeline.Object{object("uploads/a", strings.Repeat("a", 300<<10)), object("uploads/b", strings.Repeat("b", 2<<20))}
	_, err := s.Write(t.Context(), batch("uploads", list...))
	if pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" || pipeline.IsRetryable(err) {
		t.Errorf("full: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "uploads/b")); !os.IsNotExist(err) {
		t.Errorf("the file that did not fit is there: %v", err)
	}
	if l := leftovers(t, dir); len(l) > 0 {
		t.Errorf("left: %q", l)
	}
	u := unit("uploads")
	u.Records, u.Bytes = 2, 2300<<10
	if f, err := s.Check(t.Context(), []pipeline.Unit{u}); err != nil || f[len(f)-1].Reason != NoSpace {
		t.Errorf("check: %+v, %v", f, err)
	}
	if err := unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT, "size=10m"); err != nil {
		t.Fatal(err)
	}
	if out := write(t, s, batch("uploads", list...)); out.Written != 2 {
		t.Errorf("with room: %+v", out)
	}
	if err := unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err = s.Write(t.Context(), batch("uploads", object("uploads/c", "1")))
	if pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("read-only: %v", err)
	}
	if f, err := s.Check(t.Context(), []pipeline.Unit{u}); err != nil || f[len(f)-1].Reason != ReadOnly {
		t.Errorf("check: %+v, %v", f, err)
	}
	var st fs.FileInfo
	if st, err = os.Stat(filepath.Join(dir, "uploads/b")); err != nil || st.Size() != 2<<20 {
		t.Errorf("%v, %v", st, err)
	}
}

// BenchmarkWrite writes batches of 256 files of 20 kB.
func BenchmarkWrite(b *testing.B) {
	s := open(b, Config{Mount: b.TempDir()})
	text := strings.Repeat("0123456789", 2000)
	b.SetBytes(256 * int64(len(text)))
	for n := 0; b.Loop(); n++ {
		var list []*pipeline.Object
		for i := range 256 {
			list = append(list, object(fmt.Sprintf("uploads/%d-%d", n, i), text))
		}
		write(b, s, batch("uploads", list...))
	}
}
