package pipeline

import (
	"slices"
	"sync/atomic"
	"time"
)

// DurationBounds are the upper bounds of the buckets of [Durations], in seconds;
// what is longer is in one more.
func DurationBounds() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
}

const durationBuckets = 14

// Durations counts how long batches took: to be written and noted, or, where a
// lane is only read, to be compared. Nil counts nothing.
type Durations struct {
	buckets [durationBuckets]atomic.Int64
	nanos   atomic.Int64
}

func (d *Durations) add(took time.Duration) {
	if d == nil {
		return
	}
	at, _ := slices.BinarySearch(DurationBounds(), took.Seconds())
	d.buckets[at].Add(1)
	d.nanos.Add(int64(took))
}

// Read gives the counts by bucket, and the sum of all durations.
func (d *Durations) Read() (counts []int64, sum time.Duration) {
	counts = make([]int64, durationBuckets)
	if d == nil {
		return counts, 0
	}
	for i := range d.buckets {
		counts[i] = d.buckets[i].Load()
	}
	return counts, time.Duration(d.nanos.Load())
}

// Batches gives the durations of a lane's batches, nil where there were none.
func (m *Meter) Batches(l Lane) *Durations {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.batches[l]
}

// durations are those of a lane, made at the first call. The caller holds the
// lock.
func (m *Meter) durations(l Lane) *Durations {
	if m.batches == nil {
		m.batches = map[Lane]*Durations{}
	}
	if m.batches[l] == nil {
		m.batches[l] = &Durations{}
	}
	return m.batches[l]
}
