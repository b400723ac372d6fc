package pipeline

import (
	"context"
	"slices"
	"time"
)

// Replay is the ledger's line of a repaired record that was put in.
func Replay(unit Unit, key string) Change {
	return Change{Unit: unit.ID(), Key: key, Reason: Replayed, Before: Digest(nil), After: Digest(key), Note: "put in from the quarantine"}
}

// WasReplayed reports whether a repaired record was put in for this key, as the
// ledger tells; a nil journal tells nothing.
func WasReplayed(ctx context.Context, j Journal, unit, key string) (bool, error) {
	if j == nil {
		return false, nil
	}
	changes, err := j.Changed(ctx, unit, key)
	return slices.ContainsFunc(changes, func(c Change) bool { return c.Reason == Replayed }), err
}

// Accepted lists the keys of the records that a write did not refuse.
func Accepted[T Record](records []T, out Outcome) []string {
	refused := make(map[string]bool, len(out.Refused))
	for _, r := range out.Refused {
		refused[r.Key] = true
	}
	var keys []string
	for _, r := range records {
		if !refused[r.Key()] {
			keys = append(keys, r.Key())
		}
	}
	return keys
}

// Settle is the end of a [Putter]'s work where the journal is not in the target:
// once the records of these keys are durable it writes their lines, and those of
// out, into the ledger, and then lets the quarantine go of them. A repeat does
// not double them.
func Settle(ctx context.Context, j Journal, unit Unit, keys []string, out Outcome) (Outcome, error) {
	if len(keys) == 0 {
		return out, nil
	}
	for _, key := range keys {
		out.Changed = append(out.Changed, Replay(unit, key))
	}
	if err := j.AddLines(ctx, nil, out.Changed); err != nil {
		return Outcome{}, err
	}
	return out, j.Release(ctx, unit.ID(), keys)
}

// Sleep waits for d or until ctx is done, whose cause it then returns.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
