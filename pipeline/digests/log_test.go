package digests

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"outgrow/pipeline"
)

const testUnit = "rows/chat"

func openedAs(t *testing.T, dir, boot string, memory int64) *Store {
	t.Helper()
	s, err := open(dir, "a", "rules", boot, memory)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// all is what is known of these keys.
func all(t *testing.T, s *Store, keys []string) map[string]pipeline.Known {
	t.Helper()
	got, err := s.Look(t.Context(), testUnit, keys)
	must(t, err)
	return got
}

func some(n int, salt byte) map[string]pipeline.Known {
	out := map[string]pipeline.Known{}
	for i := range n {
		k := pipeline.Known{Sum: pipeline.Sum{salt, byte(i), byte(i >> 8), byte(i >> 16)}, Refused: i%7 == 0, Doubt: i%11 == 0}
		if i%3 > 0 {
			k.Origin = pipeline.Sum{byte(i >> 8), byte(i), salt, 7}
		}
		out[fmt.Sprintf("key %06d", i)] = k
	}
	return out
}

// The index holds no more than its bound in memory, and tells the same from the
// disk, also while it grows and in the next process.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	const bound, n = slotBytes << (firstBits + 1), 20_000
	dir, ctx := t.TempDir(), t.Context()
	s := openedAs(t, dir, "boot", bound)
	want := some(n, 1)
	keys := slices.Sorted(maps.Keys(want))
	for page := range slices.Chunk(keys, 700) {
		batch := map[string]pipeline.Known{}
		for _, k := range page {
			batch[k] = want[k]
		}
		must(t, s.Keep(ctx, testUnit, maps.All(batch)))
		if m := s.index.memory(); m > bound {
			t.Fatalf("%d bytes of the index are in memory, at most %d may be", m, bound)
		}
	}
	if s.index.file == nil {
		t.Fatal("the index is not on disk: the test shows too little")
	}
	if !maps.Equal(all(t, s, append(keys, "nobody")), want) {
		t.Error("something else is known than was kept")
	}
	must(t, s.Forget(ctx, testUnit, keys[:100]))
	must(t, s.Refuse(ctx, testUnit, keys[100:200]))
	s.Pass()
	if left := unseen(t, s, testUnit); !slices.Equal(slices.Sorted(slices.Values(left)), keys[100:]) {
		t.Errorf("%d keys are not seen of %d", len(left), n-100)
	}
	must(t, s.Close())
	if left, err := filepath.Glob(filepath.Join(dir, "index-*")); err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}

	s = openedAs(t, dir, "boot", bound)
	if s.index.file == nil || s.index.memory() > 0 {
		t.Error("the next process has the index in memory")
	}
	for _, k := range keys[:100] {
		delete(want, k)
	}
	for _, k := range keys[100:200] {
		want[k] = pipeline.Known{Sum: want[k].Sum, Refused: true, Doubt: want[k].Doubt}
	}
	if !maps.Equal(all(t, s, keys), want) {
		t.Error("the next process knows something else")
	}
	if w := s.windows.list[0]; cap(w.data) > windowBytes+windowMargin {
		t.Errorf("a window of %d bytes", cap(w.data))
	}
}

// Wherever a process dies, the next one knows what was true after one of the
// calls before, and can go on.
func TestCrashAtEachStep(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	s := openedAs(t, dir, "boot", memory)
	keys := []string{"a", "b", "c", strings.Repeat("long ", windowBytes)}
	states := []map[string]pipeline.Known{{}}
	step := func(err error) {
		must(t, err)
		if now := all(t, s, keys); !maps.Equal(now, states[len(states)-1]) {
			states = append(states, now)
		}
	}
	for i := range 3 {
		k := pipeline.Known{Sum: sum(byte(i)), Doubt: true}
		step(s.Keep(ctx, testUnit, maps.All(map[string]pipeline.Known{"a": k, "b": k})))
		k.Doubt, k.Origin = false, sum(byte(i+100))
		step(s.Keep(ctx, testUnit, maps.All(map[string]pipeline.Known{"a": k, "b": k, "c": k})))
		step(s.Refuse(ctx, testUnit, []string{"b"}))
		step(s.Forget(ctx, testUnit, []string{"c"}))
		step(s.Complete(ctx, testUnit))
	}
	step(s.Keep(ctx, testUnit, maps.All(map[string]pipeline.Known{keys[3]: {Sum: sum(1)}})))
	step(s.Drop(ctx, testUnit))
	whole, err := os.ReadFile(s.name)
	must(t, err)

	reached := 0
	for n := 0; n <= len(whole); n++ {
		if n > 1500 && n < len(whole)-200 && n%1999 > 0 {
			continue // inside the long key
		}
		dead := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dead, "digests.db"), whole[:n], 0o600))
		must(t, os.WriteFile(filepath.Join(dead, "digests.db.new"), whole[:n/2], 0o600)) // of writing it anew
		s, err := open(dead, "a", "rules", "boot", memory)
		must(t, err)
		got := all(t, s, keys)
		at := slices.IndexFunc(states[reached:], func(want map[string]pipeline.Known) bool { return maps.Equal(got, want) })
		if at < 0 || at > 1 {
			t.Fatalf("after %d bytes %v is known, which was true at no call from %d on", n, got, reached)
		}
		reached += at
		// It goes on from there.
		k := pipeline.Known{Sum: sum(77)}
		must(t, s.Keep(ctx, testUnit, maps.All(map[string]pipeline.Known{"z": k})))
		must(t, s.Close())
		s, err = open(dead, "a", "rules", "another boot", memory)
		must(t, err)
		got["z"] = k
		if now := all(t, s, append(keys, "z")); !maps.Equal(now, got) {
			t.Fatalf("after %d bytes and another process %v is known, want %v", n, now, got)
		}
		must(t, s.Close())
	}
	if reached != len(states)-1 {
		t.Errorf("%d of %d calls were seen", reached, len(states)-1)
	}
}

// What was written before the machine stopped is only believed when the process
// had come to its end.
func TestNotBelievedAfterTheMachineStopped(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, ends := range []bool{true, false} {
		dir := t.TempDir()
		s := openedAs(t, dir, "boot", memory)
		want := some(10, 1)
		must(t, s.Keep(ctx, testUnit, maps.All(want)))
		must(t, s.Flush(ctx))
		if ends {
			must(t, s.Close())
		}
		if got := all(t, openedAs(t, dir, "boot", memory), slices.Collect(maps.Keys(want))); !maps.Equal(got, want) {
			t.Errorf("ends %v: before the machine stops %d keys are known", ends, len(got))
		}
		got := all(t, openedAs(t, dir, "another", memory), slices.Collect(maps.Keys(want)))
		if ends && !maps.Equal(got, want) || !ends && len(got) > 0 {
			t.Errorf("ends %v: %d keys are known", ends, len(got))
		}
	}
	s := openedAs(t, t.TempDir(), "boot", memory)
	must(t, s.Keep(ctx, testUnit, maps.All(some(10, 1))))
	must(t, s.Close())
	body, err := os.ReadFile(s.name)
	must(t, err)
	body[len(body)/2] ^= 1
	must(t, os.WriteFile(s.name, body, 0o600))
	if s := openedAs(t, s.dir, "boot", memory); len(s.Units()) > 0 {
		t.Error("a damaged file is believed")
	}
}

// The log does not grow for ever, and is the same after it was written anew.
func TestCompacts(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	n := few + 1000
	var size int64
	for pass := range byte(4) {
		s := openedAs(t, dir, "boot", memory)
		want := some(n, pass)
		keys := slices.Sorted(maps.Keys(want))
		must(t, s.Keep(ctx, testUnit, maps.All(want)))
		must(t, s.Keep(ctx, "rows/gone", maps.All(some(10, pass))))
		must(t, s.Drop(ctx, "rows/gone"))
		must(t, s.Keep(ctx, "rows/other", maps.All(some(10, pass))))
		must(t, s.Complete(ctx, testUnit))
		must(t, s.Forget(ctx, testUnit, keys[:3]))
		for _, k := range keys[:3] {
			delete(want, k)
		}
		held, left, err := s.Count(ctx, testUnit)
		must(t, err)
		must(t, s.Close())
		s = openedAs(t, dir, "boot", memory)
		whole, err := s.Completed(ctx, testUnit)
		now, unmet, err2 := s.Count(ctx, testUnit)
		if err != nil || err2 != nil || !whole || now != held || left != 0 || unmet != int64(len(want)) {
			t.Errorf("pass %d: whole %v, %d held, then %d, %d not seen of %d (%v, %v)", pass, whole, held, now, unmet, len(want), err, err2)
		}
		if got := slices.Sorted(slices.Values(unseen(t, s, testUnit))); !slices.Equal(got, keys[3:]) {
			t.Errorf("pass %d: %d keys are listed of %d", pass, len(got), len(want))
		}
		if !maps.Equal(all(t, s, keys), want) {
			t.Errorf("pass %d: something else is known than was kept", pass)
		}
		if units := slices.Sorted(slices.Values(s.Units())); !slices.Equal(units, []string{testUnit, "rows/other"}) {
			t.Errorf("pass %d: units %v", pass, units)
		}
		must(t, s.Close())
		info, err := os.Stat(s.name)
		must(t, err)
		if pass == 0 {
			size = info.Size()
		} else if info.Size() > 3*size+size/2 {
			t.Errorf("pass %d: the log has grown from %d to %d bytes", pass, size, info.Size())
		}
	}
}

// Several workers look up and keep at the same time.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	s, ctx := openedAs(t, t.TempDir(), "boot", slotBytes<<firstBits), t.Context()
	var wg sync.WaitGroup
	for w := range 4 {
		unit := fmt.Sprintf("rows/%d", w/2)
		wg.Go(func() {
			for i := range 30 {
				batch := map[string]pipeline.Known{}
				for k := range 100 {
					batch[fmt.Sprintf("%d %d %d", w, i, k)] = pipeline.Known{Sum: pipeline.Sum{byte(w), byte(i), byte(k)}}
				}
				keys := slices.Collect(maps.Keys(batch))
				if got, err := s.Look(ctx, unit, keys); err != nil || len(got) > 0 {
					t.Errorf("%d known before, %v", len(got), err)
				}
				if err := s.Keep(ctx, unit, maps.All(batch)); err != nil {
					t.Error(err)
				}
				if got, err := s.Look(ctx, unit, keys); err != nil || !maps.Equal(got, batch) {
					t.Errorf("%d of %d known afterwards, %v", len(got), len(batch), err)
				}
			}
		})
	}
	wg.Wait()
	for _, unit := range []string{"rows/0", "rows/1"} {
		if held, left, err := s.Count(ctx, unit); err != nil || held != 6000 || left != 0 {
			t.Errorf("%s: %d held, %d not seen, %v", unit, held, left, err)
		}
	}
}
