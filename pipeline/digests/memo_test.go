package digests

import (
	"encoding/binary"
	"maps"
	"os"
	"slices"
	"testing"

	"outgrow/pipeline"
)

// What is known is the same with the memo that was kept, with a damaged one, with
// that of another log, and without one; what was damaged in the log is told with it,
// too.
func TestMemo(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	want := some(3000, 1)
	keys := slices.Sorted(maps.Keys(want))
	s := openedAs(t, dir, "boot", memory)
	must(t, s.Keep(ctx, testUnit, maps.All(want)))
	must(t, s.Keep(ctx, testUnit, maps.All(map[string]pipeline.Known{keys[0]: {Sum: sum(3)}})))
	must(t, s.Keep(ctx, "rows/gone", maps.All(some(10, 2))))
	must(t, s.Drop(ctx, "rows/gone"))
	must(t, s.Forget(ctx, testUnit, keys[5:9]))
	must(t, s.Complete(ctx, testUnit))
	must(t, s.Close())
	want[keys[0]] = pipeline.Known{Sum: sum(3)}
	for _, k := range keys[5:9] {
		delete(want, k)
	}
	log, err := os.ReadFile(nameIn(dir))
	must(t, err)
	memo, err := os.ReadFile(memoIn(dir))
	must(t, err)

	other := t.TempDir()
	s = openedAs(t, other, "boot", memory)
	must(t, s.Keep(ctx, testUnit, maps.All(some(3000, 5))))
	must(t, s.Close())
	foreign, err := os.ReadFile(memoIn(other))
	must(t, err)

	flipped := func(b []byte, at int) []byte {
		b = slices.Clone(b)
		b[at] ^= 4
		return b
	}
	endless := slices.Clone(memo)
	binary.LittleEndian.PutUint64(endless[len(memoMagic):], 1<<40)
	for name, c := range map[string]struct {
		log, memo []byte
		believed  bool // the memo
		lost      bool // the log
	}{
		"its own":         {log, memo, true, false},
		"none":            {log, nil, false, false},
		"empty":           {log, []byte{}, false, false},
		"cut":             {log, memo[:len(memo)-20], false, false},
		"longer":          {log, append(slices.Clone(memo), memo...), false, false},
		"damaged, slots":  {log, flipped(memo, len(memo)-100), false, false},
		"damaged, head":   {log, flipped(memo, len(memoMagic)+40), false, false},
		"damaged, length": {log, endless, false, false},
		"another log's":   {log, foreign, false, false},
		"damaged log":     {flipped(log, len(log)/2), memo, false, true},
	} {
		dir := t.TempDir()
		must(t, os.WriteFile(nameIn(dir), c.log, 0o600))
		if c.memo != nil {
			must(t, os.WriteFile(memoIn(dir), c.memo, 0o600))
		}
		s := openedAs(t, dir, "another boot", memory)
		if _, x, err := readMemo(memoIn(dir), memory); c.believed && (err != nil || !slices.Equal(x.mem, s.index.mem)) {
			t.Errorf("%s: the memo does not serve (%v)", name, err)
		}
		if c.lost {
			if s.Lost() == nil || len(s.Units()) > 0 {
				t.Errorf("%s: %v is known, %v", name, s.Units(), s.Lost())
			}
			continue
		}
		whole, err := s.Completed(ctx, testUnit)
		held, left, err2 := s.Count(ctx, testUnit)
		if err != nil || err2 != nil || s.Lost() != nil || !whole || left != int64(len(want)) || held >= left || !slices.Equal(s.Units(), []string{testUnit}) {
			t.Errorf("%s: lost %v, whole %v, %d held, %d not seen, units %v (%v, %v)", name, s.Lost(), whole, held, left, s.Units(), err, err2)
		}
		if got := slices.Sorted(slices.Values(unseen(t, s, testUnit))); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
			t.Errorf("%s: %d keys are listed", name, len(got))
		}
		if got := all(t, s, keys); !maps.Equal(got, want) {
			t.Errorf("%s: %d are known, not as they were kept", name, len(got))
		}
		// It goes on from there, and what is kept then is known to the next.
		must(t, s.Keep(ctx, testUnit, maps.All(map[string]pipeline.Known{keys[5]: want[keys[1]]})))
		must(t, s.Close())
		s = openedAs(t, dir, "a third boot", memory)
		if got := all(t, s, []string{keys[5]}); got[keys[5]] != want[keys[1]] {
			t.Errorf("%s: the next process knows %+v", name, got)
		}
	}
}

// What a process has written behind a memo counts, also if it was killed, but for one
// on a machine that stopped; and little of it needs no memo of its own.
func TestBehindAMemo(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	s := openedAs(t, dir, "boot", memory)
	must(t, s.Keep(ctx, testUnit, maps.All(some(100, 1))))
	must(t, s.Close())
	memo, err := os.ReadFile(memoIn(dir))
	must(t, err)
	want := some(100, 1)
	for i, key := range slices.Sorted(maps.Keys(want))[:6] {
		s = openedAs(t, dir, "boot", memory)
		want[key] = pipeline.Known{Sum: sum(byte(i)), Origin: sum(9)}
		if i == 3 {
			delete(want, key)
			must(t, s.Forget(ctx, testUnit, []string{key}))
		} else {
			must(t, s.Keep(ctx, testUnit, maps.All(map[string]pipeline.Known{key: want[key]})))
		}
		must(t, s.Close())
		s = openedAs(t, dir, "boot", memory)
		if got := all(t, s, slices.Collect(maps.Keys(some(100, 1)))); !maps.Equal(got, want) {
			t.Errorf("after change %d something else is known", i)
		}
		if i < 5 && i != 3 && !unchanged(t, s, key, sum(9)) {
			t.Errorf("change %d is not known", i)
		}
		must(t, s.Close())
	}
	if now, err := os.ReadFile(memoIn(dir)); err != nil || string(now) != string(memo) {
		t.Errorf("the memo was written anew for little (%v)", err)
	}
	s = openedAs(t, dir, "boot", memory)
	must(t, s.Keep(ctx, testUnit, maps.All(some(100, 3))))
	must(t, s.Close())
	if now, err := os.ReadFile(memoIn(dir)); err != nil || string(now) == string(memo) {
		t.Errorf("the memo was not written anew for much (%v)", err)
	}
	s = openedAs(t, dir, "boot", memory)
	must(t, s.Keep(ctx, testUnit, maps.All(some(100, 2))))
	must(t, s.Flush(ctx)) // and here it is killed
	if got := all(t, openedAs(t, dir, "boot", memory), slices.Collect(maps.Keys(some(100, 2)))); !maps.Equal(got, some(100, 2)) {
		t.Error("what it kept is not known")
	}
	if got := openedAs(t, dir, "another boot", memory); len(got.Units()) > 0 {
		t.Error("it is believed though the machine stopped")
	}
}

// An index that is on disk is not kept.
func TestNoMemoOfALargeIndex(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	const bound = slotBytes << (firstBits + 1)
	s := openedAs(t, dir, "boot", bound)
	want := some(20_000, 1)
	must(t, s.Keep(ctx, testUnit, maps.All(want)))
	must(t, s.Close())
	if _, err := os.Stat(memoIn(dir)); err == nil {
		t.Error("there is a memo")
	}
	if got := all(t, openedAs(t, dir, "boot", bound), slices.Collect(maps.Keys(want))); !maps.Equal(got, want) {
		t.Error("the next process knows something else")
	}
}
