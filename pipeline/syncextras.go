package pipeline

import (
	"context"
	"fmt"
	"slices"
)

// extras removes what the target holds and nobody knows of, where the digests
// were not those of a whole pass before. Of files that has to be said.
func (s *syncer[T]) extras(ctx context.Context, u Unit) error {
	whole, err := s.Digests.Completed(ctx, u.ID())
	if err != nil || whole {
		return err
	}
	counter, ok := s.Target.(Counter)
	lister, ok2 := s.Target.(KeyLister)
	if ok && ok2 {
		n, err := counter.Count(ctx, u)
		if err != nil {
			return fmt.Errorf("counting %s on the target: %w", u.ID(), err)
		}
		held, _, err := s.Digests.Count(ctx, u.ID())
		if err != nil {
			return err
		}
		if n > held && s.others(u) {
			s.Log.Warn("the target has files that neither the source nor an earlier pass knows of: they are left there; move them away, or say --allow-deletes to have them removed",
				"unit", u.ID(), "files", n-held)
			return nil
		}
		if n > held {
			if err := s.notMany(u, n, n-held); err != nil {
				return err
			}
			if err := s.takeExtras(ctx, u, lister, n-held); err != nil {
				return err
			}
		}
	}
	if s.quarantined(u.ID()) {
		if err := s.staleLines(ctx, u); err != nil {
			return err
		}
	}
	return s.Digests.Complete(ctx, u.ID())
}

// others reports whether what nobody knows of in a unit may be somebody else's:
// folders may have been in use before the run, tables and collections are its own.
func (s *syncer[T]) others(u Unit) bool { return u.Lane == Files && !s.MayDelete }

// staleLines lets the quarantine go of records that the source has no more.
func (s *syncer[T]) staleLines(ctx context.Context, u Unit) error {
	var keys, stale []string
	look := func() error {
		known, err := s.Digests.Look(ctx, u.ID(), keys)
		for _, k := range keys {
			if _, ok := known[k]; !ok {
				stale = append(stale, k)
			}
		}
		keys = keys[:0]
		return err
	}
	for l, err := range s.Journal.Refusals(ctx, u.ID()) {
		if err != nil {
			return err
		}
		if keys = append(keys, l.Key); len(keys) == page {
			if err := look(); err != nil {
				return err
			}
		}
	}
	if err := look(); err != nil || len(stale) == 0 {
		return err
	}
	return s.Journal.Release(ctx, u.ID(), stale)
}

func (s *syncer[T]) takeExtras(ctx context.Context, u Unit, lister KeyLister, n int64) error {
	var extra, keys []string
	look := func() error {
		known, err := s.Digests.Look(ctx, u.ID(), keys)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if w, ok := known[k]; !ok || w.Refused {
				extra = append(extra, k)
			}
		}
		keys = keys[:0]
		return nil
	}
	for key, err := range lister.Keys(ctx, u) {
		if err != nil {
			return fmt.Errorf("listing keys of %s: %w", u.ID(), err)
		}
		if keys = append(keys, key); len(keys) == page {
			if err := look(); err != nil {
				return err
			}
		}
		if int64(len(extra)) > n {
			break // no more than were counted: somebody else writes
		}
	}
	if err := look(); err != nil {
		return err
	}
	extra = slices.DeleteFunc(extra, func(k string) bool { put, err := WasReplayed(ctx, s.Journal, u.ID(), k); return put || err != nil })
	return s.take(ctx, u, extra, leaveGone)
}
