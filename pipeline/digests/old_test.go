package digests

import (
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"outgrow/pipeline"
)

// oldLog was written by the version before origins: of run "a", unit rows/chat with
// a, b (refused), c (in doubt) and d (forgotten), compared to its end; and a unit that
// was dropped.
const oldLog = "b3V0Z3JvdyBkaWdlc3RzIDIKAWEEAAAAaOvdTYYAAWIgAAAAG5ednIMBCXJvd3MvY2hhdAABAWEBAAAAAAAAAAAAAAAAAAAAFAAAAIClUAABAQFiAgAAAAAAAAAAAAAAAAAAABQAAADmbHz0AgEBYwMAAAAAAAAAAAAAAAAA" +
	"AAAUAAAA6CxV1QABAWQEAAAAAAAAAAAAAAAAAAAABAAAAEB0+iMEAQFkIAAAAL68vhSDAglyb3dzL2dvbmUAAgFhBQAAAAAAAAAAAAAAAAAAAAMAAACz0pn3hQIAAwAAAFToP2aEAQADAAAAULCzn4cAAA=="

// What the version before has kept is known: by the process that finds it, by later
// ones, and under any rules. Nothing of it is taken for unchanged before that was
// found out.
func TestOldLog(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	raw, err := base64.StdEncoding.DecodeString(oldLog)
	must(t, err)
	name := filepath.Join(dir, "digests.db")
	must(t, os.WriteFile(name, raw, 0o600))
	want := map[string]pipeline.Known{"a": {Sum: pipeline.Sum{1}}, "b": {Sum: pipeline.Sum{2}, Refused: true}, "c": {Sum: pipeline.Sum{3}, Doubt: true}}
	check := func(s *Store) {
		t.Helper()
		if s.Lost() != nil {
			t.Errorf("it is not believed: %v", s.Lost())
		}
		if got := all(t, s, []string{"a", "b", "c", "d"}); !maps.Equal(got, want) {
			t.Errorf("%v is known, not %v", got, want)
		}
		if whole, err := s.Completed(ctx, testUnit); err != nil || !whole || !slices.Equal(s.Units(), []string{testUnit}) {
			t.Errorf("units %v, whole %v, %v", s.Units(), whole, err)
		}
	}
	s := openedUnder(t, dir, "rules")
	check(s)
	for key := range want {
		if unchanged(t, s, key, pipeline.Sum{}) {
			t.Errorf("%s is unchanged", key)
		}
	}
	must(t, s.Close()) // nothing was written
	if now, err := os.ReadFile(name); err != nil || string(now) != string(raw) {
		t.Errorf("it was changed without need (%v)", err)
	}
	s = openedUnder(t, dir, "rules")
	want["e"] = pipeline.Known{Sum: sum(6), Origin: sum(7)}
	must(t, s.Keep(ctx, testUnit, maps.All(map[string]pipeline.Known{"e": want["e"]})))
	must(t, s.Close())
	for range 2 {
		s = openedUnder(t, dir, "rules")
		want := maps.Clone(want)
		got := all(t, s, slices.Collect(maps.Keys(want)))
		if s.Lost() != nil || !maps.Equal(got, want) || !unchanged(t, s, "e", sum(7)) {
			t.Errorf("after it was added to, %v is known (%v)", got, s.Lost())
		}
		must(t, s.Close())
	}
}
