package digests

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"outgrow/pipeline"
)

// sequence keeps keys in this order, each with what of gives.
func sequence(keys []string, of func(string) pipeline.Known) iter.Seq2[string, pipeline.Known] {
	return func(yield func(string, pipeline.Known) bool) {
		for _, k := range keys {
			if !yield(k, of(k)) {
				return
			}
		}
	}
}

func from(n byte) func(string) pipeline.Known {
	return func(key string) pipeline.Known {
		return pipeline.Known{Sum: pipeline.Sum{n, byte(len(key))}, Origin: pipeline.Sum{n, 9, byte(len(key))}}
	}
}

func keysOf(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprintf("key %05d%s", i, strings.Repeat("+", i%7)))
	}
	return keys
}

// Passes over records that are changed, gone and new in turn find exactly those that
// are as they were, whether the log was left by this process or another, was written
// anew meanwhile, or has very long keys in it; and know which they have not met.
func TestPassesInOrder(t *testing.T) {
	t.Parallel()
	dir, ctx, r := t.TempDir(), t.Context(), rand.New(rand.NewPCG(1, 2))
	keys := keysOf(30_000)
	keys[777] = strings.Repeat("long ", placeMost)
	version := map[string]byte{}
	s := openedAs(t, dir, "boot", memory)
	for page := range slices.Chunk(keys, 300) {
		must(t, s.Keep(ctx, testUnit, sequence(page, from(0))))
		must(t, s.Keep(ctx, "rows/other", sequence(page[:20], from(0))))
	}
	anew, dead := false, int64(0)
	for pass := range byte(8) {
		if pass%3 > 0 {
			must(t, s.Close())
			s = openedAs(t, dir, "boot", memory)
		}
		s.Pass()
		parts := slices.Collect(slices.Chunk(keys, 7_000))
		var wg sync.WaitGroup
		for i := range keys {
			if r.IntN(12) == 0 {
				version[keys[i]] = pass + 1
			}
		}
		for _, part := range parts {
			wg.Go(func() {
				same := s.Unchanged(ctx, testUnit)
				var changed []string
				for _, key := range part {
					ok, err := same(key, from(version[key])(key).Origin)
					if err != nil || ok != (version[key] != pass+1) {
						t.Errorf("pass %d: that %.20s is the same is %v, it is of version %d (%v)", pass, key, ok, version[key], err)
						return
					}
					if !ok {
						changed = append(changed, key)
					}
					if len(changed) == 100 {
						must(t, s.Keep(ctx, testUnit, sequence(changed, from(pass+1))))
						changed = nil
					}
					if len(changed) == 50 && pass == 5 { // as if the part were read again
						if ok, err := same(changed[0], from(version[changed[0]])(changed[0]).Origin); err != nil || ok {
							t.Errorf("%.20s is the same at the second look (%v)", changed[0], err)
						}
					}
				}
				must(t, s.Keep(ctx, testUnit, sequence(changed, from(pass+1))))
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		if _, left, err := s.Count(ctx, testUnit); err != nil || left != 0 {
			t.Fatalf("pass %d: %d were not met (%v)", pass, left, err)
		}
		// Some are gone before the next pass, and none of them is met there.
		gone := map[string]bool{}
		for range 30 {
			gone[keys[r.IntN(len(keys))]] = true
		}
		left := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return gone[k] })
		s.Pass()
		same := s.Unchanged(ctx, testUnit)
		for _, key := range left {
			if ok, err := same(key, from(version[key])(key).Origin); err != nil || !ok {
				t.Fatalf("pass %d: %.20s is not the same (%v)", pass, key, err)
			}
		}
		if got := unseen(t, s, testUnit); !maps.Equal(setOf(got), gone) {
			t.Fatalf("pass %d: %d were not met, want %d", pass, len(got), len(gone))
		}
		must(t, s.Forget(ctx, testUnit, slices.Collect(maps.Keys(gone))))
		keys = left
		fresh := fmt.Sprintf("new %d", pass)
		must(t, s.Keep(ctx, testUnit, sequence([]string{fresh}, from(0))))
		keys = append(keys, fresh)
		anew, dead = anew || s.dead < dead, s.dead
	}
	if held, left, err := s.Count(ctx, testUnit); err != nil || held != int64(len(keys)) || left != 0 {
		t.Errorf("%d held of %d, %d not met (%v)", held, len(keys), left, err)
	}
	if !anew {
		t.Error("the log was never written anew: the test shows too little")
	}
}

func setOf(keys []string) map[string]bool {
	out := map[string]bool{}
	for _, k := range keys {
		out[k] = true
	}
	return out
}

// A cursor that is in use while the log is written anew, and while its unit is
// dropped and comes again, neither forgets what it has met nor says what is not so.
func TestCursorWhileItIsWrittenAnew(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	keys := keysOf(3 * few)
	s := openedAs(t, dir, "boot", memory)
	must(t, s.Keep(ctx, testUnit, sequence(keys, from(0))))
	must(t, s.Keep(ctx, "rows/other", sequence(keys[:few+1], from(0))))
	must(t, s.Close())
	s = openedAs(t, dir, "boot", memory)
	s.Pass()
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for part := range slices.Chunk(keys, len(keys)/3) {
		wg.Go(func() {
			same := s.Unchanged(ctx, testUnit)
			for i, key := range part {
				if i == len(part)/4 {
					begin <- struct{}{}
				}
				if ok, err := same(key, from(0)(key).Origin); err != nil || !ok {
					t.Errorf("%s is not the same (%v)", key, err)
					return
				}
			}
		})
	}
	for range 3 {
		<-begin
	}
	s.mu.Lock()
	err := s.compact()
	s.mu.Unlock()
	must(t, err)
	wg.Wait()
	if _, left, err := s.Count(ctx, testUnit); err != nil || left != 0 {
		t.Errorf("%d were not met (%v)", left, err)
	}
	same := s.Unchanged(ctx, testUnit)
	ask := func(key string, want bool) {
		t.Helper()
		if ok, err := same(key, from(0)(key).Origin); err != nil || ok != want {
			t.Errorf("that %s is the same is %v (%v)", key, ok, err)
		}
	}
	ask(keys[0], true)
	ask(keys[1], true)
	must(t, s.Drop(ctx, testUnit))
	ask(keys[2], false)
	must(t, s.Keep(ctx, testUnit, sequence(keys[4:6], from(0))))
	ask(keys[3], false)
	ask(keys[4], true)
	ask(keys[5], true)
	ask(keys[6], false)
	must(t, s.Close())
	if _, err := same(keys[5], from(0)(keys[5]).Origin); err == nil {
		t.Error("a store that is closed answers")
	}
}

// Written anew, the log has the entries where a pass will look for them.
func TestOrderIsRestored(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	keys := keysOf(8 * few)
	s := openedAs(t, dir, "boot", memory)
	must(t, s.Keep(ctx, testUnit, sequence(keys, from(0))))
	scattered := slices.Clone(keys[:few])
	for i := range scattered {
		scattered[i] = keys[7*i%len(keys)]
	}
	for n := range byte(2) {
		must(t, s.Keep(ctx, testUnit, sequence(scattered, from(n+1))))
	}
	must(t, s.Forget(ctx, testUnit, keys[1:2]))
	must(t, s.Close())
	s = openedAs(t, dir, "boot", memory)
	must(t, s.Keep(ctx, testUnit, sequence([]string{"last"}, from(0))))
	if s.dead != 0 {
		t.Fatalf("%d entries that do not count are left", s.dead)
	}
	var got []string
	for _, at := range s.units[testUnit].blocks {
		must(t, s.block(at, func(e entry) error {
			if summed(e.kind) {
				got = append(got, string(e.key))
			}
			return nil
		}))
	}
	if want := append(slices.Delete(slices.Clone(keys), 1, 2), "last"); !slices.Equal(got, want) {
		t.Errorf("%d entries, not in the order of %d", len(got), len(want))
	}
	for i, key := range scattered {
		if k := all(t, s, []string{key})[key]; key != keys[1] && k != from(2)(key) {
			t.Fatalf("entry %d is %+v", i, k)
		}
	}
}
