package pipetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"outgrow/pipeline"
)

// SourceCase is a reader and what it has to read. At least one unit should hold
// ten records or more, else resuming and cancelling are hardly tested.
type SourceCase[R pipeline.Record] struct {
	// Open opens the same content each time; several may be open at once. The
	// suite closes what it opens. Zero limits mean the reader's own.
	Open func(t testing.TB, limits pipeline.Limits) pipeline.Source[R]
	// Want is all that there is.
	Want func(t testing.TB) []Expected[R]
	// Equal compares records; nil means Same.
	Equal func(want, got R) bool
	// CloseOnce says that a second Close is an error by contract.
	CloseOnce bool
	// NoGet skips the checks of Get and Keys on keys that are not there; for
	// readers of stores whose keys are not unique.
	NoGet bool
	// Ends is how long what was stopped early may take to end; 0 means five
	// minutes. Only a reader that never ends waits for so long.
	Ends time.Duration
}

// TestSource checks a reader against the contracts of [pipeline.Source],
// [pipeline.Batch] and of every ability it has.
func TestSource[R pipeline.Record](t *testing.T, c SourceCase[R]) { CheckSource[R](std{t}, c) }

// CheckSource is TestSource for any T.
func CheckSource[R pipeline.Record](t T, c SourceCase[R]) {
	if c.Equal == nil {
		c.Equal = Same[R]
	}
	c.Ends = cmp.Or(c.Ends, 5*time.Minute)
	s := &sourceSuite[R]{SourceCase: c, want: map[string]Expected[R]{}}
	for _, e := range c.Want(t) {
		s.want[e.Unit.ID()] = e
	}
	t.Run("Units", s.units)
	t.Run("Whole", s.whole)
	t.Run("Limits", s.limits)
	t.Run("Resume", s.resume)
	t.Run("Split", s.split)
	t.Run("AtTheSameTime", s.together)
	t.Run("Interleaved", s.interleaved)
	t.Run("Break", s.breaks)
	t.Run("Cancel", s.cancel)
	t.Run("Abilities", s.abilities)
	t.Run("Close", s.closing)
}

type sourceSuite[R pipeline.Record] struct {
	SourceCase[R]
	want map[string]Expected[R]
}

func (s *sourceSuite[R]) open(t T, l pipeline.Limits) (pipeline.Source[R], []pipeline.Unit) {
	t.Helper()
	src := s.Open(t, l)
	t.Cleanup(func() { _ = src.Close() })
	units, err := src.Units(limited(t))
	must(t, err, "listing units")
	return src, units
}

// biggest is the unit with the most records.
func (s *sourceSuite[R]) biggest(units []pipeline.Unit) (pipeline.Unit, Expected[R]) {
	big := units[0]
	for _, u := range units {
		if len(s.want[u.ID()].Records) > len(s.want[big.ID()].Records) {
			big = u
		}
	}
	return big, s.want[big.ID()]
}

func (s *sourceSuite[R]) units(t T) {
	src, first := s.open(t, pipeline.Limits{})
	again, err := src.Units(limited(t))
	must(t, err, "listing units again")
	if !reflect.DeepEqual(first, again) {
		t.Errorf("a second call lists other units:\n%+v\n%+v", first, again)
	}
	if _, other := s.open(t, pipeline.Limits{}); !reflect.DeepEqual(first, other) {
		t.Errorf("another opening lists other units:\n%+v\n%+v", first, other)
	}
	seen := map[string]bool{}
	for _, u := range first {
		if seen[u.ID()] {
			t.Errorf("unit %s is listed twice", u.ID())
		}
		seen[u.ID()] = true
		if _, ok := s.want[u.ID()]; !ok {
			t.Errorf("unit %s is not expected", u.ID())
		}
		for _, id := range u.After {
			if id == u.ID() {
				t.Errorf("unit %s waits for itself", id)
			}
		}
	}
	for id := range s.want {
		if !seen[id] {
			t.Errorf("unit %s is not listed", id)
		}
	}
	if len(first) == 0 {
		t.Fatalf("no units: nothing is tested")
	}
}

// got is what reading a part gave.
type got[R pipeline.Record] struct {
	batches []pipeline.Batch[R]
	records []R
}

func (g *got[R]) refused() []string {
	var keys []string
	for _, b := range g.batches {
		for _, r := range b.Refused {
			if !slices.Contains(keys, r.Key) {
				keys = append(keys, r.Key)
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// read reads a part to its end and checks what every batch promises.
func read[R pipeline.Record](ctx context.Context, src pipeline.Source[R], part pipeline.Part, after pipeline.Cursor, l pipeline.Limits) (got[R], error) {
	var g got[R]
	at, first := after, true
	cursors := map[pipeline.Cursor]bool{}
	ended := false
	for b, err := range src.Read(ctx, part, after) {
		if ended {
			return g, errors.New("the sequence goes on after an error")
		}
		if err != nil {
			return g, err
		}
		// The first batch after "" may name the part's From.
		if b.Prev != at && !(first && after == "" && b.Prev == part.From) {
			return g, fmt.Errorf("batch %d: Prev is %q, the batch before ended at %q", len(g.batches), b.Prev, at)
		}
		if len(b.Records)+len(b.Refused) > 0 && (b.Next == b.Prev || b.Next == "") {
			return g, fmt.Errorf("batch %d: Next is %q after %d records from %q", len(g.batches), b.Next, b.Read, b.Prev)
		}
		if cursors[b.Next] && b.Next != b.Prev {
			return g, fmt.Errorf("batch %d: cursor %q comes twice", len(g.batches), b.Next)
		}
		cursors[b.Next] = true
		if b.Part.Unit.ID() != part.Unit.ID() || b.Part.N != part.N || b.Part.From != part.From || b.Part.To != part.To {
			return g, fmt.Errorf("batch %d says it is of part %+v, not %+v", len(g.batches), b.Part, part)
		}
		if err := bounded(b, l); err != nil {
			return g, fmt.Errorf("batch %d: %w", len(g.batches), err)
		}
		g.batches = append(g.batches, b)
		g.records = append(g.records, b.Records...)
		at, first = b.Next, false
	}
	return g, nil
}

func bounded[R pipeline.Record](b pipeline.Batch[R], l pipeline.Limits) error {
	gone := map[string]bool{}
	for _, r := range b.Refused {
		gone[r.Key] = true
		if r.Unit != b.Part.Unit.ID() {
			return fmt.Errorf("a refusal names unit %q", r.Unit)
		}
	}
	if b.Read < len(b.Records) || (b.Read == 0 && len(gone) > 0) {
		return fmt.Errorf("Read is %d with %d records and %d refused", b.Read, len(b.Records), len(gone))
	}
	if b.Bytes < 0 || (b.Bytes == 0 && len(b.Records) > 0) {
		return fmt.Errorf("the bytes are %d with %d records", b.Bytes, len(b.Records))
	}
	if l.Records > 0 && b.Read > l.Records {
		return fmt.Errorf("%d records read, the limit is %d", b.Read, l.Records)
	}
	size := int64(0)
	for i, r := range b.Records {
		if l.Bytes > 0 && size >= l.Bytes {
			return fmt.Errorf("goes on at record %d of %d with %d bytes, the limit is %d and one record", i, len(b.Records), size, l.Bytes)
		}
		size += int64(r.Size())
	}
	return nil
}

// same checks that everything came exactly once.
func (s *sourceSuite[R]) same(t T, u pipeline.Unit, parts ...got[R]) {
	t.Helper()
	var all []R
	var refused []string
	n := 0
	for _, g := range parts {
		all = append(all, g.records...)
		refused = append(refused, g.refused()...)
		for _, b := range g.batches {
			n += b.Read
		}
	}
	want := s.want[u.ID()]
	if d := differences(want.Records, all, s.Equal); d != "" {
		t.Errorf("%s:\n\t%s", u.ID(), d)
	}
	slices.Sort(refused)
	expect := slices.Clone(want.Refused)
	slices.Sort(expect)
	if !slices.Equal(refused, slices.Compact(expect)) {
		t.Errorf("%s: refused %q, want %q", u.ID(), refused, expect)
	}
	if n != len(want.Records)+len(want.Refused) {
		t.Errorf("%s: the batches' Read sums up to %d, want %d", u.ID(), n, len(want.Records)+len(want.Refused))
	}
}

func (s *sourceSuite[R]) whole(t T) {
	src, units := s.open(t, pipeline.Limits{})
	for _, u := range units {
		g, err := read(limited(t), src, pipeline.Part{Unit: u}, "", pipeline.Limits{})
		must(t, err, "reading %s", u.ID())
		s.same(t, u, g)
	}
}

func (s *sourceSuite[R]) limits(t T) {
	for _, l := range []pipeline.Limits{{Records: 1}, {Records: 3}, {Bytes: 1}, {Records: 1000, Bytes: 1000}} {
		src, units := s.open(t, l)
		for _, u := range units {
			g, err := read(limited(t), src, pipeline.Part{Unit: u}, "", l)
			must(t, err, "reading %s with %+v", u.ID(), l)
			s.same(t, u, g)
			if n := len(g.records); l.Records > 1 && n > 0 && len(g.batches) > n {
				t.Errorf("%s: %d batches for %d records with %+v", u.ID(), len(g.batches), n, l)
			}
		}
	}
}

func (s *sourceSuite[R]) resume(t T) {
	l := pipeline.Limits{Records: 3}
	src, units := s.open(t, l)
	for _, u := range units {
		s.resumePart(t, src, pipeline.Part{Unit: u}, l)
	}
	sp, ok := src.(pipeline.Splitter)
	if !ok {
		return
	}
	u, _ := s.biggest(units)
	parts, err := sp.Split(limited(t), u, 3)
	if err != nil {
		return // checked by Split
	}
	for _, p := range parts {
		s.resumePart(t, src, p, l)
	}
}

// resumePart goes on from up to 12 cursors of the part, in this and in another
// process.
func (s *sourceSuite[R]) resumePart(t T, src pipeline.Source[R], part pipeline.Part, l pipeline.Limits) {
	t.Helper()
	all, err := read(limited(t), src, part, part.From, l)
	must(t, err, "reading %s", part.Unit.ID())
	if fresh, err := read(limited(t), src, part, "", l); err != nil || !sameKeys(fresh.records, all.records) {
		t.Errorf(`%s part %d: reading after "" and after From is not the same (%v)`, part.Unit.ID(), part.N, err)
	}
	// Closed at the end of each part: a server may have few connections.
	other := s.Open(t, l)
	defer func() { _ = other.Close() }()
	_, err = other.Units(limited(t))
	must(t, err, "listing units")
	step := max(1, len(all.batches)/12)
	for i := 0; i < len(all.batches); i += step {
		b := all.batches[i]
		var rest []R
		for _, later := range all.batches[i:] {
			rest = append(rest, later.Records...)
		}
		for _, from := range []pipeline.Source[R]{src, other} {
			g, err := read(limited(t), from, part, b.Prev, l)
			must(t, err, "reading %s after %q", part.Unit.ID(), b.Prev)
			if d := differences(rest, g.records, s.Equal); d != "" {
				t.Errorf("%s part %d: resuming at batch %d of %d gives other records:\n\t%s", part.Unit.ID(), part.N, i, len(all.batches), d)
				continue
			}
			if len(g.batches) > 0 && (g.batches[0].Next != b.Next || !sameKeys(g.batches[0].Records, b.Records)) {
				t.Errorf("%s part %d: reading batch %d again gives another batch: %d records to %q, then %d to %q", part.Unit.ID(), part.N, i,
					len(b.Records), b.Next, len(g.batches[0].Records), g.batches[0].Next)
			}
		}
	}
	if n := len(all.batches); n > 0 {
		end, err := read(limited(t), other, part, all.batches[n-1].Next, l)
		must(t, err, "reading %s after its end", part.Unit.ID())
		if len(end.records) > 0 {
			t.Errorf("%s part %d: %d records after the end", part.Unit.ID(), part.N, len(end.records))
		}
	}
}

func sameKeys[R pipeline.Record](a, b []R) bool {
	return slices.EqualFunc(a, b, func(x, y R) bool { return x.Key() == y.Key() })
}

func (s *sourceSuite[R]) split(t T) {
	l := pipeline.Limits{Records: 2}
	src, units := s.open(t, l)
	sp, ok := src.(pipeline.Splitter)
	if !ok {
		t.Skip("no Splitter")
	}
	for _, u := range units {
		for _, n := range []int{1, 2, 4} {
			parts, err := sp.Split(limited(t), u, n)
			if errors.Is(err, errors.ErrUnsupported) {
				continue
			}
			must(t, err, "cutting %s into %d", u.ID(), n)
			if len(parts) > n {
				t.Errorf("%s: %d parts where %d were asked for", u.ID(), len(parts), n)
			}
			seen := map[int]bool{}
			var all []got[R]
			for _, p := range parts {
				if seen[p.N] || p.Unit.ID() != u.ID() {
					t.Errorf("%s: part %+v has another's number or unit", u.ID(), p)
				}
				seen[p.N] = true
				g, err := read(limited(t), src, p, p.From, l)
				must(t, err, "reading part %d of %s", p.N, u.ID())
				all = append(all, g)
			}
			if len(parts) > 0 { // none means the whole
				s.same(t, u, all...)
			}
		}
	}
}
