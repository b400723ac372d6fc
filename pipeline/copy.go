package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Job is one lane to be copied.
type Job[T Record] struct {
	Source Source[T]
	Sink   Sink[T]
	// Journal remembers the cursors. A [Transactional] sink's own is used
	// instead.
	Journal    Journal
	Transforms []Transform[T]
	// Units to move; nil means all that the source lists.
	Units []Unit
	// Workers is how many parts are written at the same time; 0 means 2.
	Workers int
	// PartBytes is the size from which a unit is cut into several parts where
	// the source can; 0 means 64 MiB.
	PartBytes int64
	// Spread lets the parts of all units take turns, so that they end together,
	// where otherwise one unit comes after the other. Units that wait are last.
	Spread  bool
	Gate    *Gate  // may be nil when no unit waits for another lane
	Meter   *Meter // may be nil
	Backoff Backoff
	Rate    *Limiter     // of the records written; nil for no limit
	Log     *slog.Logger // may be nil
	// Digests remember what was written, for a sync pass; nil for nothing.
	Digests Digests
	// InUse: the source may be written to meanwhile, and a sync pass follows.
	InUse bool
	// Pure as in Delta.
	Pure func(Unit) bool
}

// Copy moves the lane: it prepares the units, fixes their parts (or takes them
// as they were fixed), copies what is not done, and then lets the sink finish.
// Begin must have been called on the journal. The same call resumes: nothing is
// written twice, nothing is left out. The first error stops all workers after
// their batch.
func Copy[T Record](ctx context.Context, job Job[T]) error {
	c := &copier[T]{Job: job, journal: job.Journal}
	if t, ok := job.Sink.(Transactional); ok {
		c.journal, c.transactional = t.Journal(), true
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Gate == nil {
		c.Gate = &Gate{}
	}
	if c.Units == nil {
		units, err := job.Source.Units(ctx)
		if err != nil {
			return fmt.Errorf("listing the source: %w", err)
		}
		c.Units = units
	}
	todo, err := c.plan(ctx)
	if err != nil {
		return err
	}
	if err := c.work(ctx, todo); err != nil {
		return err
	}
	if f, ok := job.Sink.(Finisher); ok && len(c.Units) > 0 {
		lane := c.Units[0].Lane
		var out Outcome
		err := c.Backoff.Do(ctx, func(int) (err error) {
			out, err = f.Finish(ctx, func(s string) { c.Meter.Step(lane, s) })
			return err
		})
		if err != nil {
			return fmt.Errorf("finishing the %s: %w", lane, err)
		}
		if !c.transactional {
			if err := c.journal.AddLines(ctx, out.Refused, out.Changed); err != nil {
				return err
			}
		}
		if err := c.left(ctx, out.Refused); err != nil {
			return err
		}
		c.Meter.Step(lane, "")
	}
	return nil
}

type copier[T Record] struct {
	Job[T]
	journal       Journal
	transactional bool
	vacant        map[string]bool // units that were when the run began
}

// unitState counts down a unit's unfinished parts.
type unitState struct {
	unit  Unit
	left  atomic.Int64
	count *Count
	whole bool // every part begins at its start in this process
}

type task struct {
	progress Progress
	state    *unitState
	turn     float64 // how much of the unit is done with this part
}

// plan prepares every unit, fixes its parts and lists those that are not done.
func (c *copier[T]) plan(ctx context.Context) ([]task, error) {
	var todo []task
	if err := c.Backoff.Do(ctx, func(int) error { return c.vacancies(ctx) }); err != nil {
		return nil, err
	}
	for _, u := range c.Units {
		if err := c.Backoff.Do(ctx, func(int) error { return c.Sink.Prepare(ctx, u) }); err != nil {
			return nil, fmt.Errorf("preparing %s: %w", u.ID(), err)
		}
		var parts []Progress
		// Parts that were fixed by a call whose answer was lost are found again.
		if err := c.Backoff.Do(ctx, func(int) (err error) { parts, err = c.parts(ctx, u); return err }); err != nil {
			return nil, err
		}
		st := &unitState{unit: u, count: c.Meter.Unit(u), whole: true}
		for i, p := range parts {
			st.whole = st.whole && !p.Done && p.At == p.Part.From
			// Before comes first: what is read never looks like this process's own.
			st.count.Before.Add(p.Written + p.Refused)
			st.count.BeforeRefused.Add(p.Refused)
			st.count.BeforeBytes.Add(p.Bytes)
			st.count.Read.Add(p.Written + p.Refused)
			st.count.Written.Add(p.Written)
			st.count.Refused.Add(p.Refused)
			st.count.Bytes.Add(p.Bytes)
			if !p.Done {
				st.left.Add(1)
				todo = append(todo, task{p, st, float64(i+1) / float64(len(parts))})
			}
		}
		if st.left.Load() == 0 {
			st.count.End()
			c.Gate.Open(u.ID())
		}
	}
	if c.Spread {
		slices.SortStableFunc(todo, func(a, b task) int {
			return cmp.Or(cmp.Compare(min(len(a.state.unit.After), 1), min(len(b.state.unit.After), 1)), cmp.Compare(a.turn, b.turn))
		})
	}
	return todo, nil
}

func (c *copier[T]) parts(ctx context.Context, u Unit) ([]Progress, error) {
	have, err := c.journal.Parts(ctx, u)
	if err != nil || len(have) > 0 {
		return have, err
	}
	if err := c.look(ctx, u); err != nil {
		return nil, err
	}
	limit := c.PartBytes
	if limit == 0 {
		limit = 64 << 20
	}
	parts := []Part{{Unit: u}}
	if s, ok := c.Source.(Splitter); ok && u.Bytes > limit {
		n := int(min(u.Bytes/limit+1, 64))
		cut, err := s.Split(ctx, u, n)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return nil, fmt.Errorf("cutting %s: %w", u.ID(), err)
		}
		if len(cut) > 0 {
			parts = cut
		}
	}
	if err := c.journal.Fix(ctx, u, parts); err != nil {
		return nil, err
	}
	if have, err = c.journal.Parts(ctx, u); err == nil && len(have) != len(parts) {
		err = &Error{Op: "fixing the parts of", Unit: u.ID(), Err: fmt.Errorf("%d were fixed, the journal has %d", len(parts), len(have))}
	}
	return have, err
}

// work hands the tasks to the workers in order.
func (c *copier[T]) work(ctx context.Context, todo []task) error {
	workers := c.Workers
	if workers <= 0 {
		workers = 2
	}
	var mu sync.Mutex
	next := func() (task, bool) {
		mu.Lock()
		defer mu.Unlock()
		if len(todo) == 0 {
			return task{}, false
		}
		t := todo[0]
		todo = todo[1:]
		return t, true
	}
	g, ctx := errgroup.WithContext(ctx)
	for range min(workers, max(len(todo), 1)) {
		g.Go(func() error {
			for {
				t, ok := next()
				if !ok {
					return nil
				}
				if err := c.Gate.Wait(ctx, t.state.unit.After); err != nil {
					return err
				}
				t.state.count.Begin()
				if err := c.part(ctx, t); err != nil {
					return err
				}
				if t.state.left.Add(-1) == 0 {
					if err := c.counted(ctx, t.state); err != nil {
						return err
					}
					t.state.count.End()
					c.Gate.Open(t.state.unit.ID())
				}
			}
		})
	}
	return g.Wait()
}

// counted is the gate behind a unit: what was read must be what the source
// counts. A unit that an earlier process began is left to verify.
func (c *copier[T]) counted(ctx context.Context, st *unitState) error {
	counter, ok := c.Source.(Counter)
	if !ok || !st.whole {
		return nil
	}
	want, err := counter.Count(ctx, st.unit)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("counting %s: %w", st.unit.ID(), err)
	}
	if got := st.count.Read.Load(); got != want {
		if c.InUse && st.unit.Lane == Files {
			// A folder in use has no snapshot: the sync pass that follows takes up
			// what came or went meanwhile.
			c.Log.Debug("the source is being written to", "unit", st.unit.ID(), "read", got, "now", want)
			return nil
		}
		return &Error{Op: "copying", Unit: st.unit.ID(), Err: fmt.Errorf("%d records were read, the source has %d", got, want),
			Hint: "the source is being written to, or outgrow is at fault: run migrate again on a stopped source"}
	}
	return nil
}

// errMoved says that a reader failed for a while, after it had moved on: the
// count of attempts begins anew.
var errMoved = errors.New("the reader failed after it had moved on")

// part copies one part to its end. A reader's transient error is retried from
// the last durable cursor, as often as there is progress in between.
func (c *copier[T]) part(ctx context.Context, t task) error {
	at, p := t.progress.At, t.progress.Part
	for {
		err := c.Backoff.Do(ctx, func(attempt int) error {
			t.state.count.again(attempt)
			if attempt > 0 {
				c.Log.Warn("reading again", "unit", p.Unit.ID(), "part", p.N, "attempt", attempt)
			}
			from := at
			err := c.read(ctx, t, &at)
			if err != nil && at != from && IsRetryable(err) && !errors.As(err, new(*final)) {
				return errMoved
			}
			return err
		})
		var f *final
		switch {
		case errors.Is(err, errMoved):
			t.state.count.again(1)
			continue
		case errors.As(err, &f):
			return f.err
		}
		return err
	}
}

// read copies from at to the part's end, and moves at with every durable batch.
func (c *copier[T]) read(ctx context.Context, t task, at *Cursor) error {
	p := t.progress.Part
	var origins *Origins
	if c.Digests != nil && c.Pure != nil && c.Pure(p.Unit) {
		origins = NewOrigins(c.Digests.Seed())
	}
	for b, err := range c.Source.Read(ctx, p, *at) {
		if err != nil {
			return fmt.Errorf("reading %s: %w", p.Unit.ID(), err)
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if origins != nil {
			b.trace(origins)
		}
		Apply(&b, c.Transforms, t.state.count)
		if err := c.write(ctx, b, t.state.count); err != nil {
			// A sink's transient error has had its own retries.
			return &final{err}
		}
		*at = b.Next
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return c.journal.FinishPart(ctx, p)
}

// final hides that an error is retryable.
type final struct{ err error }

func (f *final) Error() string { return f.err.Error() }

// write makes a batch durable and moves the cursor. Before it repeats a write
// it asks the journal where the part is, so an answer lost at commit is seen.
func (c *copier[T]) write(ctx context.Context, b Batch[T], count *Count) error {
	step := Step{Part: b.Part, Prev: b.Prev, Next: b.Next, Bytes: b.Bytes}
	if err := c.Rate.Wait(ctx, len(b.Records)); err != nil {
		return err
	}
	if err := c.intend(ctx, b); err != nil {
		return err
	}
	var out Outcome
	began := time.Now()
	err := c.Backoff.Do(ctx, func(attempt int) error {
		count.again(attempt)
		if attempt > 0 {
			done, err := c.arrived(ctx, b.Part, b.Prev, b.Next)
			if done || err != nil {
				return err
			}
			c.Log.Warn("writing again", "unit", b.Part.Unit.ID(), "part", b.Part.N, "attempt", attempt)
		}
		var err error
		if out, err = c.Sink.Write(ctx, b); err == nil && !c.transactional {
			step.Written = out.Written
			step.Refused = append(append([]Refusal(nil), b.Refused...), out.Refused...)
			step.Changed = append(append([]Change(nil), b.Changed...), out.Changed...)
			err = c.journal.Advance(ctx, step)
		}
		if errors.Is(err, ErrFenced) {
			done, perr := c.arrived(ctx, b.Part, b.Prev, b.Next)
			if perr != nil || done {
				return perr
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", b.Part.Unit.ID(), err)
	}
	if err := c.remember(ctx, b, out); err != nil {
		return err
	}
	count.batch(time.Since(began))
	count.Read.Add(int64(b.Read))
	count.Written.Add(int64(out.Written))
	count.Stored.Add(int64(out.Written))
	count.Refused.Add(int64(len(b.Refused) + len(out.Refused)))
	count.Changed.Add(int64(len(b.Changed) + len(out.Changed)))
	count.Bytes.Add(b.Bytes)
	return nil
}

// remember keeps the digests of a batch that is durable.
func (c *copier[T]) remember(ctx context.Context, b Batch[T], out Outcome) error {
	if c.Digests == nil {
		return nil
	}
	keep := make(map[string]Known, len(b.Records))
	var of Summer
	for i, r := range b.Records {
		sum, err := of.Of(r)
		if err != nil {
			return err
		}
		keep[r.Key()] = Known{Sum: sum, Origin: b.origin(i)}
	}
	for _, l := range out.Refused {
		keep[l.Key] = Known{Sum: keep[l.Key].Sum, Refused: true}
	}
	lines := map[string][]Refusal{}
	for _, l := range b.Refused {
		lines[l.Key] = append(lines[l.Key], l)
	}
	for key, l := range lines {
		keep[key] = Known{Sum: sumOfRefusals(l), Refused: true}
	}
	return c.Digests.Keep(ctx, b.Part.Unit.ID(), inOrder(b.Records, keep))
}

// left notes the records that left the target at the end of the load.
func (c *copier[T]) left(ctx context.Context, refused []Refusal) error {
	if c.Digests == nil {
		return nil
	}
	keys := map[string][]string{}
	for _, l := range refused {
		keys[l.Unit] = append(keys[l.Unit], l.Key)
	}
	for unit, k := range keys {
		if err := c.Digests.Refuse(ctx, unit, k); err != nil {
			return err
		}
	}
	return nil
}

// arrived reports whether the part's durable cursor is at next already. Any
// place but prev and next means that somebody else writes this part.
func (c *copier[T]) arrived(ctx context.Context, p Part, prev, next Cursor) (bool, error) {
	parts, err := c.journal.Parts(ctx, p.Unit)
	if err != nil {
		return false, err
	}
	for _, q := range parts {
		if q.Part.N != p.N {
			continue
		}
		switch q.At {
		case next:
			return true, nil
		case prev:
			return false, nil
		}
	}
	return false, &Error{Op: "writing", Unit: p.Unit.ID(), Err: ErrFenced, Exit: ExitEnvironment,
		Hint: "another outgrow works on this target: let it end, then run the same command"}
}

// origin is that of a record, zero where nobody has asked.
func (b *Batch[T]) origin(i int) (s Sum) {
	if i < len(b.Origins) {
		s = b.Origins[i]
	}
	return s
}

// Apply runs the transforms over a batch in place: records that they refuse
// leave Records for Refused. The others keep their origins.
func Apply[T Record](b *Batch[T], transforms []Transform[T], count *Count) {
	for _, r := range b.Records {
		count.largest(r.Size())
	}
	if len(transforms) == 0 {
		return
	}
	kept, origins := make([]T, 0, len(b.Records)), b.Origins[:0]
next:
	for i, r := range b.Records {
		for _, f := range transforms {
			out, changed, refused := f(b.Part.Unit, r)
			b.Changed = append(b.Changed, changed...)
			if len(refused) > 0 {
				b.Refused = append(b.Refused, refused...)
				continue next
			}
			r = out
		}
		kept = append(kept, r)
		if len(b.Origins) > 0 {
			origins = append(origins, b.Origins[i])
		}
	}
	b.Records, b.Origins = kept, origins
}
