package pipeline

import (
	"context"
	"fmt"
	"slices"
)

// leftAlone reports whether a record that the target holds is the one that was
// written there, as far as its digest tells. t has the source's columns; it may be
// nil.
func leftAlone[T Record](of *Summer, got T, known Known, t *Table) (bool, error) {
	if known.Doubt {
		return true, nil
	}
	sum, err := of.Of(alike(got, t))
	return sum == known.Sum, err
}

// alike gives a row of the target the columns of a table of the source, so that
// both have comparable sums.
func alike[T Record](got T, t *Table) Record {
	g, ok := any(got).(*Row)
	if !ok || t == nil {
		return got
	}
	out := &Row{Table: t, Values: make([]any, len(t.Columns))}
	for i, c := range t.Columns {
		if k := slices.Index(g.Table.Columns, c); k >= 0 {
			out.Values[i] = g.Values[k]
		}
	}
	return out
}

// differing gives the columns, as positions in a row's table, in which what the target
// holds is not that row; nil for other records.
func differing[T Record](want, got T) []int {
	w, ok := any(want).(*Row)
	if !ok {
		return nil
	}
	g := any(got).(*Row)
	var at []int
	for i, c := range w.Table.Columns {
		k := slices.Index(g.Table.Columns, c)
		if _, blob := w.Values[i].([]byte); k < 0 || blob || w.Values[i] != g.Values[k] {
			at = append(at, i)
		}
	}
	return at
}

// tableOf is a row's table, nil for other records.
func tableOf(r Record) *Table {
	if row, ok := r.(*Row); ok {
		return row.Table
	}
	return nil
}

// guards reports whether the target is looked at before something there is changed
// or removed.
func (s *syncer[T]) guards() bool { return s.Exact && !s.MayOverwrite && s.Target != nil }

// guard takes out of what is to be written those records that the target holds
// otherwise than the last pass left them there.
func (s *syncer[T]) guard(ctx context.Context, o *offered[T]) error {
	if !s.guards() {
		return nil
	}
	var keys []string
	for _, r := range slices.Concat(o.fresh, o.changed) {
		if known, ok := o.known[r.Key()]; ok && !known.Doubt {
			keys = append(keys, r.Key())
		}
	}
	if len(keys) == 0 {
		return nil
	}
	byKey, others := make(map[string]T, len(keys)), map[string]bool{}
	for _, r := range slices.Concat(o.fresh, o.changed) {
		byKey[r.Key()] = r
	}
	var of Summer
	o.differs = make(map[string][]int, len(keys))
	err := s.visit(ctx, o.unit, keys, func(key string, got T) error {
		r := byKey[key]
		if differs := differing(r, got); len(differs) > 0 {
			o.differs[key] = differs
		}
		ours, err := s.ours(ctx, &of, o.unit, key, o.known[key], got, tableOf(r))
		if ours || err != nil {
			return err
		}
		fields, err := s.Equal(ctx, o.unit, r, got)
		others[key] = len(fields) > 0
		return err
	})
	if err != nil {
		return err
	}
	theirs := func(r T) bool {
		if !others[r.Key()] {
			return false
		}
		s.conflict(o, r.Key())
		return true
	}
	o.fresh = slices.DeleteFunc(slices.Clone(o.fresh), theirs)
	o.changed = slices.DeleteFunc(slices.Clone(o.changed), theirs)
	return nil
}

// ours reports whether a record that the target holds is as the last pass left it.
func (s *syncer[T]) ours(ctx context.Context, of *Summer, u Unit, key string, known Known, got T, t *Table) (bool, error) {
	if known.Refused && !known.Doubt {
		return WasReplayed(ctx, s.Journal, u.ID(), key)
	}
	alone, err := leftAlone(of, got, known, t)
	if alone || err != nil {
		return alone, err
	}
	// The digest is that of before a reference to nothing was cleared.
	changes, err := s.Journal.Changed(ctx, u.ID(), key)
	return slices.ContainsFunc(changes, func(c Change) bool { return c.Reason == ParentCleared }), err
}

// conflict counts a record that is left as somebody else has written it.
func (s *syncer[T]) conflict(o *offered[T], key string) {
	if s.repeat { // was counted before
		return
	}
	o.count.Conflicts++
	if s.Conflict != nil {
		s.Conflict(Stray{Unit: o.unit.ID(), Key: key, Kind: StrayConflict})
	}
}

// table gives a table's columns as the transforms leave them, which a pass that has
// found nothing to write has to read a row for; nil where no row comes through.
func (s *syncer[T]) table(ctx context.Context, u Unit) (*Table, error) {
	s.mu.Lock()
	t := s.tables[u.ID()]
	s.mu.Unlock()
	if t != nil || u.Lane != Rows {
		return t, nil
	}
	err := s.Backoff.Do(ctx, func(int) error {
		for b, err := range s.Source.Read(ctx, Part{Unit: u}, "") {
			if err != nil {
				return fmt.Errorf("reading %s: %w", u.ID(), err)
			}
			if Apply(&b, s.Transforms, new(Count)); len(b.Records) > 0 {
				t = tableOf(b.Records[0])
				return nil
			}
		}
		return nil
	})
	if t != nil {
		s.mu.Lock()
		s.tables[u.ID()] = t
		s.mu.Unlock()
	}
	return t, err
}

// mine leaves out the keys whose records the target holds otherwise than the last
// pass left them there.
func (s *syncer[T]) mine(ctx context.Context, u Unit, keys []string) ([]string, error) {
	if !s.guards() || len(keys) == 0 {
		return keys, nil
	}
	known, err := s.Digests.Look(ctx, u.ID(), keys)
	if err != nil {
		return nil, err
	}
	table, err := s.table(ctx, u)
	if err != nil {
		return nil, err
	}
	others, of := map[string]bool{}, Summer{}
	err = s.visit(ctx, u, keys, func(key string, got T) error {
		k, ok := known[key]
		if !ok {
			return nil
		}
		ours, err := s.ours(ctx, &of, u, key, k, got, table)
		others[key] = !ours
		return err
	})
	if err != nil {
		return nil, err
	}
	o := newOffered[T](u)
	var out []string
	for _, key := range keys {
		if others[key] {
			s.conflict(o, key)
			continue
		}
		out = append(out, key)
	}
	s.note(u.ID(), o.count)
	return out, nil
}
