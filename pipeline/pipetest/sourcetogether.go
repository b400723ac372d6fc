package pipetest

import (
	"errors"
	"iter"
	"sync"

	"outgrow/pipeline"
)

// together reads every unit and part twice, all at the same time.
func (s *sourceSuite[R]) together(t T) {
	l := pipeline.Limits{Records: 2}
	src, units := s.open(t, l)
	ctx := limited(t)
	type result struct {
		unit  pipeline.Unit
		parts []got[R]
		errs  []error
	}
	var results []*result
	var wg sync.WaitGroup
	for _, u := range units {
		parts := []pipeline.Part{{Unit: u}}
		if sp, ok := src.(pipeline.Splitter); ok {
			if cut, err := sp.Split(ctx, u, 4); err == nil && len(cut) > 0 {
				parts = cut
			}
		}
		for range 2 {
			r := &result{unit: u, parts: make([]got[R], len(parts)), errs: make([]error, len(parts))}
			results = append(results, r)
			for i, p := range parts {
				wg.Go(func() { r.parts[i], r.errs[i] = read(ctx, src, p, p.From, l) })
			}
		}
	}
	wg.Wait()
	for _, r := range results {
		must(t, errors.Join(r.errs...), "reading %s at the same time as others", r.unit.ID())
		s.same(t, r.unit, r.parts...)
	}
}

// interleaved holds two sequences and takes a batch of each in turns: of the
// same part, of two units, of two parts.
func (s *sourceSuite[R]) interleaved(t T) {
	src, units := s.open(t, pipeline.Limits{Records: 2})
	ctx := limited(t)
	big, _ := s.biggest(units)
	pairs := [][2]pipeline.Part{{{Unit: big}, {Unit: big}}, {{Unit: units[0]}, {Unit: units[len(units)-1]}}}
	if sp, ok := src.(pipeline.Splitter); ok {
		if cut, err := sp.Split(ctx, big, 2); err == nil && len(cut) == 2 {
			pairs = append(pairs, [2]pipeline.Part{cut[0], cut[1]})
		}
	}
	for _, pair := range pairs {
		var got [2][]R
		var next [2]func() (pipeline.Batch[R], error, bool)
		for i, p := range pair {
			var stop func()
			next[i], stop = iter.Pull2(src.Read(ctx, p, p.From))
			t.Cleanup(stop)
		}
		for left := 2; left > 0; {
			left = 0
			for i := range pair {
				b, err, ok := next[i]()
				must(t, err, "reading %s and %s in turns", pair[0].Unit.ID(), pair[1].Unit.ID())
				got[i] = append(got[i], b.Records...)
				if ok {
					left++
				}
			}
		}
		for i, p := range pair {
			alone, err := read(ctx, src, p, p.From, pipeline.Limits{})
			must(t, err, "reading %s", p.Unit.ID())
			if !sameKeys(alone.records, got[i]) {
				t.Errorf("part %d of %s gives %d records alone and %d in turns with part %d of %s", p.N, p.Unit.ID(),
					len(alone.records), len(got[i]), pair[1-i].N, pair[1-i].Unit.ID())
			}
		}
	}
}
