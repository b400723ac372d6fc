package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"
)

// removeUnseen removes what was not seen in this pass, once check agrees.
func (s *syncer[T]) removeUnseen(ctx context.Context, u Unit, check func(context.Context, Unit, []string) error) error {
	for keys, err := range s.Digests.Unseen(ctx, u.ID()) {
		if err != nil {
			return err
		}
		for part := range slices.Chunk(keys, page) {
			// One asks the source, the other the target.
			var mine []string
			g, gctx := errgroup.WithContext(ctx)
			g.Go(func() error { return check(gctx, u, part) })
			g.Go(func() (err error) { mine, err = s.mine(gctx, u, part); return err })
			if err := g.Wait(); err != nil {
				return err
			}
			if err := s.take(ctx, u, mine, leaveGone); err != nil {
				return err
			}
		}
	}
	return nil
}

// gone makes sure that the source does not hold records that were not seen: if it
// does, it was not read as it is, and nothing of it may leave the target.
func (s *syncer[T]) gone(ctx context.Context, u Unit, keys []string) error {
	h, ok := s.Source.(Holder)
	if !ok {
		return nil
	}
	var held []string
	err := s.Backoff.Do(ctx, func(int) (err error) { held, err = h.Held(ctx, u, keys); return err })
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil
	case err != nil:
		return fmt.Errorf("asking the source what it holds of %s: %w", u.ID(), err)
	case len(held) > 0:
		return &Error{Op: "removing what the source has no more", Unit: u.ID(), Key: held[0], Exit: ExitEnvironment, Err: ErrHeld,
			Hint: "nothing that the source holds was removed; see that its database is whole (PRAGMA integrity_check), then run the same command again"}
	}
	return nil
}

// ErrHeld says that a source holds a record that it did not give when it was read.
var ErrHeld = errors.New("the source holds it, and did not give it when it was read")

// page is how many records are removed at a time.
const page = 1000

// leave says why records leave the target.
type leave byte

const (
	leaveGone    leave = iota // the source has them no more
	leaveRefused              // the target refuses what they are now
	leaveWaiting              // it may take that once others are there, or gone
)

// take removes records from the target, and those that cannot stay without them.
func (s *syncer[T]) take(ctx context.Context, u Unit, keys []string, why leave) error {
	for part := range slices.Chunk(keys, page) {
		if err := s.doubt(ctx, u, part); err != nil {
			return err
		}
		err := s.Backoff.Do(ctx, func(int) error {
			return s.remove(ctx, u, part, func(out Outcome) error { return s.left(ctx, out, why == leaveWaiting) })
		})
		if err != nil {
			return fmt.Errorf("removing from %s: %w", u.ID(), err)
		}
		s.acted(len(part))
		if why != leaveGone {
			continue
		}
		if s.quarantined(u.ID()) {
			if err := s.Journal.Release(ctx, u.ID(), part); err != nil {
				return err
			}
		}
		if err := s.Digests.Forget(ctx, u.ID(), part); err != nil {
			return err
		}
		for _, key := range part {
			s.undecide(u.ID(), key)
		}
		s.note(u.ID(), UnitSync{Deleted: int64(len(part))})
	}
	return nil
}

// doubt notes that records are about to leave the target: whatever their source
// holds by the time of the next pass, should this one not come to its end, they are
// not taken for what is there.
func (s *syncer[T]) doubt(ctx context.Context, u Unit, keys []string) error {
	known, err := s.Digests.Look(ctx, u.ID(), keys)
	if err != nil {
		return err
	}
	marks := map[string]Known{}
	for key, k := range known {
		if !k.Refused && !k.Doubt {
			marks[key] = Known{Sum: k.Sum, Doubt: true}
		}
	}
	return s.Digests.Keep(ctx, u.ID(), maps.All(marks))
}

// left settles what cannot stay without records that are about to be removed. If
// these may come back, it is tried again, and what is cleared is written again.
func (s *syncer[T]) left(ctx context.Context, out Outcome, back bool) error {
	changed := out.Changed
	if back {
		changed = nil
	}
	if err := s.Journal.AddLines(ctx, out.Refused, changed); err != nil {
		return err
	}
	gone, cleared := map[string][]string{}, map[string]map[string]Known{}
	for _, r := range out.Refused {
		s.decide(r.Unit, r.Key, fateCounted)
		gone[r.Unit] = append(gone[r.Unit], r.Key)
	}
	for unit, keys := range gone {
		s.refused(unit, back)
		if err := s.Digests.Refuse(ctx, unit, keys); err != nil {
			return err
		}
	}
	if !back {
		return nil
	}
	for _, c := range out.Changed {
		if cleared[c.Unit] == nil {
			cleared[c.Unit] = map[string]Known{}
		}
		cleared[c.Unit][c.Key] = Known{Doubt: true}
		s.decide(c.Unit, c.Key, fateCounted)
	}
	for unit, keep := range cleared {
		s.refused(unit, back)
		if err := s.Digests.Keep(ctx, unit, maps.All(keep)); err != nil {
			return err
		}
	}
	return nil
}

// removeUnknown removes what is left of a unit that the source has no more.
func (s *syncer[T]) removeUnknown(ctx context.Context, u Unit) error {
	lister, ok := s.Target.(KeyLister)
	if !ok || s.others(u) {
		return nil
	}
	n, err := countOf(ctx, s.Target, u)
	if err != nil || n == 0 {
		return err
	}
	return s.takeExtras(ctx, u, lister, n)
}

// dropUnit removes a unit that the source has no more.
func (s *syncer[T]) dropUnit(ctx context.Context, u Unit) error {
	held, unseen, err := s.Digests.Count(ctx, u.ID())
	if err != nil {
		return err
	}
	// Nothing may be known of it: a migration of a stopped source keeps no digests.
	there, err := countOf(ctx, s.Target, u)
	if err != nil {
		return fmt.Errorf("counting %s on the target: %w", u.ID(), err)
	}
	err = errors.ErrUnsupported
	if d, ok := s.Sink.(Dropper); ok {
		err = s.Backoff.Do(ctx, func(int) error { return d.Drop(ctx, u) })
	}
	if errors.Is(err, errors.ErrUnsupported) {
		nothing := func(context.Context, Unit, []string) error { return nil } // the source has no such unit
		if err := s.removeUnseen(ctx, u, nothing); err != nil {
			return err
		}
		if err := s.removeUnknown(ctx, u); err != nil {
			return err
		}
		return s.Digests.Drop(ctx, u.ID())
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", u.ID(), err)
	}
	s.note(u.ID(), UnitSync{Deleted: max(held, unseen, there)})
	s.acted(1)
	if err := s.Digests.Drop(ctx, u.ID()); err != nil {
		return err
	}
	return s.staleLines(ctx, u)
}
