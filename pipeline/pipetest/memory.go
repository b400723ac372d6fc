package pipetest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strconv"
	"sync"

	"outgrow/pipeline"
)

// Memory is one lane of a deployment in memory: a [pipeline.Source] and a
// [pipeline.Sink] that upserts by key. It outlives its Close, so opening it
// again after a crash is using it again. It is safe for concurrent use. Records
// are shared, not copied.
type Memory[R pipeline.Record] struct {
	// Refuse, when set, says why the sink cannot hold a record; a nil result
	// takes it.
	Refuse func(pipeline.Unit, R) *pipeline.Refusal

	mu     sync.RWMutex
	limits pipeline.Limits
	units  []pipeline.Unit
	data   map[string]*shelf[R]
	state  int // changes with the content
}

// shelf is a unit's records, sorted by key.
type shelf[R pipeline.Record] struct {
	keys    []string
	records map[string]R
}

var (
	_ pipeline.Source[*pipeline.Row]   = (*Memory[*pipeline.Row])(nil)
	_ pipeline.Sink[*pipeline.Row]     = (*Memory[*pipeline.Row])(nil)
	_ pipeline.Getter[*pipeline.Row]   = (*Memory[*pipeline.Row])(nil)
	_ pipeline.Splitter                = (*Memory[*pipeline.Row])(nil)
	_ pipeline.Counter                 = (*Memory[*pipeline.Row])(nil)
	_ pipeline.KeyLister               = (*Memory[*pipeline.Row])(nil)
	_ pipeline.Deleter                 = (*Memory[*pipeline.Row])(nil)
	_ pipeline.Upserter[*pipeline.Row] = (*Memory[*pipeline.Row])(nil)
	_ pipeline.Dropper                 = (*Memory[*pipeline.Row])(nil)
	_ pipeline.Identifier              = (*Memory[*pipeline.Row])(nil)
)

// NewMemory fills a lane. Zero limits mean 100 records and 1 MiB a batch.
func NewMemory[R pipeline.Record](limits pipeline.Limits, content ...Expected[R]) *Memory[R] {
	m := &Memory[R]{limits: limits.WithDefaults(100, 1<<20), data: map[string]*shelf[R]{}}
	for _, e := range content {
		m.shelf(e.Unit)
		for _, r := range e.Records {
			m.put(e.Unit, r)
		}
	}
	return m
}

// WithLimits gives the same lane, read in batches of other limits.
func (m *Memory[R]) WithLimits(limits pipeline.Limits) *Memory[R] {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := NewMemory[R](limits)
	for _, u := range m.units {
		c.shelf(u)
		for _, r := range m.data[u.ID()].records {
			c.put(u, r)
		}
	}
	return c
}

func (m *Memory[R]) shelf(u pipeline.Unit) *shelf[R] {
	s, ok := m.data[u.ID()]
	if !ok {
		s = &shelf[R]{records: map[string]R{}}
		m.data[u.ID()] = s
		m.units = append(m.units, u)
	}
	return s
}

func (m *Memory[R]) put(u pipeline.Unit, r R) {
	s := m.shelf(u)
	k := r.Key()
	if i, found := slices.BinarySearch(s.keys, k); !found {
		s.keys = slices.Insert(s.keys, i, k)
	}
	s.records[k] = r
	m.state++
}

// Units lists the units in the order they were made, with exact figures.
func (m *Memory[R]) Units(ctx context.Context) ([]pipeline.Unit, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := slices.Clone(m.units)
	for i, u := range out {
		s := m.data[u.ID()]
		out[i].Records, out[i].Bytes = int64(len(s.keys)), 0
		for _, r := range s.records {
			out[i].Bytes += int64(r.Size())
		}
	}
	return out, nil
}

// A cursor is "k" and the last key before it: never "", whatever the key.
func memoryCursor(key string) pipeline.Cursor { return pipeline.Cursor("k" + key) }

// after finds the first position beyond the cursor.
func (s *shelf[R]) after(c pipeline.Cursor) int {
	if c == "" {
		return 0
	}
	return sort.Search(len(s.keys), func(i int) bool { return s.keys[i] > string(c[1:]) })
}

// Read yields the part in the order of the keys.
func (m *Memory[R]) Read(ctx context.Context, part pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[R], error] {
	return func(yield func(pipeline.Batch[R], error) bool) {
		if after == "" {
			after = part.From
		}
		for {
			if err := ctx.Err(); err != nil {
				yield(pipeline.Batch[R]{}, err)
				return
			}
			b, err := m.batch(part, after)
			if err != nil {
				yield(b, err)
				return
			}
			if len(b.Records) == 0 || !yield(b, nil) {
				return
			}
			after = b.Next
		}
	}
}

func (m *Memory[R]) batch(part pipeline.Part, after pipeline.Cursor) (pipeline.Batch[R], error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	b := pipeline.Batch[R]{Part: part, Prev: after, Next: after}
	s, ok := m.data[part.Unit.ID()]
	if !ok {
		return b, fmt.Errorf("reading %s: no such unit", part.Unit.ID())
	}
	end := len(s.keys)
	if part.To != "" {
		end = s.after(part.To)
	}
	for i := s.after(after); i < end && len(b.Records) < m.limits.Records && b.Bytes < m.limits.Bytes; i++ {
		r := s.records[s.keys[i]]
		b.Records = append(b.Records, r)
		b.Bytes += int64(r.Size())
		b.Next = memoryCursor(s.keys[i])
	}
	b.Read = len(b.Records)
	return b, nil
}

// Split cuts the unit into up to n parts of about as many records each.
func (m *Memory[R]) Split(_ context.Context, unit pipeline.Unit, n int) ([]pipeline.Part, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s, ok := m.data[unit.ID()]
	if !ok {
		return nil, fmt.Errorf("cutting %s: no such unit", unit.ID())
	}
	n = max(1, min(n, len(s.keys)))
	parts := make([]pipeline.Part, n)
	var from pipeline.Cursor
	for i := range parts {
		parts[i] = pipeline.Part{Unit: unit, N: i, From: from}
		if i < n-1 {
			parts[i].To = memoryCursor(s.keys[(i+1)*len(s.keys)/n-1])
		}
		from = parts[i].To
	}
	return parts, nil
}

// Count counts a unit's records; a unit that is not there has none.
func (m *Memory[R]) Count(_ context.Context, unit pipeline.Unit) (int64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s, ok := m.data[unit.ID()]
	if !ok {
		return 0, nil
	}
	return int64(len(s.keys)), nil
}

// Get fetches records by key.
func (m *Memory[R]) Get(_ context.Context, unit pipeline.Unit, keys []string) (map[string]R, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := map[string]R{}
	if s, ok := m.data[unit.ID()]; ok {
		for _, k := range keys {
			if r, ok := s.records[k]; ok {
				out[k] = r
			}
		}
	}
	return out, nil
}

// Keys lists a unit's keys as they are when the iteration starts.
func (m *Memory[R]) Keys(ctx context.Context, unit pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		m.mu.RLock()
		var keys []string
		if s, ok := m.data[unit.ID()]; ok {
			keys = slices.Clone(s.keys)
		}
		m.mu.RUnlock()
		for _, k := range keys {
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			if !yield(k, nil) {
				return
			}
		}
	}
}

// Identity changes its State with every write.
func (m *Memory[R]) Identity(context.Context) (pipeline.Identity, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return pipeline.Identity{Stable: "memory", State: strconv.Itoa(m.state)}, nil
}

// Prepare makes the unit.
func (m *Memory[R]) Prepare(ctx context.Context, unit pipeline.Unit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shelf(unit)
	return ctx.Err()
}

// Write upserts the batch.
func (m *Memory[R]) Write(ctx context.Context, batch pipeline.Batch[R]) (pipeline.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return pipeline.Outcome{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.upsert(batch), nil
}

func (m *Memory[R]) upsert(batch pipeline.Batch[R]) pipeline.Outcome {
	var out pipeline.Outcome
	for _, r := range batch.Records {
		if m.Refuse != nil {
			if no := m.Refuse(batch.Part.Unit, r); no != nil {
				out.Refused = append(out.Refused, *no)
				continue
			}
		}
		m.put(batch.Part.Unit, r)
		out.Written++
	}
	return out
}

// Upsert is Write outside any part.
func (m *Memory[R]) Upsert(ctx context.Context, unit pipeline.Unit, records []R, _ pipeline.Upsert) (pipeline.Outcome, error) {
	return m.Write(ctx, pipeline.Batch[R]{Part: pipeline.Part{Unit: unit}, Records: records})
}

// Drop removes the unit.
func (m *Memory[R]) Drop(_ context.Context, unit pipeline.Unit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.data[unit.ID()]; ok {
		delete(m.data, unit.ID())
		m.units = slices.DeleteFunc(m.units, func(u pipeline.Unit) bool { return u.ID() == unit.ID() })
		m.state++
	}
	return nil
}

// Delete removes records by key.
func (m *Memory[R]) Delete(_ context.Context, unit pipeline.Unit, keys []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.shelf(unit)
	for _, k := range keys {
		if i, found := slices.BinarySearch(s.keys, k); found {
			s.keys = slices.Delete(s.keys, i, i+1)
			delete(s.records, k)
			m.state++
		}
	}
	return nil
}

// Close does nothing: the content stays.
func (m *Memory[R]) Close() error { return nil }
