package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"outgrow/pipeline"
)

// inUse is the reason of a sink's finding that the target holds records already.
const inUse pipeline.Reason = "in-use"

// emptied is the journal's mark for a target that a --replace has emptied.
const emptied = "emptied"

// notOurs drops the finding that the target is in use where this lane's own
// journal tells of a run on it: those records are ours. With --replace it only
// warns.
func (l *lane[T]) notOurs(ctx context.Context, found []pipeline.Finding) ([]pipeline.Finding, error) {
	ours := false
	if p, ok := l.journal.(pipeline.Peeker); ok {
		run, err := p.Peek(ctx)
		if err != nil {
			return nil, err
		}
		target, err := l.fingerprint(ctx)
		if err != nil {
			return nil, err
		}
		ours = run != nil && run.Target == target
	}
	kept := found[:0:0]
	for _, f := range found {
		if f.Reason == inUse && f.Severity == pipeline.Refuse {
			l.holds = true
			switch {
			case l.replace:
				f.Severity, f.Fix = pipeline.Warn, ""
				f.Text += "; --replace deletes that, unless this very run is under way"
			case ours:
				continue
			}
		}
		kept = append(kept, f)
	}
	return kept, nil
}

// Outlived goes by what the sink's check has found. A few records may be gone
// for other reasons; all of them are gone when the store is another one, or new.
func (l *lane[T]) Outlived(ctx context.Context, res pipeline.Resumed) (bool, error) {
	if res.Fresh || l.holds || l.kind != pipeline.Vectors {
		return false, nil
	}
	parts, err := l.journal.All(ctx)
	return slices.ContainsFunc(parts, func(p pipeline.Progress) bool { return p.Written > 0 }), err
}

// Empty is repeated until it has come to its end: a crash in between leaves no
// mark, and what is deleted was not written by this run.
func (l *lane[T]) Empty(ctx context.Context, run pipeline.Run) error {
	if !l.own || !run.Replace || l.kind == pipeline.Files {
		return nil
	}
	marks, err := l.journal.Marked(ctx)
	if err != nil || marks[emptied] != "" {
		return err
	}
	e, ok := l.sink.(pipeline.Emptier)
	if !ok {
		return &pipeline.Error{Op: "emptying the target of the " + string(l.kind), Err: errors.ErrUnsupported, Hint: "empty it by hand, then run migrate without --replace"}
	}
	if err := e.Empty(ctx); err != nil {
		return fmt.Errorf("emptying the target of the %s: %w", l.kind, err)
	}
	return l.journal.Mark(ctx, emptied, "yes")
}

// settle tells the lane's own journal what Put could not know: what the
// transforms changed, and the lines whose records have another key by now.
func (l *lane[T]) settle(ctx context.Context, b pipeline.Batch[T], out pipeline.Outcome, was map[string]string) error {
	if !l.own {
		return nil
	}
	for _, r := range out.Refused {
		delete(was, r.Key)
	}
	changed := b.Changed
	var old []string
	for now, key := range was {
		if now != key {
			old = append(old, key)
			changed = append(changed, pipeline.Change{Unit: b.Part.Unit.ID(), Key: key, Reason: pipeline.Replayed,
				Before: pipeline.Digest(nil), After: pipeline.Digest(now), Note: "put in from the quarantine as " + printable(now)})
		}
	}
	if err := l.journal.AddLines(ctx, nil, changed); err != nil {
		return err
	}
	return l.journal.Release(ctx, b.Part.Unit.ID(), old)
}

// Moved compares the source's state with what it was at Begin.
func (l *lane[T]) Moved(ctx context.Context) (bool, error) {
	if _, ok := l.source.(pipeline.Identifier); !ok || l.began == (pipeline.Identity{}) {
		return false, nil
	}
	look := l.Identity
	if l.now != nil {
		look = l.now
	}
	now, err := look(ctx)
	return now.State != l.began.State, err
}

// beginLane takes the lane's place in an earlier run, or begins. A journal of
// the command's own starts over with the rows (anew), with --replace, and when
// its target has lost everything.
func (m *migration) beginLane(ctx context.Context, l mover, run pipeline.Run, anew bool) (pipeline.Resumed, error) {
	res, err := l.Begin(ctx, run)
	if !l.Own() || (err != nil && !(m.replace && errors.Is(err, pipeline.ErrOtherPair))) {
		return res, err
	}
	again := anew || err != nil
	if err == nil && m.replace && l.Kind() != pipeline.Files {
		// The very run that was begun with --replace, and is under way, goes on.
		again = !res.Run.Replace || res.Complete || res.SourceChanged
		if m.rowsRun != "" {
			again = res.Run.ID != m.rowsRun
		}
	}
	if !again {
		if again, err = l.Outlived(ctx, res); err != nil {
			return res, err
		}
		if again {
			m.say("note  the target of the %s has nothing of what an earlier run wrote: all of them are written again", l.Kind())
		}
	}
	if again && !res.Fresh {
		if res, err = l.Restart(ctx, run); err != nil {
			return res, err
		}
	}
	return res, l.Empty(ctx, res.Run)
}
