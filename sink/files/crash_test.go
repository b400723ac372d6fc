//go:build linux

package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
)

// crashText is the content of the i-th file of the crash tests.
func crashText(i int) string { return strings.Repeat(fmt.Sprintf("file %d\n", i), 20_000+1000*i) }

// TestMain plays the child of the crash tests: it writes files and, at the step
// that it is told, kills itself.
func TestMain(m *testing.M) {
	dir := os.Getenv("CRASH_TEST_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := Open(context.Background(), Config{Mount: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	step := os.Getenv("CRASH_TEST_STEP")
	s.before = func(at, name string) {
		if at == step && strings.HasSuffix(name, "/3") {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	var list []*pipeline.Object
	for i := range 20 {
		list = append(list, object(fmt.Sprintf("uploads/d/%d", i), crashText(i)))
	}
	for {
		if err := s.Prepare(context.Background(), unit("uploads")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		if _, err := s.Write(context.Background(), batch("uploads", list...)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		_ = os.RemoveAll(filepath.Join(dir, "uploads"))
	}
}

// whole checks that every file that has its name has all of its content.
func whole(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	for i := range 20 {
		body, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("uploads/d/%d", i)))
		if os.IsNotExist(err) {
			continue
		}
		n++
		if err != nil || sum(string(body)) != sum(crashText(i)) {
			t.Errorf("file %d: %d bytes of %d, %v", i, len(body), len(crashText(i)), err)
		}
	}
	return n
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func child(t *testing.T, dir, step string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0]) //nolint:noctx // it is killed
	c.Env = append(os.Environ(), "CRASH_TEST_DIR="+dir, "CRASH_TEST_STEP="+step)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// resumes runs the same batch again and expects all of it, and nothing else.
func resumes(t *testing.T, dir string) {
	t.Helper()
	s := open(t, Config{Mount: dir})
	if err := s.Prepare(t.Context(), unit("uploads")); err != nil {
		t.Fatal(err)
	}
	if l := leftovers(t, dir); len(l) > 0 {
		t.Errorf("Prepare left %q", l)
	}
	var list []*pipeline.Object
	for i := range 20 {
		list = append(list, object(fmt.Sprintf("uploads/d/%d", i), crashText(i)))
	}
	if out := write(t, s, batch("uploads", list...)); out.Written != 20 || len(out.Refused) > 0 || whole(t, dir) != 20 {
		t.Errorf("resumed: %+v", out)
	}
}

func TestKilledAtEveryStep(t *testing.T) {
	for step, final := range map[string]bool{"create": false, "filled": false, "rename": false, "renamed": true} {
		dir := t.TempDir()
		c := child(t, dir, step)
		if err := c.Wait(); err == nil || c.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%s: the child ended with %v", step, err)
		}
		whole(t, dir)
		_, err := os.Stat(filepath.Join(dir, "uploads/d/3"))
		if (err == nil) != final {
			t.Errorf("killed at %s: the file is there: %v", step, err == nil)
		}
		if l := leftovers(t, dir); step != "create" && step != "renamed" && len(l) == 0 {
			t.Errorf("killed at %s: no unfinished file, so nothing was tested", step)
		}
		resumes(t, dir)
	}
}

func TestKilledAtRandom(t *testing.T) {
	n := 20
	if testing.Short() {
		n = 5
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range n {
		dir := t.TempDir()
		c := child(t, dir, "")
		time.Sleep(time.Duration(5+random.IntN(150)) * time.Millisecond)
		_ = c.Process.Kill()
		_ = c.Wait()
		whole(t, dir)
		resumes(t, dir)
	}
}

// Prepare removes only what outgrow itself has left.
func TestPrepareKeepsOthers(t *testing.T) {
	dir := t.TempDir()
	keep := []string{"uploads/.hidden", "uploads/a.outgrow-partial-1", "uploads/.outgrow", "cache/" + layout.PartialPrefix + "other-unit",
		"cache/" + layout.PartialPrefix + "webui.db", "cache/" + layout.PartialPrefix + "webui.db-wal"}
	for _, n := range append(keep, "uploads/"+layout.PartialPrefix+"0-1", "uploads/d/"+layout.PartialPrefix+"0-2") {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(n)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, n), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, Config{Mount: dir})
	mine := filepath.Join(dir, "uploads", layout.PartialPrefix+s.run+"-1")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Prepare(t.Context(), unit("uploads")); err != nil {
			t.Fatal(err)
		}
	}
	// A folder that is not there yet: what lies beside its place is looked at.
	if err := s.Prepare(t.Context(), unit("cache/image")); err != nil {
		t.Fatal(err)
	}
	for _, n := range keep {
		if _, err := os.Stat(filepath.Join(dir, n)); err != nil {
			t.Error(err)
		}
	}
	if l := leftovers(t, filepath.Join(dir, "uploads")); len(l) != 1 || l[0] != mine {
		t.Errorf("left: %q", l)
	}
}
