package digests

import (
	"maps"
	"slices"
	"testing"

	"outgrow/pipeline"
)

func openedUnder(t *testing.T, dir, rules string) *Store {
	t.Helper()
	s, err := open(dir, "a", rules, "boot", memory)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func unchanged(t *testing.T, s *Store, key string, origin pipeline.Sum) bool {
	t.Helper()
	same, err := s.Unchanged(t.Context(), testUnit)(key, origin)
	must(t, err)
	return same
}

// A record is unchanged only if all is known of it and it has the same origin;
// only then it is seen.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	ctx, origin := t.Context(), sum(5)
	s := openedUnder(t, t.TempDir(), "rules")
	if unchanged(t, s, "good", origin) {
		t.Error("a record of which nothing is known is unchanged")
	}
	must(t, s.Keep(ctx, testUnit, maps.All(map[string]pipeline.Known{
		"good": {Sum: sum(1), Origin: origin}, "none": {Sum: sum(1)},
		"refused": {Sum: sum(1), Origin: origin, Refused: true}, "doubt": {Sum: sum(1), Origin: origin, Doubt: true},
		"left": {Sum: sum(1), Origin: origin}, "gone": {Sum: sum(1), Origin: origin},
	})))
	must(t, s.Refuse(ctx, testUnit, []string{"left"}))
	must(t, s.Forget(ctx, testUnit, []string{"gone"}))
	s.Pass()
	for key, from := range map[string]pipeline.Sum{"good": sum(6), "none": {}, "refused": origin, "doubt": origin, "left": origin, "gone": origin, "nobody": origin, "": origin} {
		if unchanged(t, s, key, from) {
			t.Errorf("%q is unchanged", key)
		}
	}
	if left := unseen(t, s, testUnit); len(left) != 5 {
		t.Errorf("not seen: %q", left)
	}
	for range 2 {
		if !unchanged(t, s, "good", origin) {
			t.Error("what is as it was is not unchanged")
		}
	}
	if left := unseen(t, s, testUnit); slices.Contains(left, "good") || len(left) != 4 {
		t.Errorf("not seen: %q", left)
	}
	if _, n, err := s.Count(ctx, testUnit); err != nil || n != 4 {
		t.Errorf("%d are not seen, %v", n, err)
	}
}

// Origins are believed under the rules that they were kept under, also by another
// process and once the log was written anew; what the target holds is known under
// any.
func TestOriginsOfOtherRules(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	n := few + 1000
	keep := func(rules string, salt byte) (seed uint64, kept map[string]pipeline.Known) {
		s := openedUnder(t, dir, rules)
		kept = some(n, salt)
		must(t, s.Keep(ctx, testUnit, maps.All(kept)))
		seed = s.Seed()
		must(t, s.Close())
		return seed, kept
	}
	check := func(rules string, want map[string]pipeline.Known, believed bool, seed uint64) {
		t.Helper()
		s := openedUnder(t, dir, rules)
		if believed != (s.Seed() == seed) {
			t.Errorf("rules %s: the seed is %x, it was %x", rules, s.Seed(), seed)
		}
		keys := slices.Sorted(maps.Keys(want))[:300]
		for _, key := range keys {
			k := want[key]
			good := believed && k.Origin != (pipeline.Sum{}) && !k.Refused && !k.Doubt
			if unchanged(t, s, key, k.Origin) != good {
				t.Fatalf("rules %s: that %s is unchanged is not %v", rules, key, good)
			}
		}
		for key, k := range all(t, s, keys) {
			if w := want[key]; k.Sum != w.Sum || k.Refused != w.Refused || k.Doubt != w.Doubt || believed && k.Origin != w.Origin || !believed && k.Origin != (pipeline.Sum{}) {
				t.Errorf("rules %s: of %s %+v is known, %+v was kept", rules, key, k, w)
			}
		}
		must(t, s.Close())
	}
	one, kept := keep("one", 1)
	check("one", kept, true, one)
	check("two", kept, false, one)
	check("one", kept, true, one) // nothing was written under others

	s := openedUnder(t, dir, "two")
	must(t, s.Keep(ctx, testUnit, maps.All(map[string]pipeline.Known{"other": {Sum: sum(3), Origin: sum(4)}})))
	must(t, s.Close())
	check("two", kept, false, one)
	check("one", kept, false, one+1) // they may have become old meanwhile

	for range 3 { // until it was written anew
		one, kept = keep("one", 2)
	}
	check("one", kept, true, one)
	s = openedUnder(t, dir, "three")
	must(t, s.Complete(ctx, testUnit)) // writes anew
	if unchanged(t, s, "key 000001", kept["key 000001"].Origin) {
		t.Error("an origin of other rules is believed behind the writing anew")
	}
	must(t, s.Close())
	check("three", kept, false, one)
}
