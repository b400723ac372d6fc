package localstate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir, pipeline.Files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	pipetest.TestJournal(t, func(t testing.TB, dir string) pipeline.Journal { return open(t, dir) })
}

var run = pipeline.Run{ID: "7f3a", Source: pipeline.Identity{Stable: "s", State: "1"}, Target: "t"}

var part = pipeline.Part{Unit: pipeline.Unit{Lane: pipeline.Files, Name: "uploads"}}

func TestForbidden(t *testing.T) {
	source := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(source, link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{source, source + "/x/y", link, link + "/state", source + "/../" + filepath.Base(source)} {
		if _, err := Open(t.Context(), dir, pipeline.Files, t.TempDir(), source); !errors.Is(err, ErrForbidden) || pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if list, _ := os.ReadDir(source); len(list) > 0 {
		t.Errorf("left in the source: %v", list)
	}
	if s, err := Open(t.Context(), source+"-state", pipeline.Files, source); err != nil {
		t.Errorf("a folder beside it: %v", err)
	} else {
		_ = s.Close()
	}
	if _, err := Open(t.Context(), filepath.Join(os.Args[0], "x"), pipeline.Files); pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("below a file: %v", err)
	}
}

// Only the owner reads the state, and lanes do not meet.
func TestModesAndLanes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?#%", "state")
	a := open(t, dir)
	b, err := Open(t.Context(), dir, pipeline.Vectors)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{a, b} {
		if res, err := s.Begin(t.Context(), run); err != nil || !res.Fresh {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	if err := a.Mark(t.Context(), "x", "1"); err != nil {
		t.Fatal(err)
	}
	if m, err := b.Marked(t.Context()); err != nil || len(m) > 0 {
		t.Errorf("the other lane has %v, %v", m, err)
	}
	_ = b.Close()
	n := 0
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		n++
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
		return err
	})
	if err != nil || n != 7 {
		t.Errorf("%d entries, %v", n, err)
	}
}

func TestVersionAndPeek(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if r, err := s.Peek(t.Context()); r != nil || err != nil {
		t.Errorf("before Begin: %+v, %v", r, err)
	}
	if _, err := s.Begin(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if r, err := open(t, dir).Peek(t.Context()); err != nil || *r != run {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := s.db.ExecContext(t.Context(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, pipeline.Files); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
	if err := os.WriteFile(filepath.Join(t.TempDir(), "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := t.TempDir()
	if err := os.MkdirAll(filepath.Join(damaged, "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged, "files", "state.db"), []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), damaged, pipeline.Files); pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" {
		t.Errorf("damaged: %v", err)
	}
}

// A process whose lock was lost may not go on once another has begun.
func TestFencedByEpoch(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	old, young := open(t, dir), open(t, dir)
	if _, err := old.Begin(ctx, run); err != nil {
		t.Fatal(err)
	}
	if err := old.Fix(ctx, part.Unit, []pipeline.Part{part}); err != nil {
		t.Fatal(err)
	}
	old.release()
	if res, err := young.Begin(ctx, run); err != nil || res.Epoch != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
	for op, err := range map[string]error{
		"Advance":    old.Advance(ctx, pipeline.Step{Part: part, Next: "1"}),
		"FinishPart": old.FinishPart(ctx, part), "Mark": old.Mark(ctx, "a", "b"), "Release": old.Release(ctx, "u", nil),
		"AddLines": old.AddLines(ctx, []pipeline.Refusal{{Unit: "u"}}, nil), "Fix": old.Fix(ctx, part.Unit, []pipeline.Part{part}),
	} {
		if !errors.Is(err, pipeline.ErrFenced) {
			t.Errorf("%s: %v, want ErrFenced", op, err)
		}
	}
	if err := young.Advance(ctx, pipeline.Step{Part: part, Next: "1"}); err != nil {
		t.Error(err)
	}
}

// TestMain plays the child that writes until it is killed: it tells of every
// step once Advance has returned.
func TestMain(m *testing.M) {
	dir := os.Getenv("LOCALSTATE_TEST_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	ctx := context.Background()
	s, err := Open(ctx, dir, pipeline.Files)
	if err == nil {
		_, err = s.Begin(ctx, run)
	}
	if err == nil {
		err = s.Fix(ctx, part.Unit, []pipeline.Part{part})
	}
	var parts []pipeline.Progress
	if err == nil {
		parts, err = s.Parts(ctx, part.Unit)
	}
	at, n := pipeline.Cursor(""), 0
	if err == nil && parts[0].At != "" {
		at = parts[0].At
		n, err = strconv.Atoi(string(at))
	}
	for err == nil {
		n++
		step := pipeline.Step{Part: part, Prev: at, Next: pipeline.Cursor(strconv.Itoa(n)), Written: 1,
			Refused: []pipeline.Refusal{{Unit: part.Unit.ID(), Key: strconv.Itoa(n), Reason: pipeline.Orphan}},
			Changed: []pipeline.Change{{Unit: part.Unit.ID(), Key: strconv.Itoa(n), Reason: pipeline.PathRewritten}}}
		if err = s.Advance(ctx, step); err == nil {
			fmt.Println(n)
		}
		at = step.Next
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestKilled(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	times := 15
	if testing.Short() {
		times = 4
	}
	last := 0
	for i := range times {
		c := exec.CommandContext(ctx, os.Args[0])
		c.Env = append(os.Environ(), "LOCALSTATE_TEST_DIR="+dir)
		var failed strings.Builder
		c.Stderr = &failed
		told, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// It has done some steps, and is in the middle of one.
		lines := bufio.NewScanner(told)
		for range 2 + i {
			if !lines.Scan() {
				_ = c.Wait()
				t.Fatalf("it ended: %s", failed.String())
			}
			last, _ = strconv.Atoi(lines.Text())
		}
		other := open(t, dir)
		if _, err := other.Begin(ctx, run); !errors.Is(err, pipeline.ErrLocked) {
			t.Errorf("beside a working process: %v", err)
		}
		_ = other.Close()
		time.Sleep(time.Duration(i) * 300 * time.Microsecond)
		_ = c.Process.Kill()
		for lines.Scan() {
			last, _ = strconv.Atoi(lines.Text())
		}
		_ = c.Wait()
		if failed.Len() > 0 {
			t.Fatal(failed.String())
		}
		s := open(t, dir)
		res, err := s.Begin(ctx, run)
		if err != nil {
			t.Fatalf("after kill %d: %v", i, err)
		}
		parts, err := s.Parts(ctx, part.Unit)
		if err != nil {
			t.Fatal(err)
		}
		if len(parts) == 0 {
			_ = s.Close()
			continue
		}
		at, _ := strconv.Atoi(string(parts[0].At))
		refused, changed, err := s.Tallies(ctx)
		if err != nil {
			t.Fatal(err)
		}
		// What was told is there; what is there is there with its lines.
		if at < last || at > last+1 || parts[0].Written != int64(at) || parts[0].Refused != int64(at) ||
			at > 0 && (refused[0].Count != int64(at) || changed[0].Count != int64(at)) || res.Fresh {
			t.Fatalf("after kill %d: told %d, cursor %d, %+v %+v %+v", i, last, at, parts[0], refused, changed)
		}
		last = at
		_ = s.Close()
	}
	if last < 20 {
		t.Errorf("only %d steps: nothing was tested", last)
	}
	t.Logf("%d kills, %d steps", times, last)
}

func BenchmarkAdvance(b *testing.B) {
	s := open(b, b.TempDir())
	ctx := b.Context()
	if _, err := s.Begin(ctx, run); err != nil {
		b.Fatal(err)
	}
	if err := s.Fix(ctx, part.Unit, []pipeline.Part{part}); err != nil {
		b.Fatal(err)
	}
	at := pipeline.Cursor("")
	for i := 0; b.Loop(); i++ {
		next := pipeline.Cursor(strconv.Itoa(i))
		if err := s.Advance(ctx, pipeline.Step{Part: part, Prev: at, Next: next}); err != nil {
			b.Fatal(err)
		}
		at = next
	}
}

// A process that was stopped within a transaction is another outgrow at work, not
// damage.
func TestStoppedWithinATransaction(t *testing.T) {
	dir := t.TempDir()
	mine := open(t, dir)
	if _, err := mine.Begin(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	other, err := openWithin(t.Context(), 10*time.Millisecond, dir, pipeline.Files)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := mine.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	if _, err := tx.ExecContext(t.Context(), "BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	_, opening := openWithin(t.Context(), 10*time.Millisecond, dir, pipeline.Files)
	_, reading := other.Peek(t.Context())
	for name, err := range map[string]error{"opening": opening, "reading": reading} {
		if !errors.Is(err, pipeline.ErrLocked) || pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" {
			t.Errorf("%s: %v (exit %d, hint %q)", name, err, pipeline.ExitCode(err), pipeline.HintOf(err))
		}
	}
	if _, err := tx.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if got, err := other.Peek(t.Context()); err != nil || got == nil || got.ID != run.ID {
		t.Errorf("afterwards: %v, %v", got, err)
	}
}
