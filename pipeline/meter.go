package pipeline

import (
	"sync"
	"sync/atomic"
	"time"
)

// Meter holds the counters of a run. Workers add to them, a display reads them
// whenever it likes. A nil *Meter counts nothing.
type Meter struct {
	mu      sync.Mutex
	units   []*Count
	index   map[string]*Count
	steps   map[Lane]string
	stages  stages
	batches map[Lane]*Durations
}

// Count is the counters of one unit.
type Count struct {
	Unit                                   Unit
	Read, Written, Refused, Changed, Bytes atomic.Int64
	Largest                                atomic.Int64 // bytes of the largest record
	// Before, BeforeRefused and BeforeBytes are those of Read, Refused and Bytes
	// that an earlier process has moved.
	Before, BeforeRefused, BeforeBytes atomic.Int64
	// Stored are records that the target took from this process, Retried reads
	// and writes that were made again after a transient error.
	Stored, Retried atomic.Int64
	started, ended  atomic.Int64 // unix nanoseconds
	batches         *Durations   // of the unit's lane, nil for nobody who asks
}

// Unit gives the unit's counters, made at the first call.
func (m *Meter) Unit(u Unit) *Count {
	if m == nil {
		return &Count{Unit: u}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.index[u.ID()]; ok {
		return c
	}
	if m.index == nil {
		m.index = map[string]*Count{}
	}
	c := &Count{Unit: u, batches: m.durations(u.Lane)}
	m.index[u.ID()] = c
	m.units = append(m.units, c)
	return c
}

// Units lists the counters in the order they were made.
func (m *Meter) Units() []*Count {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*Count(nil), m.units...)
}

// Step says what a lane is doing when it is not moving records.
func (m *Meter) Step(l Lane, what string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.steps == nil {
		m.steps = map[Lane]string{}
	}
	m.steps[l] = what
	m.stages.next(l, what, time.Now())
}

// Doing is what Step was last told for a lane.
func (m *Meter) Doing(l Lane) string {
	if m == nil {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.steps[l]
}

// Begin notes when work on the unit began; only the first call counts.
func (c *Count) Begin() { c.started.CompareAndSwap(0, time.Now().UnixNano()) }

// End notes when the unit was done.
func (c *Count) End() { c.ended.Store(time.Now().UnixNano()) }

// Done reports whether the unit was done in this process.
func (c *Count) Done() bool { return c.ended.Load() != 0 }

// Elapsed is the time from the first Begin to End, or to now.
func (c *Count) Elapsed() time.Duration {
	from, to := c.started.Load(), c.ended.Load()
	if from == 0 {
		return 0
	}
	if to == 0 {
		to = time.Now().UnixNano()
	}
	return time.Duration(to - from)
}

// Times are the first Begin and the End, zero for what was not yet.
func (c *Count) Times() (from, to time.Time) {
	at := func(nanos int64) time.Time {
		if nanos == 0 {
			return time.Time{}
		}
		return time.Unix(0, nanos)
	}
	return at(c.started.Load()), at(c.ended.Load())
}

// batch notes how long a batch took.
func (c *Count) batch(took time.Duration) { c.batches.add(took) }

// again notes a read or write that is made once more: attempt is above 0.
func (c *Count) again(attempt int) {
	if attempt > 0 {
		c.Retried.Add(1)
	}
}

func (c *Count) largest(n int) {
	for {
		old := c.Largest.Load()
		if int64(n) <= old || c.Largest.CompareAndSwap(old, int64(n)) {
			return
		}
	}
}
