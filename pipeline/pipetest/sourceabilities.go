package pipetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"outgrow/pipeline"
)

// breaks stops early, often: what an iteration holds must be given back.
func (s *sourceSuite[R]) breaks(t T) {
	const times = 40
	src, units := s.open(t, pipeline.Limits{Records: 1})
	u, _ := s.biggest(units)
	ctx := limited(t)
	stop := func() {
		for _, err := range src.Read(ctx, pipeline.Part{Unit: u}, "") {
			must(t, err, "reading %s after an early stop", u.ID())
			break
		}
	}
	stop()
	before := runtime.NumGoroutine()
	for range times {
		stop()
	}
	deadline := time.Now().Add(s.Ends) // other tests have theirs
	for runtime.NumGoroutine() > before+times/2 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before+times/2 {
		t.Errorf("%d goroutines before, %d after %d early stops", before, n, times)
	}
	g, err := read(ctx, src, pipeline.Part{Unit: u}, "", pipeline.Limits{Records: 1})
	must(t, err, "reading %s after early stops", u.ID())
	s.same(t, u, g)
}

// cancel checks that a cancelled ctx ends a sequence with its error: at once
// when it was cancelled before, after at most two more batches otherwise.
func (s *sourceSuite[R]) cancel(t T) {
	src, units := s.open(t, pipeline.Limits{Records: 1})
	u, want := s.biggest(units)
	dead, kill := context.WithCancel(limited(t))
	kill()
	if n, err := count(src, dead, u, nil); n > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("reading %s with a cancelled ctx gave %d batches and the error %v", u.ID(), n, err)
	}
	if len(want.Records) < 5 {
		t.Logf("%s has only %d records: cancelling in the middle is not tested", u.ID(), len(want.Records))
		return
	}
	ctx, cancel := context.WithCancel(limited(t))
	if n, err := count(src, ctx, u, cancel); n > 3 || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled after the first batch of %s: %d batches of %d and the error %v", u.ID(), n, len(want.Records), err)
	}
	g, err := read(limited(t), src, pipeline.Part{Unit: u}, "", pipeline.Limits{Records: 1})
	must(t, err, "reading %s after a cancelled reading", u.ID())
	s.same(t, u, g)
}

// count reads on, calling then after the first batch.
func count[R pipeline.Record](src pipeline.Source[R], ctx context.Context, u pipeline.Unit, then func()) (n int, err error) {
	for _, e := range src.Read(ctx, pipeline.Part{Unit: u}, "") {
		if err != nil {
			return n, fmt.Errorf("the sequence goes on after: %w", err)
		}
		if e != nil {
			err = e
			continue
		}
		if n++; n == 1 && then != nil {
			then()
		}
	}
	return n, err
}

func (s *sourceSuite[R]) abilities(t T) {
	src, units := s.open(t, pipeline.Limits{})
	ctx := limited(t)
	t.Run("Count", func(t T) {
		c, ok := src.(pipeline.Counter)
		if !ok {
			t.Skip("no Counter")
		}
		for _, u := range units {
			want := s.want[u.ID()]
			n, err := c.Count(ctx, u)
			must(t, err, "counting %s", u.ID())
			if n != int64(len(want.Records)+len(want.Refused)) {
				t.Errorf("%s: Count is %d, want %d", u.ID(), n, len(want.Records)+len(want.Refused))
			}
		}
	})
	t.Run("Get", func(t T) {
		g, ok := src.(pipeline.Getter[R])
		if !ok || s.NoGet {
			t.Skip("no Getter")
		}
		for _, u := range units {
			checkGet(t, ctx, g, u, s.want[u.ID()], s.Equal)
		}
	})
	t.Run("Held", func(t T) {
		h, ok := src.(pipeline.Holder)
		if !ok || s.NoGet {
			t.Skip("no Holder")
		}
		for _, u := range units {
			var keys []string
			for _, r := range s.want[u.ID()].Records {
				keys = append(keys, r.Key())
			}
			held, err := h.Held(ctx, u, append([]string{"no such key", "a" + pipeline.KeySeparator + "b"}, keys...))
			must(t, err, "asking for what %s holds", u.ID())
			slices.Sort(held)
			if slices.Sort(keys); !slices.Equal(held, keys) {
				t.Errorf("%s holds %q, want %q", u.ID(), held, keys)
			}
			none, err := h.Held(ctx, u, nil)
			if must(t, err, "asking for nothing of %s", u.ID()); len(none) > 0 {
				t.Errorf("%s holds %q of no keys", u.ID(), none)
			}
		}
	})
	t.Run("Keys", func(t T) {
		k, ok := src.(pipeline.KeyLister)
		if !ok {
			t.Skip("no KeyLister")
		}
		for _, u := range units {
			s.keys(t, ctx, k, u)
		}
	})
	t.Run("Identity", func(t T) {
		i, ok := src.(pipeline.Identifier)
		if !ok {
			t.Skip("no Identifier")
		}
		first, err := i.Identity(ctx)
		must(t, err, "asking for the identity")
		again, err := i.Identity(ctx)
		must(t, err, "asking for the identity again")
		other, _ := s.open(t, pipeline.Limits{})
		third, err := other.(pipeline.Identifier).Identity(ctx)
		must(t, err, "asking another opening for the identity")
		if first.Stable == "" || first.State == "" || first != again || first != third {
			t.Errorf("the identity of an unchanged source is %+v, then %+v, then %+v", first, again, third)
		}
	})
}

// checkGet asks for all keys, for some twice, for none, and for keys that are
// not there, among them such as a store may not be able to hold.
func checkGet[R pipeline.Record](t T, ctx context.Context, g pipeline.Getter[R], u pipeline.Unit, e Expected[R], equal func(want, got R) bool) {
	t.Helper()
	absent := []string{"no such key", "", "\x00", "a\x00b", "\xff\xfe", "-1", "1e9", pipeline.KeySeparator, "a" + pipeline.KeySeparator + "b",
		strings.Repeat("k", 10_000), "'; --", "../x", "%", "日本"}
	for i := range 2000 {
		absent = append(absent, fmt.Sprintf("missing-%d", i))
	}
	want, there := e.Records, map[string]bool{}
	for _, k := range e.Refused {
		there[k] = true
	}
	var keys []string
	for _, r := range want {
		there[r.Key()] = true
		keys = append(keys, r.Key())
	}
	absent = slices.DeleteFunc(absent, func(k string) bool { return there[k] })
	for _, ask := range [][]string{keys, append(slices.Clone(absent), keys...), append(slices.Clone(keys), keys...), absent, nil} {
		found, err := g.Get(ctx, u, ask)
		if err != nil {
			t.Errorf("%s: getting %d keys: %v", u.ID(), len(ask), err)
			continue
		}
		expect := want
		if len(ask) == 0 || len(ask) == len(absent) && !there[ask[0]] {
			expect = nil
		}
		var values []R
		for k, r := range found {
			if r.Key() != k {
				t.Errorf("%s: under the key %.80q is the record %.80q", u.ID(), k, r.Key())
			}
			values = append(values, r)
		}
		if d := differences(expect, values, equal); d != "" {
			t.Errorf("%s: getting %d keys:\n\t%s", u.ID(), len(ask), d)
		}
	}
}

func (s *sourceSuite[R]) keys(t T, ctx context.Context, k pipeline.KeyLister, u pipeline.Unit) {
	t.Helper()
	want := s.want[u.ID()]
	expect := slices.Clone(want.Refused)
	for _, r := range want.Records {
		expect = append(expect, r.Key())
	}
	for _, err := range k.Keys(ctx, u) { // stops early: it must be possible to begin again
		must(t, err, "listing keys of %s", u.ID())
		break
	}
	var found []string
	for key, err := range k.Keys(ctx, u) {
		must(t, err, "listing keys of %s", u.ID())
		found = append(found, key)
	}
	slices.Sort(expect)
	slices.Sort(found)
	if !slices.Equal(expect, found) {
		t.Errorf("%s: %d keys %.200q, want %d %.200q", u.ID(), len(found), found, len(expect), expect)
	}
}

func (s *sourceSuite[R]) closing(t T) {
	src := s.Open(t, pipeline.Limits{})
	units, err := src.Units(limited(t))
	must(t, err, "listing units")
	_, err = read(limited(t), src, pipeline.Part{Unit: units[0]}, "", pipeline.Limits{})
	must(t, err, "reading %s", units[0].ID())
	must(t, src.Close(), "closing")
	if err := src.Close(); err != nil && !s.CloseOnce {
		t.Errorf("closing twice: %v", err)
	}
}
