package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
)

// scan compares units with what is known. Those of a level may be read while others
// are written that they may refer to, and are written once these are there.
func (s *syncer[T]) scan(ctx context.Context, levels [][]Unit) error {
	units := slices.Concat(levels...)
	if len(units) == 0 { // nil would be all
		return nil
	}
	if err := s.prepareAll(ctx, units); err != nil {
		return err
	}
	var written Gate
	refers, earlier := map[string][]string{}, []string(nil)
	for _, l := range levels {
		for _, u := range l {
			refers[u.ID()] = earlier
		}
		earlier = slices.Clip(earlier)
		for _, u := range l {
			earlier = append(earlier, u.ID())
		}
	}
	return Scan(ctx, Survey[T]{Source: s.Source, Transforms: s.Transforms, Units: units, Workers: s.Workers, PartBytes: s.PartBytes,
		Meter: s.Meter, Backoff: s.Backoff, Read: s.read, UnitBegin: s.begin,
		Handle: func(ctx context.Context, b Batch[T]) error {
			if len(b.Records)+len(b.Refused) > 0 {
				if err := written.Wait(ctx, refers[b.Part.Unit.ID()]); err != nil {
					return err
				}
			}
			return s.batch(ctx, b)
		},
		UnitDone: func(ctx context.Context, u Unit) error {
			err := s.drain(ctx, u)
			if err == nil {
				written.Open(u.ID())
			}
			return err
		}})
}

// prepareAll prepares the target for all units but those that come after another
// lane's, so that what it cannot take is told before anything is written.
func (s *syncer[T]) prepareAll(ctx context.Context, units []Unit) error {
	var owning errgroup.Group
	owning.SetLimit(max(s.Workers, 2))
	for _, u := range units {
		if len(u.After) > 0 {
			continue
		}
		if err := s.prepare(ctx, u); err != nil {
			return errors.Join(err, owning.Wait())
		}
		owning.Go(func() error { return s.own(ctx, u) })
	}
	return owning.Wait()
}

// begin waits for what a unit comes after.
func (s *syncer[T]) begin(ctx context.Context, u Unit) error {
	if len(u.After) == 0 {
		return nil
	}
	if err := s.prepare(ctx, u); err != nil {
		return err
	}
	return s.own(ctx, u)
}

func (s *syncer[T]) prepare(ctx context.Context, u Unit) error {
	if err := s.Gate.Wait(ctx, u.After); err != nil {
		return err
	}
	if err := s.Backoff.Do(ctx, func(int) error { return s.Sink.Prepare(ctx, u) }); err != nil {
		return fmt.Errorf("preparing %s: %w", u.ID(), err)
	}
	return nil
}

// own notes in the journal that a unit is one that this run has written.
func (s *syncer[T]) own(ctx context.Context, u Unit) error {
	if s.owned[u.ID()] {
		return nil
	}
	return s.Backoff.Do(ctx, func(int) error {
		have, err := s.Journal.Parts(ctx, u)
		if err != nil || len(have) > 0 {
			return err
		}
		part := Part{Unit: u}
		if err := s.Journal.Fix(ctx, u, []Part{part}); err != nil {
			return err
		}
		return s.Journal.FinishPart(ctx, part)
	})
}
