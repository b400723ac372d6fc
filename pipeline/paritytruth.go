package pipeline

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
)

// maxZeros is how many vectors of length zero a collection may have: where a
// store ranks them is its own affair, so their ids are kept.
const maxZeros = 10_000

// sample keeps the records whose keys have the smallest hashes: the same ones
// in whatever order and however often they are read.
type sample struct {
	size int
	seed uint64

	mu   sync.Mutex
	best []sampled // by hash
}

type sampled struct {
	hash uint64
	*Vector
}

func (s *sample) add(u Unit, records []*Vector) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range records {
		c := sampled{hashOf(s.seed, u.Name, v.ID), v}
		if len(s.best) == s.size && c.hash >= s.best[s.size-1].hash {
			continue
		}
		i, again := slices.BinarySearchFunc(s.best, c, func(a, b sampled) int {
			return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.ID, b.ID))
		})
		if n := length(v.Embedding); again || n == 0 || n-n != 0 {
			continue
		}
		// Nothing but what a query needs is held.
		c.Vector = &Vector{ID: v.ID, Embedding: v.Embedding}
		s.best = slices.Insert(s.best, i, c)
		s.best = s.best[:min(len(s.best), s.size)]
	}
}

// hashOf is FNV-1a with its bits mixed once more, as it hardly moves the upper
// ones by the end of a key.
func hashOf(seed uint64, unit, key string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, seed))
	_, _ = h.Write([]byte(unit + KeySeparator + key))
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}

// query is one search: a vector as it is sent, its key in the source, and the
// same vector and its length in double precision.
type query struct {
	key       string
	perturbed bool
	vector    []float32
	wide      []float64
	length    float64
}

// queries makes them of the sample: unit vectors, each once as it is and once
// with noise of half its length.
func (p *Parity) queries(ctx context.Context, u Unit, s *sample) ([]query, error) {
	var stored, noisy []query
	for _, v := range s.best {
		if out, err := p.outside(ctx, u, v.ID); err != nil {
			return nil, err
		} else if out {
			continue
		}
		n := length(v.Embedding)
		wide, noise := make([]float64, len(v.Embedding)), make([]float64, len(v.Embedding))
		r := rand.New(rand.NewPCG(v.hash, p.cfg.Seed))
		var sum float64
		for i, f := range v.Embedding {
			wide[i], noise[i] = float64(f)/n, r.NormFloat64()
			sum += noise[i] * noise[i]
		}
		stored = append(stored, newQuery(v.ID, false, wide))
		for i := range noise {
			noise[i] = wide[i] + noise[i]*0.5/math.Sqrt(sum)
		}
		noisy = append(noisy, newQuery(v.ID, true, noise))
	}
	return append(stored, noisy[:min(len(noisy), p.cfg.Searches/2)]...), nil
}

// newQuery rounds to what is sent; the exact hits are those of the rounded
// vector.
func newQuery(key string, perturbed bool, wide []float64) query {
	vector := make([]float32, len(wide))
	for i, f := range wide {
		vector[i] = float32(f)
	}
	q := queryOf(vector)
	q.key, q.perturbed = key, perturbed
	return q
}

func queryOf(vector []float32) query {
	return query{vector: vector, wide: widen(nil, vector), length: length(vector)}
}

// score is that of a vector of length n by cosine, as Open WebUI gives it to the
// application; it is no number where one of both has no length.
func (q *query) score(wide []float64, n float64) float64 {
	return (1 + dot(q.wide, wide)/(n*q.length)) / 2
}

// widen gives a vector in double precision; buf is for reuse.
func widen(buf []float64, v []float32) []float64 {
	buf = buf[:0]
	for _, f := range v {
		buf = append(buf, float64(f))
	}
	return buf
}

func length(v []float32) float64 {
	var sum float64
	for _, f := range v {
		sum += float64(f) * float64(f)
	}
	return math.Sqrt(sum)
}

// dot sums in double precision; what one vector has beyond the other's end is
// padding.
func dot(q, v []float64) float64 {
	n := min(len(q), len(v))
	q, v = q[:n], v[:n]
	var a, b, c, d float64
	i := 0
	for ; i+4 <= n; i += 4 {
		a += q[i] * v[i]
		b += q[i+1] * v[i+1]
		c += q[i+2] * v[i+2]
		d += q[i+3] * v[i+3]
	}
	for ; i < n; i++ {
		a += q[i] * v[i]
	}
	return a + b + c + d
}

// truth is what an exact search over the source finds.
type truth struct {
	best    []ranking // by query
	zeros   map[string]bool
	tooMany bool
}

// ranking is the nearest records of one query, the nearest first; twice as many
// as a search asks for, so that ties at its end can be told.
type ranking struct {
	keep int
	hits []Hit
}

func (r *ranking) full() bool { return len(r.hits) == r.keep }

func (r *ranking) wants(score float64) bool {
	return !r.full() || score > r.hits[len(r.hits)-1].Score
}

// add takes a hit once, however often its batch is read.
func (r *ranking) add(h Hit) {
	if !r.wants(h.Score) || slices.ContainsFunc(r.hits, func(o Hit) bool { return o.ID == h.ID }) {
		return
	}
	i, _ := slices.BinarySearchFunc(r.hits, h, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
	})
	r.hits = slices.Insert(r.hits, i, h)
	r.hits = r.hits[:min(len(r.hits), r.keep)]
}

// exact reads the collection again and ranks every record for every query.
func (p *Parity) exact(ctx context.Context, u Unit, queries []query) (*truth, error) {
	t := &truth{best: make([]ranking, len(queries)), zeros: map[string]bool{}}
	for i := range t.best {
		t.best[i].keep = 2 * p.cfg.K
	}
	var mu sync.Mutex
	err := Scan(ctx, Survey[*Vector]{Source: p.cfg.Source, Transforms: p.cfg.Transforms, Units: []Unit{u}, Workers: p.cfg.Workers, Backoff: p.cfg.Backoff,
		Handle: func(ctx context.Context, b Batch[*Vector]) error {
			scores, wide := make([]float64, len(queries)), []float64(nil)
			for _, v := range b.Records {
				wide = widen(wide, v.Embedding)
				n := math.Sqrt(dot(wide, wide))
				for i := range queries {
					scores[i] = queries[i].score(wide, n)
				}
				if err := p.rank(ctx, u, t, &mu, v.ID, n, scores); err != nil {
					return err
				}
			}
			return nil
		}})
	return t, err
}

func (p *Parity) rank(ctx context.Context, u Unit, t *truth, mu *sync.Mutex, id string, n float64, scores []float64) error {
	mu.Lock()
	defer mu.Unlock()
	wanted := false
	for i := range scores {
		wanted = wanted || t.best[i].wants(scores[i])
	}
	switch {
	case n-n != 0: // not a number: no store ranks it
		return nil
	case n == 0:
		if t.tooMany = t.tooMany || len(t.zeros) >= maxZeros && !t.zeros[id]; !t.tooMany {
			t.zeros[id] = true
		}
		return nil
	case !wanted:
		return nil
	}
	if out, err := p.outside(ctx, u, id); out || err != nil {
		return err
	}
	for i, score := range scores {
		t.best[i].add(Hit{ID: id, Score: score})
	}
	return nil
}

// outside reports whether a record of the source need not be on the target, or
// not as the source has it.
func (p *Parity) outside(ctx context.Context, u Unit, key string) (bool, error) {
	if some, err := p.hasLines(ctx, u); !some || err != nil {
		return false, err
	}
	if refused, err := p.cfg.Journal.Refused(ctx, u.ID(), key); len(refused) > 0 || err != nil {
		return true, err
	}
	return p.replayed(ctx, u, key)
}

func (p *Parity) replayed(ctx context.Context, u Unit, key string) (bool, error) {
	changed, err := p.cfg.Journal.Changed(ctx, u.ID(), key)
	return slices.ContainsFunc(changed, func(c Change) bool { return c.Reason == Replayed }), err
}

func (p *Parity) replayedHit(ctx context.Context, u Unit, h Hit, r ranking) (bool, error) {
	if some, err := p.hasLines(ctx, u); !some || err != nil {
		return false, err
	}
	if slices.ContainsFunc(r.hits, func(o Hit) bool { return o.ID == h.ID }) {
		return false, nil
	}
	return p.replayed(ctx, u, h.ID)
}

// hasLines spares looking keys up where the journal has nothing of the unit.
func (p *Parity) hasLines(ctx context.Context, u Unit) (bool, error) {
	if p.cfg.Journal == nil {
		return false, nil
	}
	p.linesOnce.Do(func() {
		refused, changed, err := p.cfg.Journal.Tallies(ctx)
		p.lines, p.linesErr = map[string]bool{}, err
		for _, t := range refused {
			p.lines[t.Unit] = true
		}
		for _, t := range changed {
			if t.Reason == Replayed {
				p.lines[t.Unit] = true
			}
		}
	})
	return p.lines[u.ID()], p.linesErr
}
