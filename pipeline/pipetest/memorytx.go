package pipetest

import (
	"context"
	"fmt"

	"outgrow/pipeline"
)

// MemoryTx is a [Memory] sink that commits a batch together with its cursor
// and lines in a [MemoryState], as a database does: the transactional twin.
type MemoryTx[R pipeline.Record] struct {
	*Memory[R]
	journal *MemoryJournal
}

var (
	_ pipeline.Transactional         = (*MemoryTx[*pipeline.Row])(nil)
	_ pipeline.Putter[*pipeline.Row] = (*MemoryTx[*pipeline.Row])(nil)
)

// NewMemoryTx opens the lane and its state together, as one process would.
func NewMemoryTx[R pipeline.Record](m *Memory[R], s *MemoryState) *MemoryTx[R] {
	return &MemoryTx[R]{Memory: m, journal: s.Open()}
}

// Journal is the journal that Write commits to.
func (m *MemoryTx[R]) Journal() pipeline.Journal { return m.journal }

// Write commits records, cursor and lines at once, or nothing.
func (m *MemoryTx[R]) Write(ctx context.Context, batch pipeline.Batch[R]) (pipeline.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return pipeline.Outcome{}, err
	}
	m.journal.s.mu.Lock()
	defer m.journal.s.mu.Unlock()
	step := pipeline.Step{Part: batch.Part, Prev: batch.Prev, Next: batch.Next, Bytes: batch.Bytes}
	if err := m.journal.check(step); err != nil {
		return pipeline.Outcome{}, fmt.Errorf("writing %s: %w", batch.Part.Unit.ID(), err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.upsert(batch)
	step.Written = out.Written
	step.Refused = append(append(step.Refused, batch.Refused...), out.Refused...)
	step.Changed = append(append(step.Changed, batch.Changed...), out.Changed...)
	m.journal.apply(step)
	return out, nil
}

// Put upserts records outside any part and takes what was taken out of the
// quarantine.
func (m *MemoryTx[R]) Put(ctx context.Context, unit pipeline.Unit, records []R) (pipeline.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return pipeline.Outcome{}, err
	}
	s := m.journal.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := m.journal.mine(); err != nil {
		return pipeline.Outcome{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.upsert(pipeline.Batch[R]{Part: pipeline.Part{Unit: unit}, Records: records})
	no := map[string]bool{}
	for _, r := range out.Refused {
		no[r.Key] = true
	}
	var put []string
	for _, r := range records {
		if k := r.Key(); !no[k] {
			put = append(put, k)
			s.addLines(nil, []pipeline.Change{{Unit: unit.ID(), Key: k, Reason: pipeline.Replayed}})
		}
	}
	s.release(unit.ID(), put)
	return out, nil
}
