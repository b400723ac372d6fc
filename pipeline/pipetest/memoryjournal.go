package pipetest

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"sync"

	"outgrow/pipeline"
)

// MemoryState is what a journal in memory remembers. It outlives the
// [MemoryJournal]s opened on it, as a file outlives processes. The zero value
// is empty.
type MemoryState struct {
	mu       sync.Mutex
	begun    bool
	run      pipeline.Run
	epoch    int64
	changed  bool
	holder   *MemoryJournal
	parts    map[string][]pipeline.Progress
	units    []string
	refused  lines[pipeline.Refusal]
	changes  lines[pipeline.Change]
	marks    map[string]string
	accepted []pipeline.Reason
}

// lines are quarantine or ledger lines, in the order they came, once per key.
type lines[L any] struct {
	list []L
	at   map[[4]string]bool
}

func (l *lines[L]) add(key [4]string, line L) {
	if l.at == nil {
		l.at = map[[4]string]bool{}
	}
	if !l.at[key] {
		l.at[key] = true
		l.list = append(l.list, line)
	}
}

// Open gives a journal on the state. Any number may be open; only one holds
// the lock.
func (s *MemoryState) Open() *MemoryJournal { return &MemoryJournal{s: s} }

// Break takes the lock away from whoever holds it, as if that process had been
// cut off without noticing.
func (s *MemoryState) Break() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holder = nil
}

// MemoryJournal is a [pipeline.Journal] in memory. Its Complete is the mark
// "complete".
type MemoryJournal struct {
	s     *MemoryState
	epoch int64
}

var (
	_ pipeline.Journal = (*MemoryJournal)(nil)
	_ pipeline.Rebaser = (*MemoryJournal)(nil)
)

// Begin takes the lock and a new epoch.
func (j *MemoryJournal) Begin(_ context.Context, run pipeline.Run) (pipeline.Resumed, error) {
	s := j.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holder != nil && s.holder != j {
		return pipeline.Resumed{}, fmt.Errorf("beginning: %w", pipeline.ErrLocked)
	}
	if s.begun && (s.run.Source.Stable != run.Source.Stable || s.run.Target != run.Target) {
		return pipeline.Resumed{}, fmt.Errorf("beginning: %w", pipeline.ErrOtherPair)
	}
	fresh := !s.begun
	if fresh {
		s.begun, s.run = true, run
	}
	s.changed = s.changed || s.run.Source.State != run.Source.State
	s.holder = j
	s.epoch++
	j.epoch = s.epoch
	return pipeline.Resumed{Run: s.run, Epoch: s.epoch, Fresh: fresh, SourceChanged: s.changed, Complete: s.marks["complete"] != ""}, nil
}

// Rebase takes another state of the source for that of the start.
func (j *MemoryJournal) Rebase(_ context.Context, source pipeline.Identity) error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if err := j.mine(); err != nil {
		return err
	}
	j.s.run.Source, j.s.changed = source, false
	return nil
}

// mine checks the epoch; the caller holds the mutex.
func (j *MemoryJournal) mine() error {
	if j.epoch == 0 || j.epoch != j.s.epoch {
		return pipeline.ErrFenced
	}
	return nil
}

// Parts gives a unit's parts.
func (j *MemoryJournal) Parts(_ context.Context, unit pipeline.Unit) ([]pipeline.Progress, error) {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	return slices.Clone(j.s.parts[unit.ID()]), nil
}

// Fix fixes a unit's parts; repeating it with the same parts is harmless.
func (j *MemoryJournal) Fix(_ context.Context, unit pipeline.Unit, parts []pipeline.Part) error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if err := j.mine(); err != nil {
		return err
	}
	if have, ok := j.s.parts[unit.ID()]; ok {
		same := len(have) == len(parts)
		for i := 0; same && i < len(parts); i++ {
			same = reflect.DeepEqual(have[i].Part, parts[i])
		}
		if !same {
			return fmt.Errorf("fixing the parts of %s: they are fixed otherwise", unit.ID())
		}
		return nil
	}
	if j.s.parts == nil {
		j.s.parts = map[string][]pipeline.Progress{}
	}
	progress := make([]pipeline.Progress, len(parts))
	for i, p := range parts {
		progress[i] = pipeline.Progress{Part: p, At: p.From}
	}
	j.s.parts[unit.ID()] = progress
	j.s.units = append(j.s.units, unit.ID())
	return nil
}

// find gives the part's line; the caller holds the mutex.
func (s *MemoryState) find(part pipeline.Part) *pipeline.Progress {
	list := s.parts[part.Unit.ID()]
	for i := range list {
		if list[i].Part.N == part.N {
			return &list[i]
		}
	}
	return nil
}

// check tells whether the step may be taken; the caller holds the mutex.
func (j *MemoryJournal) check(step pipeline.Step) error {
	if err := j.mine(); err != nil {
		return err
	}
	if p := j.s.find(step.Part); p == nil || p.At != step.Prev {
		return pipeline.ErrFenced
	}
	return nil
}

// apply takes a checked step; the caller holds the mutex.
func (j *MemoryJournal) apply(step pipeline.Step) {
	p := j.s.find(step.Part)
	p.At = step.Next
	p.Written += int64(step.Written)
	p.Refused += int64(len(step.Refused))
	p.Bytes += step.Bytes
	j.s.addLines(step.Refused, step.Changed)
}

// Advance moves a cursor by compare-and-set.
func (j *MemoryJournal) Advance(ctx context.Context, step pipeline.Step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if err := j.check(step); err != nil {
		return fmt.Errorf("advancing %s: %w", step.Part.Unit.ID(), err)
	}
	j.apply(step)
	return nil
}

// FinishPart marks a part as done.
func (j *MemoryJournal) FinishPart(_ context.Context, part pipeline.Part) error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if err := j.mine(); err != nil {
		return err
	}
	p := j.s.find(part)
	if p == nil {
		return fmt.Errorf("finishing part %d of %s: not fixed", part.N, part.Unit.ID())
	}
	p.Done = true
	return nil
}

// All lists every part.
func (j *MemoryJournal) All(context.Context) ([]pipeline.Progress, error) {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	var out []pipeline.Progress
	for _, u := range j.s.units {
		out = append(out, j.s.parts[u]...)
	}
	return out, nil
}

// Mark keeps a named fact.
func (j *MemoryJournal) Mark(_ context.Context, name, value string) error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if j.s.marks == nil {
		j.s.marks = map[string]string{}
	}
	if j.s.marks[name] = value; value == "" {
		delete(j.s.marks, name)
	}
	return nil
}

// Marked gives the named facts.
func (j *MemoryJournal) Marked(context.Context) (map[string]string, error) {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	out := map[string]string{}
	for k, v := range j.s.marks {
		out[k] = v
	}
	return out, nil
}

// AddLines stores lines outside any batch.
func (j *MemoryJournal) AddLines(_ context.Context, refused []pipeline.Refusal, changed []pipeline.Change) error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	j.s.addLines(refused, changed)
	return nil
}

func refusalKey(r pipeline.Refusal) [4]string {
	return [4]string{r.Unit, r.Key, r.Column, string(r.Reason)}
}

func changeKey(c pipeline.Change) [4]string {
	return [4]string{c.Unit, c.Key, c.Column, string(c.Reason)}
}

func (s *MemoryState) addLines(refused []pipeline.Refusal, changed []pipeline.Change) {
	for _, r := range refused {
		s.refused.add(refusalKey(r), r)
	}
	for _, c := range changed {
		s.changes.add(changeKey(c), c)
	}
}

func pick[L any](s *MemoryState, l *lines[L], want func(L) bool) []L {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []L
	for _, line := range l.list {
		if want(line) {
			out = append(out, line)
		}
	}
	return out
}

func each[L any](ctx context.Context, list func() []L) iter.Seq2[L, error] {
	return func(yield func(L, error) bool) {
		for _, l := range list() {
			if err := ctx.Err(); err != nil {
				var none L
				yield(none, err)
				return
			}
			if !yield(l, nil) {
				return
			}
		}
	}
}

// Refusals lists the quarantine.
func (j *MemoryJournal) Refusals(ctx context.Context, unit string) iter.Seq2[pipeline.Refusal, error] {
	return each(ctx, func() []pipeline.Refusal {
		return pick(j.s, &j.s.refused, func(r pipeline.Refusal) bool { return unit == "" || r.Unit == unit })
	})
}

// Refused looks one key up in the quarantine.
func (j *MemoryJournal) Refused(_ context.Context, unit, key string) ([]pipeline.Refusal, error) {
	return pick(j.s, &j.s.refused, func(r pipeline.Refusal) bool { return r.Unit == unit && r.Key == key }), nil
}

// Changes lists the ledger.
func (j *MemoryJournal) Changes(ctx context.Context, unit string) iter.Seq2[pipeline.Change, error] {
	return each(ctx, func() []pipeline.Change {
		return pick(j.s, &j.s.changes, func(c pipeline.Change) bool { return unit == "" || c.Unit == unit })
	})
}

// Changed looks one key up in the ledger.
func (j *MemoryJournal) Changed(_ context.Context, unit, key string) ([]pipeline.Change, error) {
	return pick(j.s, &j.s.changes, func(c pipeline.Change) bool { return c.Unit == unit && c.Key == key }), nil
}

// Release takes keys out of the quarantine.
func (j *MemoryJournal) Release(_ context.Context, unit string, keys []string) error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	j.s.release(unit, keys)
	return nil
}

func (s *MemoryState) release(unit string, keys []string) {
	kept := lines[pipeline.Refusal]{}
	for _, r := range s.refused.list {
		if r.Unit != unit || !slices.Contains(keys, r.Key) {
			kept.add(refusalKey(r), r)
		}
	}
	s.refused = kept
}

// Tallies counts refused records (not lines) and changes by unit and reason.
func (j *MemoryJournal) Tallies(context.Context) (refused, changed []pipeline.Tally, err error) {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	seen := map[[4]string]bool{}
	for _, r := range j.s.refused.list {
		k := [4]string{r.Unit, r.Key, "", string(r.Reason)}
		if !seen[k] {
			seen[k] = true
			refused = tally(refused, r.Unit, r.Reason, slices.Contains(j.s.accepted, r.Reason))
		}
	}
	for _, c := range j.s.changes.list {
		changed = tally(changed, c.Unit, c.Reason, false)
	}
	return sortTallies(refused), sortTallies(changed), nil
}

func tally(list []pipeline.Tally, unit string, reason pipeline.Reason, accepted bool) []pipeline.Tally {
	for i := range list {
		if list[i].Unit == unit && list[i].Reason == reason {
			list[i].Count++
			return list
		}
	}
	return append(list, pipeline.Tally{Unit: unit, Reason: reason, Count: 1, Accepted: accepted})
}

func sortTallies(list []pipeline.Tally) []pipeline.Tally {
	slices.SortFunc(list, func(a, b pipeline.Tally) int {
		if c := strings.Compare(a.Unit, b.Unit); c != 0 {
			return c
		}
		return strings.Compare(string(a.Reason), string(b.Reason))
	})
	return list
}

// Accept records consent.
func (j *MemoryJournal) Accept(_ context.Context, reasons []pipeline.Reason) error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	for _, r := range reasons {
		if !slices.Contains(j.s.accepted, r) {
			j.s.accepted = append(j.s.accepted, r)
		}
	}
	return nil
}

// Accepted lists the reasons accepted so far, sorted.
func (j *MemoryJournal) Accepted(context.Context) ([]pipeline.Reason, error) {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	out := slices.Clone(j.s.accepted)
	slices.Sort(out)
	return out, nil
}

// Close releases the lock.
func (j *MemoryJournal) Close() error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if j.s.holder == j {
		j.s.holder = nil
	}
	return nil
}
