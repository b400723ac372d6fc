//go:build linux

package files

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

// tree makes a DATA_DIR of the given files (name → content).
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		put(t, filepath.Join(dir, name), text)
	}
	return dir
}

func put(t testing.TB, at, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, cfg Config) *Source {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sample has names that sort, nest and read badly, a link, an empty file, and
// names that are refused.
func sample(t testing.TB) (dir string, want []pipetest.Expected[*pipeline.Object]) {
	files := map[string]string{
		"uploads/a b%20c+d&e#f.md": "1", "uploads/naïve café (1).txt": "2", "uploads/年度报告.txt": "3", "uploads/emoji 🚀.md": "4",
		"uploads/sub.txt": "5", "uploads/sub/x": "6", "uploads/sub/deep/y": "7", "uploads/sub-z": "8", "uploads/tab\tnew\nline": "9",
		`uploads/back\slash`: "10", "uploads/empty": "", "uploads/" + strings.Repeat("n", 255): "11", "uploads/.hidden": "12", "uploads/100%": "13",
		"cache/audio/speech/1.mp3": "mp3", "cache/audio/speech/1.json": "{}", "cache/image/generations/i.png": strings.Repeat("png", 99999),
		"cache/functions/f/x": "f", "extra/one": "e", "l.data": "licence", "webui.db": "db", "vector_db/chroma.sqlite3": "v", "cache/whisper/m": "w",
	}
	dir = tree(t, files)
	if err := os.Symlink("sub/x", filepath.Join(dir, "uploads/link")); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"out": "../webui.db", "dangling": "nothing", "dirlink": "sub"} {
		if err := os.Symlink(to, filepath.Join(dir, "uploads", name)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(dir, "uploads/bad\xff"), "x")
	put(t, filepath.Join(dir, "uploads", layout.PartialPrefix+"1"), "half")
	if err := syscall.Mkfifo(filepath.Join(dir, "uploads/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	files["uploads/link"] = "6"
	by := map[string][]*pipeline.Object{}
	for name, text := range files {
		for _, u := range append(layout.Units(), "extra", "l.data") {
			if name == u || strings.HasPrefix(name, u+"/") {
				by[u] = append(by[u], &pipeline.Object{Name: name, Bytes: int64(len(text)),
					Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }})
			}
		}
	}
	for u, list := range by {
		e := pipetest.Expected[*pipeline.Object]{Unit: pipeline.Unit{Lane: pipeline.Files, Name: u}, Records: list}
		if u == layout.Uploads {
			e.Refused = []string{`uploads/bad\xff`, "uploads/dangling", "uploads/dirlink", "uploads/out"}
		}
		want = append(want, e)
	}
	return dir, want
}

func TestConformance(t *testing.T) {
	dir, want := sample(t)
	for _, window := range []int{0, 1, 3} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Object]{
				Open: func(t testing.TB, l pipeline.Limits) pipeline.Source[*pipeline.Object] {
					return open(t, Config{Mount: dir, Limits: l, Window: window, Include: []string{"extra", "l.data"}})
				},
				Want: func(testing.TB) []pipetest.Expected[*pipeline.Object] { return want },
			})
		})
	}
}

// keys reads a part and gives the names.
func keys(t testing.TB, s *Source, p pipeline.Part) []string {
	t.Helper()
	var out []string
	for b, err := range s.Read(t.Context(), p, "") {
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range b.Records {
			out = append(out, o.Name)
		}
	}
	return out
}

func TestOrderAndSplit(t *testing.T) {
	files := map[string]string{}
	var want []string
	for i := range 300 {
		name := fmt.Sprintf("uploads/%03d", i)
		if i%7 == 0 {
			name += "/in/file"
		}
		files[name] = "x"
		want = append(want, name)
	}
	s := open(t, Config{Mount: tree(t, files), Window: 10, Limits: pipeline.Limits{Records: 7}})
	u := pipeline.Unit{Lane: pipeline.Files, Name: "uploads"}
	slices.SortFunc(want, compare)
	if got := keys(t, s, pipeline.Part{Unit: u}); !slices.Equal(got, want) {
		t.Fatalf("order: %q", got)
	}
	for _, n := range []int{1, 2, 5, 64} {
		parts, err := s.Split(t.Context(), u, n)
		if err != nil || len(parts) != min(n, maxParts) {
			t.Fatalf("%d parts, %v", len(parts), err)
		}
		var got []string
		for _, p := range parts {
			k := keys(t, s, p)
			if len(k) < 300/len(parts)/2 {
				t.Errorf("part %d of %d has %d files", p.N, len(parts), len(k))
			}
			got = append(got, k...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d parts give %d files in another order", n, len(got))
		}
	}
}

func TestInclude(t *testing.T) {
	dir, _ := sample(t)
	for _, name := range []string{"../x", "/etc", ".", "uploads", "uploads/sub", "cache", "webui.db", "vector_db", "vector_db/chroma.sqlite3", "nothing"} {
		if _, err := Open(t.Context(), Config{Mount: dir, Include: []string{name}}); pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(t.Context(), Config{Mount: dir, Include: []string{"extra", "extra/one"}}); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("twice: %v", err)
	}
	for _, at := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "l.data")} {
		if _, err := Open(t.Context(), Config{Mount: at}); pipeline.ExitCode(err) != pipeline.ExitEnvironment {
			t.Errorf("%s: %v", at, err)
		}
	}
}

func TestUploadsMayBeALink(t *testing.T) {
	other := tree(t, map[string]string{"a": "1", "sub/b": "2"})
	dir := t.TempDir()
	if err := os.Symlink(other, filepath.Join(dir, "uploads")); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Mount: dir})
	units, err := s.Units(t.Context())
	if err != nil || len(units) != 1 || units[0].Records != 2 || units[0].Bytes != 2 {
		t.Fatalf("units %+v, %v", units, err)
	}
	if got := keys(t, s, pipeline.Part{Unit: units[0]}); !slices.Equal(got, []string{"uploads/a", "uploads/sub/b"}) {
		t.Errorf("read %q", got)
	}
}

// The folder is the same afterwards, access times included (where this user
// may keep them).
func TestSourceIsNotTouched(t *testing.T) {
	dir, want := sample(t)
	before := state(t, dir)
	s := open(t, Config{Mount: dir, Hash: true})
	for _, e := range want {
		for b, err := range s.Read(t.Context(), pipeline.Part{Unit: e.Unit}, "") {
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range b.Records {
				if len(o.SHA256) != 64 {
					t.Errorf("%s has hash %q", o.Name, o.SHA256)
				}
			}
		}
	}
	if _, err := s.Check(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if after := state(t, dir); before != after {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func state(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(p)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintln(&b, p, st.Ino, st.Size, st.Mode, st.Mtim, st.Ctim)
		if info.Mode().IsRegular() {
			fmt.Fprintln(&b, st.Atim)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
