package digests

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"outgrow/pipeline"
)

func opened(t *testing.T, dir, run string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir, run, "rules")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sum(n byte) pipeline.Sum { return pipeline.Sum{n, 1, 2} }

func unseen(t *testing.T, s *Store, unit string) (keys []string) {
	t.Helper()
	for page, err := range s.Unseen(t.Context(), unit) {
		must(t, err)
		keys = append(keys, page...)
	}
	return keys
}

// What is kept is there in the next process, and known to be seen or not.
func TestKeepsAndSees(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	s := opened(t, dir, "a")
	if s.Lost() != nil {
		t.Errorf("nothing was there to be lost: %v", s.Lost())
	}
	entries := map[string]pipeline.Known{"": {Sum: sum(9)}, "odd \x00\x1f\xff": {Sum: sum(8), Refused: true}}
	for i := range 12_000 { // more than a page, and more than one lookup
		entries[fmt.Sprintf("key %05d", i)] = pipeline.Known{Sum: sum(byte(i))}
	}
	must(t, s.Keep(ctx, "rows/chat", maps.All(entries)))
	must(t, s.Complete(ctx, "rows/chat"))
	must(t, s.Close())

	s = opened(t, dir, "a")
	if whole, err := s.Completed(ctx, "rows/chat"); err != nil || !whole || !slices.Equal(s.Units(), []string{"rows/chat"}) {
		t.Errorf("units %v, whole %v, %v", s.Units(), whole, err)
	}
	s.Pass()
	var keys []string
	for k := range entries {
		if k != "" && k != "key 00007" {
			keys = append(keys, k)
		}
	}
	got, err := s.Look(ctx, "rows/chat", append(keys, "nobody"))
	must(t, err)
	for _, k := range keys {
		if got[k] != entries[k] {
			t.Fatalf("%q is known as %+v, want %+v", k, got[k], entries[k])
		}
	}
	if len(got) != len(keys) {
		t.Errorf("%d keys are known of %d", len(got), len(keys))
	}
	if left := unseen(t, s, "rows/chat"); !slices.Equal(left, []string{"", "key 00007"}) {
		t.Errorf("not seen: %q", left)
	}
	if held, n, err := s.Count(ctx, "rows/chat"); err != nil || held != int64(len(entries)-1) || n != 2 {
		t.Errorf("%d held, %d not seen, %v", held, n, err)
	}
	must(t, s.Refuse(ctx, "rows/chat", []string{"key 00001"}))
	must(t, s.Forget(ctx, "rows/chat", []string{"", "nobody"}))
	must(t, s.Keep(ctx, "rows/chat", maps.All(map[string]pipeline.Known{"new": {Sum: sum(1)}})))
	if held, _, err := s.Count(ctx, "rows/chat"); err != nil || held != int64(len(entries)-2) {
		t.Errorf("%d held, %v", held, err)
	}
	must(t, s.Drop(ctx, "rows/chat"))
	if got, err := s.Look(ctx, "rows/chat", keys); err != nil || len(got) > 0 || len(s.Units()) > 0 {
		t.Errorf("%d keys of a dropped unit are known, %v", len(got), err)
	}
}

// Digests of another run, or in a file that is none, are not believed.
func TestForgetsWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, spoil := range map[string]func(string){
		"another run": func(string) {},
		"another version": func(file string) {
			b, err := os.ReadFile(file)
			must(t, err)
			must(t, os.WriteFile(file, bytes.Replace(b, []byte(magic), []byte("outgrow digests 9\n"), 1), 0o600))
		},
		"damaged": func(file string) {
			must(t, os.WriteFile(file, []byte("not a database, but long enough to be read as one"), 0o600))
		},
	} {
		dir := t.TempDir()
		s := opened(t, dir, "a")
		must(t, s.Keep(ctx, "rows/chat", maps.All(map[string]pipeline.Known{"k": {Sum: sum(1)}})))
		must(t, s.Close())
		spoil(filepath.Join(dir, "digests.db"))
		run := "a"
		if name == "another run" {
			run = "b"
		}
		if s = opened(t, dir, run); s.Lost() == nil {
			t.Errorf("%s: nothing is said of it", name)
		}
		if got, err := s.Look(ctx, "rows/chat", []string{"k"}); err != nil || len(got) > 0 {
			t.Errorf("%s: %v is believed, %v", name, got, err)
		}
		must(t, s.Flush(context.WithoutCancel(ctx)))
		must(t, s.Keep(ctx, "rows/chat", maps.All(map[string]pipeline.Known{"k": {Sum: sum(2)}})))
	}
}

// A store that was opened before the lock was taken is only of use while nobody
// else has written.
func TestCurrent(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	is := func(s *Store, want bool, when string) {
		t.Helper()
		if s.Current() != want {
			t.Errorf("%s: current is %v", when, !want)
		}
	}
	none := opened(t, dir, "a")
	is(none, true, "no file")
	if Has(dir) {
		t.Error("there is a file")
	}
	keep := func(key string) {
		s := opened(t, dir, "a")
		must(t, s.Keep(ctx, testUnit, maps.All(map[string]pipeline.Known{key: {Sum: sum(1)}})))
		must(t, s.Close())
	}
	keep("a")
	is(none, false, "a file that was not there")
	if !Has(dir) {
		t.Error("there is no file")
	}
	s := opened(t, dir, "a")
	is(s, true, "nobody has written")
	keep("b")
	is(s, false, "another process has written")
	s, other := opened(t, dir, "a"), opened(t, dir, "another")
	is(other, false, "of another run")
	is(s, true, "nobody has written since")
	must(t, os.Rename(nameIn(dir), nameIn(dir)+".away"))
	is(s, false, "the file is gone")
	must(t, s.Close())
	is(s, false, "closed")
}

// Few that were not seen among many are found, wherever the index is, in pages,
// while what was listed is forgotten and while the index grows.
func TestFewUnseen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limit             int64
		many, gone, pages int
	}{"in memory": {memory, 90_000, 5_600, 2}, "on disk": {1 << 16, 9_000, 500, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s, err := open(t.TempDir(), "a", "rules", "boot", c.limit)
			must(t, err)
			defer s.Close() //nolint:errcheck // a test
			many, gone := c.many, c.gone
			key := func(i int) string { return fmt.Sprintf("key %06d", i*7919%many) }
			for _, unit := range []string{"rows/a", "rows/b"} {
				must(t, s.Keep(ctx, unit, func(yield func(string, pipeline.Known) bool) {
					for i := range many {
						if !yield(key(i), pipeline.Known{Sum: sum(byte(i))}) {
							return
						}
					}
				}))
			}
			s.Pass()
			var seen, want []string
			for i := range many {
				if i < gone {
					want = append(want, key(i))
				} else {
					seen = append(seen, key(i))
				}
			}
			for _, unit := range []string{"rows/a", "rows/b"} {
				_, err = s.Look(ctx, unit, seen)
				must(t, err)
			}
			if _, few := s.few("rows/a"); !few {
				t.Fatal("it would look through the blocks")
			}
			slices.Sort(want)
			var got []string
			pages := 0
			for page, err := range s.Unseen(ctx, "rows/a") {
				must(t, err)
				got, pages = append(got, page...), pages+1
				must(t, s.Forget(ctx, "rows/a", page))
			}
			if slices.Sort(got); !slices.Equal(got, want) || pages != c.pages {
				t.Errorf("%d keys in %d pages, want %d", len(got), pages, len(want))
			}
			// Growing, it may list once more what is not forgotten.
			listed := map[string]bool{}
			for page, err := range s.Unseen(ctx, "rows/b") {
				must(t, err)
				for _, k := range page {
					listed[k] = true
				}
				if s.live < 3*int64(many) {
					more := map[string]pipeline.Known{}
					for i := range 2 * many {
						more[fmt.Sprint("new ", i)] = pipeline.Known{Sum: sum(1)}
					}
					must(t, s.Keep(ctx, "rows/c", maps.All(more)))
				}
			}
			if got := slices.Sorted(maps.Keys(listed)); !slices.Equal(got, want) {
				t.Errorf("growing: %d keys, want %d", len(got), len(want))
			}
		})
	}
}
