package pipeline

import "math"

// Nearest ranks vectors, which it sees one after the other and does not keep, by
// their cosine to queries: what makes a [Searcher] of a reader whose store has no
// search of its own. It holds the queries and their best hits.
type Nearest struct {
	queries []query
	best    []ranking
	wide    []float64
}

// NewNearest looks for the k best hits of each query.
func NewNearest(queries [][]float32, k int) *Nearest {
	n := &Nearest{queries: make([]query, len(queries)), best: make([]ranking, len(queries))}
	for i, q := range queries {
		n.queries[i], n.best[i].keep = queryOf(q), k
	}
	return n
}

// Add looks at one vector. One without a length, or that is no number, is near to
// nothing. A record that is seen again counts once.
func (n *Nearest) Add(id string, vector []float32) {
	n.wide = widen(n.wide, vector)
	l := math.Sqrt(dot(n.wide, n.wide))
	if l == 0 || l-l != 0 {
		return
	}
	for i := range n.queries {
		if score := n.queries[i].score(n.wide, l); !math.IsNaN(score) {
			n.best[i].add(Hit{ID: id, Score: score})
		}
	}
}

// Hits gives the best of what was seen by query, the nearest first.
func (n *Nearest) Hits() [][]Hit {
	out := make([][]Hit, len(n.best))
	for i := range n.best {
		out[i] = n.best[i].hits
	}
	return out
}
