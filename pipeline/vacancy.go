package pipeline

import (
	"context"
	"fmt"
	"strings"
)

// vacantMark names the journal's mark of a unit that was vacant when the run began.
const vacantMark = "vacant/"

// vacancies reads which units were vacant when the run began.
func (c *copier[T]) vacancies(ctx context.Context) error {
	c.vacant = map[string]bool{}
	if _, ok := c.Sink.(Vacancy); !ok || c.Digests == nil {
		return nil
	}
	marks, err := c.journal.Marked(ctx)
	for name := range marks {
		if unit, ok := strings.CutPrefix(name, vacantMark); ok {
			c.vacant[unit] = true
		}
	}
	return err
}

// look notes of a unit that the run begins with whether it is vacant.
func (c *copier[T]) look(ctx context.Context, u Unit) error {
	v, ok := c.Sink.(Vacancy)
	if !ok || c.Digests == nil {
		return nil
	}
	vacant, err := v.Vacant(ctx, u)
	if err != nil {
		return fmt.Errorf("looking for what the target has of %s: %w", u.ID(), err)
	}
	c.vacant[u.ID()] = vacant
	value := ""
	if vacant {
		value = "yes"
	}
	return c.journal.Mark(ctx, vacantMark+u.ID(), value)
}

// intend notes of records that they are about to be written. Should this process die
// before they are known, and the source lose them before they are read again, what
// the target has of them is still known to be the run's own.
func (c *copier[T]) intend(ctx context.Context, b Batch[T]) error {
	id := b.Part.Unit.ID()
	if !c.vacant[id] {
		return nil
	}
	return c.Digests.Keep(ctx, id, func(yield func(string, Known) bool) {
		for _, r := range b.Records {
			if !yield(r.Key(), Known{Doubt: true}) {
				return
			}
		}
	})
}
