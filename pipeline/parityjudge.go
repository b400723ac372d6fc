package pipeline

import (
	"fmt"
	"math"
)

// trial is how a store answered all queries in one collection.
type trial struct {
	k         int
	tolerance float64

	expected, found int
	difference      float64
	fault           string // the first answer that an exact search would not give
	wrongScore      string // the hit whose score is farthest off
}

func (t *trial) recall() float64 {
	if t.expected == 0 {
		return 1
	}
	return float64(t.found) / float64(t.expected)
}

// judge compares one answer with the exact ranking. Hits that are equally near
// stand for one another; vectors of length zero count nowhere, as stores rank
// them each in its own way; dropped hits had their place in the answer, but are
// no concern of the comparison.
func (t *trial) judge(q query, want ranking, zeros map[string]bool, got []Hit, dropped int) {
	known := make(map[string]float64, len(want.hits))
	for _, h := range want.hits {
		known[h.ID] = h.Score
	}
	var kept []Hit
	for _, h := range got {
		if zeros[h.ID] || math.IsNaN(h.Score) {
			dropped++
			continue
		}
		kept = append(kept, h)
	}
	expected := max(min(t.k-dropped, len(want.hits)), 0)
	t.expected += expected
	if expected == 0 {
		return
	}
	cut := want.hits[expected-1].Score - t.tolerance
	found, seen := 0, map[string]bool{}
	for i, h := range kept {
		if i > 0 && h.Score > kept[i-1].Score+t.tolerance {
			t.blame(q, "the hits are not in the order of their scores")
		}
		if seen[h.ID] {
			t.blame(q, "%q is there more than once", h.ID)
			continue
		}
		seen[h.ID] = true
		score, ok := known[h.ID]
		switch {
		case ok:
			t.off(q, h, score)
			if score >= cut {
				found++
			}
		case !want.full():
			t.blame(q, "%q is no record of the source", h.ID)
		default:
			// It is farther than all that are known: one of many ties, or its
			// score is wrong.
			last := want.hits[len(want.hits)-1].Score
			if h.Score > last {
				t.off(q, h, last)
			}
			if last >= cut && math.Abs(h.Score-last) <= t.tolerance {
				found++
			}
		}
	}
	if found = min(found, expected); found < expected {
		missing := ""
		for _, h := range want.hits[:expected] {
			if !seen[h.ID] {
				missing = fmt.Sprintf("; the first that is missing is %q", h.ID)
				break
			}
		}
		t.blame(q, "%d of the nearest %d were found%s", found, expected, missing)
	}
	t.found += found
}

// off notes how far a score is from what it should be; what is no number is as
// far as can be.
func (t *trial) off(q query, h Hit, want float64) {
	d := math.Abs(h.Score - want)
	if d <= t.difference {
		return
	}
	t.difference = d
	t.wrongScore = fmt.Sprintf("searching for %s: %q has the score %.7f, not %.7f", q.name(), h.ID, h.Score, want)
}

func (t *trial) blame(q query, format string, args ...any) {
	if t.fault == "" {
		t.fault = "searching for " + q.name() + ": " + fmt.Sprintf(format, args...)
	}
}

func (q query) name() string {
	if q.perturbed {
		return fmt.Sprintf("a vector near %q", q.key)
	}
	return fmt.Sprintf("%q", q.key)
}
