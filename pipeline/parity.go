package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ParityConfig says how a store's search is compared with an exact one over the
// source.
type ParityConfig struct {
	Source     Source[*Vector]
	Transforms []Transform[*Vector]
	Target     Searcher
	// Journal tells which records need not be on the target as the source has
	// them: quarantined and replayed ones. It may be nil.
	Journal Journal
	Backoff Backoff
	Workers int // readers of the second pass, as in Survey
	// Searches is the number of queries a collection: half of them stored
	// vectors, half perturbed ones. 0 means 16.
	Searches int
	K        int // hits a query, 0 means 10
	// Tolerance is how far a score may be from the exact one: 1e-5 when 0.
	Tolerance float64
	Seed      uint64 // of the sample; the same seed and records give the same queries
}

// UnitParity is what the searches in one collection showed.
type UnitParity struct {
	Unit     string `json:"unit"`
	Searches int    `json:"searches"`
	K        int    `json:"k"`
	// Recall is the part of the exact hits that the store found as Open WebUI
	// asks it, through its index; where it has none yet, by its exact search.
	Recall float64 `json:"recall"`
	// Exact is the same for the store's exact search, which must be 1; nil
	// where the store has none.
	Exact *float64 `json:"exact_recall,omitempty"`
	// ScoreDifference is the largest difference of a hit's score.
	ScoreDifference float64 `json:"score_difference"`
	// Fault says what is wrong with the records themselves, not with the
	// index: "" for nothing.
	Fault string `json:"fault,omitempty"`
	// Skipped says why nothing was searched for.
	Skipped string `json:"skipped,omitempty"`
}

// Low reports whether the collection does not answer as it should.
func (p *UnitParity) Low(minimum float64) bool {
	return p.Skipped == "" && (p.Fault != "" || p.Recall < minimum)
}

// Parity searches the target for vectors of the source and compares the hits
// with the exact ones. It works beside [Diff], whose pass over the source gives
// the sample ([Parity.Observe]); the exact hits come from a second pass over
// each collection ([Parity.Search]). What it holds in memory is, for each
// collection under way, the queries and their best hits.
type Parity struct {
	cfg ParityConfig

	mu      sync.Mutex
	samples map[string]*sample
	results []UnitParity

	linesOnce sync.Once
	linesErr  error
	lines     map[string]bool // units with lines in the quarantine, or replayed ones
}

// NewParity begins a comparison.
func NewParity(cfg ParityConfig) *Parity {
	if cfg.Searches <= 0 {
		cfg.Searches = 16
	}
	if cfg.K <= 0 {
		cfg.K = 10
	}
	if cfg.Tolerance <= 0 {
		cfg.Tolerance = 1e-5
	}
	return &Parity{cfg: cfg, samples: map[string]*sample{}}
}

// Observe is [Comparison.Observe]: it takes the sample.
func (p *Parity) Observe(u Unit, records []*Vector) {
	p.mu.Lock()
	s := p.samples[u.ID()]
	if s == nil {
		s = &sample{size: (p.cfg.Searches + 1) / 2, seed: p.cfg.Seed}
		p.samples[u.ID()] = s
	}
	p.mu.Unlock()
	s.add(u, records)
}

// Results lists what was found, by unit.
func (p *Parity) Results() []UnitParity {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(p.results)
	slices.SortFunc(out, func(a, b UnitParity) int { return cmp.Compare(a.Unit, b.Unit) })
	return out
}

// Search is [Comparison.Then]: it searches in a collection that was read to its
// end. A collection that is worse than it should be is a result, not an error.
func (p *Parity) Search(ctx context.Context, u Unit) error {
	p.mu.Lock()
	s := p.samples[u.ID()]
	delete(p.samples, u.ID())
	p.mu.Unlock()
	if s == nil {
		return nil // nothing was read
	}
	r, err := p.unit(ctx, u, s)
	if err != nil {
		return fmt.Errorf("searching in %s: %w", u.ID(), err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.results = append(p.results, r)
	return nil
}

func (p *Parity) unit(ctx context.Context, u Unit, s *sample) (UnitParity, error) {
	r := UnitParity{Unit: u.ID(), K: p.cfg.K}
	queries, err := p.queries(ctx, u, s)
	if err != nil {
		return r, err
	}
	if r.Searches = len(queries); r.Searches == 0 {
		r.Skipped = "no vector to search for"
		return r, nil
	}
	// A store may refuse to search in a collection that is not there at all.
	if c, ok := p.cfg.Target.(Counter); ok {
		n, err := c.Count(ctx, u)
		if err != nil {
			return r, err
		}
		if n == 0 {
			r.Fault = "the target has no record of it"
			return r, nil
		}
	}
	truth, err := p.exact(ctx, u, queries)
	if err != nil {
		return r, err
	}
	if truth.tooMany {
		r.Skipped = fmt.Sprintf("more than %d vectors of length zero", maxZeros)
		return r, nil
	}
	for _, exact := range []bool{true, false} {
		t, err := p.try(ctx, u, queries, truth, exact)
		if errors.Is(err, errors.ErrUnsupported) && (exact || r.Exact != nil) {
			if !exact { // there is no index that could find less
				r.Recall = *r.Exact
			}
			continue
		}
		if err != nil {
			return r, err
		}
		r.ScoreDifference = max(r.ScoreDifference, t.difference)
		if exact {
			recall := t.recall()
			r.Exact = &recall
			r.Fault = t.fault
		} else {
			r.Recall = t.recall()
		}
		if r.Fault == "" && t.difference > p.cfg.Tolerance {
			r.Fault = t.wrongScore
		}
	}
	return r, nil
}

// try asks the store all queries and judges its answers.
func (p *Parity) try(ctx context.Context, u Unit, queries []query, truth *truth, exact bool) (*trial, error) {
	asked := make([][]float32, len(queries))
	for i := range queries {
		asked[i] = queries[i].vector
	}
	var got [][]Hit
	err := p.cfg.Backoff.Do(ctx, func(int) (err error) {
		got, err = p.cfg.Target.Search(ctx, u, asked, p.cfg.K, exact)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(got) != len(queries) {
		return nil, fmt.Errorf("%d answers to %d queries", len(got), len(queries))
	}
	t := &trial{k: p.cfg.K, tolerance: p.cfg.Tolerance}
	for i, hits := range got {
		kept := hits[:0:0]
		for _, h := range hits {
			// A hit that is not among the best may be a record that a replay put in.
			if outside, err := p.replayedHit(ctx, u, h, truth.best[i]); err != nil {
				return nil, err
			} else if !outside {
				kept = append(kept, h)
			}
		}
		t.judge(queries[i], truth.best[i], truth.zeros, kept, len(hits)-len(kept))
	}
	return t, nil
}
