//go:build linux

package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

func TestCheck(t *testing.T) {
	dir, _ := sample(t)
	for i := range 60 {
		put(t, filepath.Join(dir, "uploads", fmt.Sprintf("zero%03d", i)), "")
	}
	s := open(t, Config{Mount: dir, Include: []string{"extra"}})
	units, err := s.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.Check(t.Context(), units)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, f := range list {
		got[fmt.Sprint(f.Severity, " ", f.Reason)] += f.Count
		if f.Text == "" || f.Severity == pipeline.Accept && f.Fix == "" {
			t.Errorf("a finding without a text or a fix: %+v", f)
		}
	}
	want := map[string]int64{"accept invalid": 1, "accept unreadable": 3, "warn special-file": 1, "note link": 1,
		"note empty-file": 1 + 60, "note not-moved": 2}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v\n%+v", got, want, list)
	}
	if len(list) > 62 {
		t.Errorf("%d findings", len(list))
	}
}

// An ordinary user meets files that he may not read.
func TestUnreadable(t *testing.T) {
	if servers.Unprivileged(t) { // root reads everything
		return
	}
	dir := tree(t, map[string]string{"uploads/a": "1", "uploads/b": "2", "uploads/d/c": "3"})
	for name, mode := range map[string]os.FileMode{"uploads/b": 0, "uploads/d": 0} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, name), 0o700) })
	}
	s := open(t, Config{Mount: dir})
	u := pipeline.Unit{Lane: pipeline.Files, Name: "uploads"}
	var refused []string
	for b, err := range s.Read(t.Context(), pipeline.Part{Unit: u}, "") {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range b.Refused {
			refused = append(refused, r.Key+" "+string(r.Reason))
		}
	}
	if !slices.Equal(refused, []string{"uploads/b unreadable", "uploads/d unreadable"}) {
		t.Errorf("refused %q", refused)
	}
}

// A file that grows, shrinks or is touched while it is read must be read again.
func TestChangedWhileRead(t *testing.T) {
	dir := tree(t, map[string]string{"uploads/a": strings.Repeat("x", 1000)})
	at := filepath.Join(dir, "uploads/a")
	s := open(t, Config{Mount: dir})
	u := pipeline.Unit{Lane: pipeline.Files, Name: "uploads"}
	for name, change := range map[string]func() error{
		"touch":    func() error { return os.Chtimes(at, time.Time{}, time.Unix(1, 0)) },
		"truncate": func() error { return os.Truncate(at, 500) },
		"grow":     func() error { return os.Truncate(at, 5000) },
	} {
		got, err := s.Get(t.Context(), u, []string{"uploads/a"})
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		o := got["uploads/a"]
		r, err := o.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, r)
		if !errors.Is(err, ErrChanged) || !pipeline.IsRetryable(err) {
			t.Errorf("%s: %v", name, err)
		}
		_ = r.Close()
		if _, err := Hash(t.Context(), o); err != nil {
			t.Errorf("%s: reading again: %v", name, err)
		}
	}
}

func TestEqual(t *testing.T) {
	a := open(t, Config{Mount: tree(t, map[string]string{"uploads/same": "x", "uploads/longer": "x", "uploads/other": "x"})})
	b := open(t, Config{Mount: tree(t, map[string]string{"uploads/same": "x", "uploads/longer": "xy", "uploads/other": "y"})})
	u := pipeline.Unit{Lane: pipeline.Files, Name: "uploads"}
	all := []string{"uploads/same", "uploads/longer", "uploads/other", "uploads/none", "../etc/passwd", "uploads/../uploads/same"}
	want, err := a.Get(t.Context(), u, all)
	if err != nil || len(want) != 3 {
		t.Fatal(want, err)
	}
	got, err := b.Get(t.Context(), u, all)
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	for key, n := range map[string]int{"uploads/same": 0, "uploads/longer": 1, "uploads/other": 1} {
		fields, err := Equal(t.Context(), u, want[key], got[key])
		if err != nil || len(fields) != n {
			t.Errorf("%s: %+v, %v", key, fields, err)
		}
	}
}

func TestIdentity(t *testing.T) {
	dir := tree(t, map[string]string{"uploads/a": "1", "cache/audio/b": "2"})
	id := func() pipeline.Identity {
		i, err := open(t, Config{Mount: dir}).Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	first := id()
	if id() != first || first.Stable == "" || strings.Contains(first.Stable+first.State, dir) {
		t.Fatalf("identity %+v", first)
	}
	put(t, filepath.Join(dir, "webui.db"), "elsewhere")
	if id() != first {
		t.Error("an entry that is not moved changes the state")
	}
	put(t, filepath.Join(dir, "uploads/c"), "3")
	second := id()
	if second.State == first.State || second.Stable != first.Stable {
		t.Errorf("a new file: %+v after %+v", second, first)
	}
	if err := os.Chtimes(filepath.Join(dir, "uploads/a"), time.Time{}, time.Unix(5, 0)); err != nil {
		t.Fatal(err)
	}
	if id().State == second.State {
		t.Error("a touched file is not seen")
	}
}

func rows(list ...FileRow) iter.Seq2[FileRow, error] {
	return func(yield func(FileRow, error) bool) {
		for _, r := range list {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func TestCrossCheck(t *testing.T) {
	dir := tree(t, map[string]string{"uploads/1_a.txt": "abc", "uploads/2_b.txt": "abc", "uploads/3_c.txt": "abc", "uploads/marker_output/x": "1"})
	cross, err := CrossCheck(t.Context(), dir, rows(
		FileRow{ID: "1", Path: "/app/backend/data/uploads/1_a.txt", Size: 3},
		FileRow{ID: "2", Path: `C:\data\uploads\2_b.txt`, Size: 4},
		FileRow{ID: "4", Path: "s3://bucket/pre/4_d.txt", Created: time.Now().Add(time.Hour)},
		FileRow{ID: "5"}, FileRow{ID: "6", Path: "/etc/hostname"}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range cross.Findings {
		got = append(got, fmt.Sprint(f.Severity, " ", f.Reason, " ", f.Key))
	}
	want := []string{"note size 2", "warn missing-file 4", "warn missing-file 6", "note no-row uploads/3_c.txt", "note no-row uploads/marker_output/x"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if cross.Missing != 2 || cross.Strays != 2 || time.Since(cross.Newest) > time.Hour {
		t.Errorf("counted %d missing, %d strays, newest %v", cross.Missing, cross.Strays, cross.Newest)
	}
	if n, m := cross.MissingAfter(cross.Newest), cross.StraysAfter(cross.Newest.Add(-time.Hour)); n != 1 || m != 2 {
		t.Errorf("%d missing after the newest upload, %d strays of the last hour", n, m)
	}
	cross, err = CrossCheck(t.Context(), t.TempDir(), rows(FileRow{ID: "1", Path: "uploads/a"}))
	if err != nil || len(cross.Findings) != 1 || cross.Findings[0].Reason != pipeline.MissingFile || !cross.Newest.IsZero() {
		t.Errorf("without uploads: %+v, %v", cross, err)
	}
	boom := errors.New("boom")
	if _, err := CrossCheck(t.Context(), dir, func(yield func(FileRow, error) bool) { yield(FileRow{}, boom) }); !errors.Is(err, boom) {
		t.Errorf("a reader's error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := CrossCheck(ctx, dir, rows(FileRow{ID: "1", Path: "uploads/a"})); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
