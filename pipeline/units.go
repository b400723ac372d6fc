package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// apart are units that a run has written and that are not among those it works on
// now.
type apart struct {
	gone    []Unit          // the source does not have them any more
	without []Unit          // the source has them, and the target no place for them any more
	written map[string]bool // all units of the journal
}

// apartFrom sorts the units of the journal, and those named, that are not in units.
// Folders that the source still has were not asked for this time: they are in neither
// list.
func apartFrom[T Record](ctx context.Context, source Source[T], journal Journal, units []Unit, named ...string) (apart, error) {
	a := apart{written: map[string]bool{}}
	seen := map[string]bool{}
	for _, u := range units {
		seen[u.ID()] = true
	}
	var out []Unit
	add := func(u Unit) {
		if !seen[u.ID()] {
			seen[u.ID()] = true
			out = append(out, u)
		}
	}
	for _, id := range named {
		add(UnitOf(id))
	}
	parts, err := journal.All(ctx)
	if err != nil {
		return a, err
	}
	for _, p := range parts {
		a.written[p.Part.Unit.ID()] = true
		add(UnitOf(p.Part.Unit.ID()))
	}
	if len(out) == 0 {
		return a, nil
	}
	listed, err := source.Units(ctx)
	if err != nil {
		return a, fmt.Errorf("listing the source: %w", err)
	}
	has := map[string]Unit{}
	for _, u := range listed {
		has[u.ID()] = u
	}
	for _, u := range out {
		if have, ok := has[u.ID()]; ok {
			a.without = append(a.without, have)
			continue
		}
		if u.Lane == Files {
			n, err := countOf(ctx, source, u)
			if err != nil {
				return a, fmt.Errorf("counting %s in the source: %w", u.ID(), err)
			}
			if n > 0 {
				continue
			}
		}
		a.gone = append(a.gone, u)
	}
	return a, nil
}

// countOf counts a unit's records; 0 where side cannot, or lists no such table.
func countOf(ctx context.Context, side any, u Unit) (int64, error) {
	c, ok := side.(Counter)
	if !ok {
		return 0, nil
	}
	if l, ok := side.(interface {
		Units(ctx context.Context) ([]Unit, error)
	}); ok && u.Lane == Rows {
		units, err := l.Units(ctx)
		if err != nil || !slices.ContainsFunc(units, func(have Unit) bool { return have.ID() == u.ID() }) {
			return 0, err
		}
	}
	n, err := c.Count(ctx, u)
	if errors.Is(err, errors.ErrUnsupported) {
		return 0, nil
	}
	return n, err
}
