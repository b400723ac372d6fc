//go:build linux

package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	source "outgrow/source/files"
	"outgrow/testdata/servers"
)

var when = time.Date(2024, 2, 29, 12, 34, 56, 789_000_000, time.UTC)

func object(name, text string) *pipeline.Object {
	return &pipeline.Object{Name: name, Bytes: int64(len(text)), ModTime: when,
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}

func unit(name string) pipeline.Unit { return pipeline.Unit{Lane: pipeline.Files, Name: name} }

func batch(u string, objects ...*pipeline.Object) pipeline.Batch[*pipeline.Object] {
	return pipeline.Batch[*pipeline.Object]{Part: pipeline.Part{Unit: unit(u)}, Next: "n", Records: objects, Read: len(objects)}
}

func open(t testing.TB, cfg Config) *Sink {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func write(t testing.TB, s *Sink, b pipeline.Batch[*pipeline.Object]) pipeline.Outcome {
	t.Helper()
	out, err := s.Write(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestConformance(t *testing.T) {
	pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Object]{
		Open: func(t testing.TB, target string) (pipeline.Sink[*pipeline.Object], pipeline.Journal) {
			return open(t, Config{Mount: target}), nil
		},
		Records: func(testing.TB) []pipetest.Expected[*pipeline.Object] {
			up := pipetest.Expected[*pipeline.Object]{Unit: unit("uploads")}
			for i := range 25 {
				up.Records = append(up.Records, object(fmt.Sprintf("uploads/%02d_naïve café (%d).txt", i, i), strings.Repeat("x", i*i*100)))
			}
			up.Records = append(up.Records, object("uploads/sub/deep/"+strings.Repeat("n", 255), "1"), object("uploads/a\nb%20\\c", "2"))
			return []pipetest.Expected[*pipeline.Object]{up, {Unit: unit("cache/audio"), Records: []*pipeline.Object{object("cache/audio/speech/1.mp3", "mp3"), object("cache/audio/speech/2.mp3", "")}}}
		},
		Bad: func(testing.TB) []pipetest.Expected[*pipeline.Object] {
			return []pipetest.Expected[*pipeline.Object]{{Unit: unit("uploads"), Records: []*pipeline.Object{
				object("uploads/../webui.db", "1"), object("cache/audio/x", "2"), object("/etc/passwd", "3"), object("uploads/"+strings.Repeat("n", 256), "4")}}}
		},
		Change: func(o *pipeline.Object) *pipeline.Object { return object(o.Name, "changed") },
		ReadBack: func(t testing.TB, target string) pipeline.Source[*pipeline.Object] {
			s, err := source.Open(t.Context(), source.Config{Mount: target})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	})
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, fs.ModeSetgid|0o775); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Mount: dir})
	out := write(t, s, batch("uploads", object("uploads/a.txt", "hello"), object("uploads/empty", ""), object("uploads/d/b", "x")))
	if out.Written != 3 || len(out.Refused)+len(out.Changed) > 0 {
		t.Errorf("outcome %+v", out)
	}
	at := filepath.Join(dir, "uploads/a.txt")
	info, err := os.Stat(at)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := os.ReadFile(at)
	if string(body) != "hello" || !info.ModTime().Equal(when) || info.Mode() != 0o664 {
		t.Errorf("%q, %v, %v", body, info.ModTime(), info.Mode())
	}
	if d, err := os.Stat(filepath.Join(dir, "uploads/d")); err != nil || d.Mode().Perm() != 0o775 || d.Mode()&fs.ModeSetgid == 0 {
		t.Errorf("folder %v, %v", d.Mode(), err)
	}
	// Again: left alone.
	before := info.Sys().(*syscall.Stat_t)
	if out := write(t, s, batch("uploads", object("uploads/a.txt", "hello"))); out.Written != 1 || len(out.Refused) > 0 {
		t.Errorf("again: %+v", out)
	}
	info, _ = os.Stat(at)
	if now := info.Sys().(*syscall.Stat_t); now.Ino != before.Ino || now.Ctim != before.Ctim {
		t.Error("an identical file was touched")
	}
	if l := leftovers(t, dir); len(l) > 0 {
		t.Errorf("left: %q", l)
	}
}

// leftovers lists unfinished files.
func leftovers(t testing.TB, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), layout.PartialPrefix) {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A file that differs is never overwritten unless that is asked for.
// A folder without a file of its own is vacant, whatever a killed run has left there.
func TestVacant(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Config{Mount: dir})
	for _, step := range []struct {
		path   string
		vacant bool
	}{{"", true}, {"uploads/", true}, {"uploads/" + layout.PartialPrefix + "1", true}, {"cache/other", true}, {"uploads/below/", true}, {"uploads/below/file", false}} {
		name := filepath.Join(dir, step.path)
		if strings.HasSuffix(step.path, "/") {
			if err := os.Mkdir(name, 0o700); err != nil {
				t.Fatal(err)
			}
		} else if step.path != "" {
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if vacant, err := s.Vacant(t.Context(), unit("uploads")); err != nil || vacant != step.vacant {
			t.Errorf("with %q vacant: %v, %v", step.path, vacant, err)
		}
	}
}

func TestTaken(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Mount: dir})
	write(t, s, batch("uploads", object("uploads/a", "theirs"), object("uploads/d/x", "1")))
	if err := os.Symlink("a", filepath.Join(dir, "uploads/l")); err != nil {
		t.Fatal(err)
	}
	clash := []*pipeline.Object{object("uploads/a", "ours!!"), object("uploads/d", "a file where a folder is"), object("uploads/l", "theirs"), object("uploads/free", "1")}
	out := write(t, s, batch("uploads", clash...))
	if out.Written != 1 || len(out.Refused) != 3 {
		t.Fatalf("outcome %+v", out)
	}
	for _, r := range out.Refused {
		if r.Reason != pipeline.Duplicate || !bytes.Contains(r.Record, []byte(r.Key)) {
			t.Errorf("refusal %+v", r)
		}
	}
	if body, _ := os.ReadFile(filepath.Join(dir, "uploads/a")); string(body) != "theirs" {
		t.Errorf("overwritten with %q", body)
	}
	s = open(t, Config{Mount: dir, Replace: true})
	out = write(t, s, batch("uploads", clash[:2]...))
	if body, _ := os.ReadFile(filepath.Join(dir, "uploads/a")); string(body) != "ours!!" || out.Written != 1 || len(out.Refused) != 1 {
		t.Errorf("replacing: %q, %+v", body, out)
	}
}

// A file becomes a folder of files, and a folder a file: what was there before has
// to go first, and that is told as for any name that is taken.
func TestFolderForFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Mount: dir})
	u := pipeline.Unit{Lane: pipeline.Files, Name: "uploads"}
	turn := func(old, next string) {
		t.Helper()
		write(t, s, batch("uploads", object(old, "1")))
		if out := write(t, s, batch("uploads", object(next, "2"))); out.Written != 0 || len(out.Refused) != 1 || out.Refused[0].Reason != pipeline.Duplicate {
			t.Errorf("%s beside %s: %+v", next, old, out)
		}
		if err := s.Delete(t.Context(), u, []string{next, old}); err != nil {
			t.Fatal(err)
		}
		if out := write(t, s, batch("uploads", object(next, "2"))); out.Written != 1 {
			t.Errorf("%s after %s: %+v", next, old, out)
		}
	}
	turn("uploads/a", "uploads/a/in")
	turn("uploads/b", "uploads/b/c/in")
	turn("uploads/d/in", "uploads/d")
}

// Two sinks race for one name with different content: one wins, whole.
func TestRaceForOneName(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		name := fmt.Sprintf("uploads/%d", i)
		outs := make([]pipeline.Outcome, 2)
		var wg sync.WaitGroup
		for n := range outs {
			s := open(t, Config{Mount: dir})
			wg.Go(func() {
				outs[n], _ = s.Write(t.Context(), batch("uploads", object(name, strings.Repeat(fmt.Sprint(n), 5000))))
			})
		}
		wg.Wait()
		body, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || outs[0].Written+outs[1].Written != 1 || len(outs[0].Refused)+len(outs[1].Refused) != 1 {
			t.Fatalf("%+v, %v", outs, err)
		}
		winner := fmt.Sprint(outs[1].Written)
		if string(body) != strings.Repeat(winner, 5000) {
			t.Fatalf("%d bytes, not all of writer %s", len(body), winner)
		}
	}
}

func TestSourceFailures(t *testing.T) {
	s := open(t, Config{Mount: t.TempDir()})
	failing := func(name string, open error, read error) *pipeline.Object {
		return &pipeline.Object{Name: name, Open: func(context.Context) (io.ReadCloser, error) {
			if open != nil {
				return nil, open
			}
			return io.NopCloser(io.MultiReader(strings.NewReader("half"), errReader{read})), nil
		}}
	}
	out := write(t, s, batch("uploads", failing("uploads/denied", fs.ErrPermission, nil), failing("uploads/gone", fs.ErrNotExist, nil),
		failing("uploads/broken", nil, syscall.EIO), object("uploads/good", "1")))
	if out.Written != 1 || len(out.Refused) != 2 || len(out.Changed) != 1 || out.Changed[0].Reason != Vanished {
		t.Errorf("outcome %+v", out)
	}
	for _, r := range out.Refused {
		if r.Reason != pipeline.Unreadable {
			t.Errorf("refusal %+v", r)
		}
	}
	_, err := s.Write(t.Context(), batch("uploads", failing("uploads/changing", nil, pipeline.Transient(source.ErrChanged))))
	if !errors.Is(err, source.ErrChanged) || !pipeline.IsRetryable(err) {
		t.Errorf("a changing file: %v", err)
	}
	wrong := object("uploads/wrong", "1")
	wrong.SHA256 = strings.Repeat("0", 64)
	if _, err := s.Write(t.Context(), batch("uploads", wrong)); !errors.Is(err, errDigest) {
		t.Errorf("another digest: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Write(ctx, batch("uploads", object("uploads/c", "1"))); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, name := range []string{"denied", "gone", "broken", "changing", "wrong", "c"} {
		if _, err := os.Lstat(filepath.Join(s.cfg.Mount, "uploads", name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
	if l := leftovers(t, s.cfg.Mount); len(l) > 0 {
		t.Errorf("left: %q", l)
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestOwner(t *testing.T) {
	if os.Getuid() != 0 {
		servers.Skip(t, "only root may give files away")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 1234, 2345); err != nil {
		t.Fatal(err)
	}
	for cfg, want := range map[string][2]int{"": {1234, 2345}, "77:88": {77, 88}, "99": {99, 2345}, ":66": {1234, 66}, "root:root": {0, 0}} {
		s := open(t, Config{Mount: dir, Owner: cfg})
		name := "uploads/sub" + strings.ReplaceAll(cfg, ":", "-") + "/f"
		write(t, s, batch("uploads", object(name, cfg)))
		for _, n := range []string{name, filepath.Dir(name)} {
			info, err := os.Stat(filepath.Join(dir, n))
			if err != nil {
				t.Fatal(err)
			}
			if uid, gid := ids(info); uid != want[0] || gid != want[1] {
				t.Errorf("%q: %s belongs to %d:%d", cfg, n, uid, gid)
			}
		}
	}
	if _, err := Open(t.Context(), Config{Mount: dir, Owner: "no-such-user-here"}); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("unknown owner: %v", err)
	}
}

// An ordinary user cannot give files away: told once, not fatal.
func TestOwnerRefused(t *testing.T) {
	if servers.Unprivileged(t) { // root may give files away
		return
	}
	s := open(t, Config{Mount: t.TempDir(), Owner: "0:0"})
	out := write(t, s, batch("uploads", object("uploads/a", "1"), object("uploads/b", "2")))
	out.Add(write(t, s, batch("uploads", object("uploads/c", "3"))))
	if out.Written != 3 || len(out.Changed) != 1 || out.Changed[0].Reason != OwnerKept {
		t.Errorf("outcome %+v", out)
	}
}

func TestTargetFailures(t *testing.T) {
	dir := t.TempDir()
	for _, at := range []string{filepath.Join(dir, "none"), os.Args[0]} {
		if _, err := Open(t.Context(), Config{Mount: at}); pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" {
			t.Errorf("%s: %v", at, err)
		}
	}
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EACCES} {
		err := classify("writing", &fs.PathError{Op: "write", Path: "x", Err: e})
		if pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" || pipeline.IsRetryable(err) {
			t.Errorf("%v: %v", e, err)
		}
	}
	if !pipeline.IsRetryable(classify("writing", syscall.ESTALE)) {
		t.Error("a stale handle is not retried")
	}
}

func TestCheckAndSameFolder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Mount: dir})
	u := unit("uploads")
	u.Records, u.Bytes = 3, 1000
	list, err := s.Check(t.Context(), []pipeline.Unit{u, {Lane: pipeline.Rows, Name: "chat"}})
	if err != nil || len(list) > 0 {
		t.Errorf("an empty target: %+v, %v", list, err)
	}
	write(t, s, batch("uploads", object("uploads/a", "123"), object("uploads/d/b", "45")))
	u.Bytes = 1 << 60
	list, err = s.Check(t.Context(), []pipeline.Unit{u})
	if err != nil || len(list) != 2 || list[0].Reason != InUse || list[0].Count != 2 || list[1].Reason != NoSpace || list[1].Severity != pipeline.Refuse {
		t.Errorf("in use and too small: %+v, %v", list, err)
	}
	link := filepath.Join(t.TempDir(), "l")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]bool{dir: true, link: true, dir + "/uploads/..": true, filepath.Dir(dir): false} {
		if same, err := SameFolder(dir, to); err != nil || same != want {
			t.Errorf("%s: %v, %v", to, same, err)
		}
	}
	if _, err := SameFolder(dir, dir+"/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
}
