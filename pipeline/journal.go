package pipeline

import (
	"context"
	"errors"
	"iter"
)

// ErrFenced is returned by a cursor's compare-and-set that touched nothing:
// another run has taken over, or this very batch was already committed.
var ErrFenced = errors.New("the part's cursor is not where this run left it")

// ErrLocked is returned by Begin while another process works on the target.
var ErrLocked = errors.New("another outgrow is working on this target")

// ErrOtherPair is returned by Begin when the journal belongs to another pair of
// source and target.
var ErrOtherPair = errors.New("the state belongs to another source or target")

// Run identifies a run to the journal.
type Run struct {
	ID     string   `json:"id"` // short, for people
	Source Identity `json:"source"`
	// Target is the fingerprint of the target: system identifier, database and
	// schema, or bucket and prefix; never host, path or password.
	Target string `json:"target"`
	// Version of outgrow that writes.
	Version string `json:"version"`
	// Replace: the run was begun with the order to empty the target first.
	Replace bool `json:"replace,omitempty"`
}

// Resumed is what Begin found.
type Resumed struct {
	Run   Run   // the run as it was first begun; its ID is kept on a resume
	Epoch int64 // fences writers of earlier processes
	Fresh bool  // nothing was there
	// SourceChanged is true from the first time the source's State differed
	// from that of the first start: the copy goes on, but is never "equal".
	SourceChanged bool
	Complete      bool // an earlier process finished everything
}

// Progress is where a part stands.
type Progress struct {
	Part    Part   `json:"part"`
	At      Cursor `json:"at"`
	Done    bool   `json:"done"`
	Written int64  `json:"written"`
	Refused int64  `json:"refused"`
	Bytes   int64  `json:"bytes"`
}

// Step is what Advance records about one durable batch.
type Step struct {
	Part       Part
	Prev, Next Cursor
	Written    int
	Bytes      int64
	Refused    []Refusal
	Changed    []Change
}

// Tally counts quarantine or ledger lines of one kind.
type Tally struct {
	Unit     string `json:"unit"`
	Reason   Reason `json:"reason"`
	Count    int64  `json:"count"`
	Accepted bool   `json:"accepted,omitempty"`
}

// Journal remembers durably what was done: parts, cursors, quarantine, ledger.
// Every method is durable when it returns.
type Journal interface {
	// Begin takes the lock and a new epoch. It returns ErrLocked or
	// ErrOtherPair (wrapped) when it may not.
	Begin(ctx context.Context, run Run) (Resumed, error)
	// Parts gives the unit's parts as they were fixed, nil when they were not.
	Parts(ctx context.Context, unit Unit) ([]Progress, error)
	// Fix fixes the unit's parts; a second call with other parts is an error.
	Fix(ctx context.Context, unit Unit, parts []Part) error
	// Advance moves the part's cursor from step.Prev to step.Next and stores
	// the lines, in one durable act; ErrFenced when the cursor is elsewhere.
	// Lines are keyed by (unit, key, column, reason): a repeat does not double
	// them.
	Advance(ctx context.Context, step Step) error
	// FinishPart marks a part as read to its end.
	FinishPart(ctx context.Context, part Part) error
	// All lists every fixed part.
	All(ctx context.Context) ([]Progress, error)
	// Mark and Marked keep named facts about the run ("indexes-dropped");
	// an empty value removes the name.
	Mark(ctx context.Context, name, value string) error
	Marked(ctx context.Context) (map[string]string, error)

	// AddLines stores quarantine and ledger lines outside any batch.
	AddLines(ctx context.Context, refused []Refusal, changed []Change) error
	// Refusals lists the quarantine of a unit ("" for all).
	Refusals(ctx context.Context, unit string) iter.Seq2[Refusal, error]
	// Refused looks one key up in the quarantine.
	Refused(ctx context.Context, unit, key string) ([]Refusal, error)
	// Changes lists the ledger of a unit ("" for all).
	Changes(ctx context.Context, unit string) iter.Seq2[Change, error]
	// Changed looks one key up in the ledger.
	Changed(ctx context.Context, unit, key string) ([]Change, error)
	// Release takes lines out of the quarantine (after a replay).
	Release(ctx context.Context, unit string, keys []string) error
	// Tallies counts the quarantine and the ledger by unit and reason.
	Tallies(ctx context.Context) (refused, changed []Tally, err error)
	// Accept records the operator's consent to refusals of these reasons.
	Accept(ctx context.Context, reasons []Reason) error
	// Accepted lists the reasons accepted so far.
	Accepted(ctx context.Context) ([]Reason, error)
	// Close releases the lock.
	Close() error
}

// Restarter is a journal that can forget a run: for --replace, and for a lane
// whose state outlived its target.
type Restarter interface {
	// Restart forgets everything that is kept and begins anew; writers of
	// earlier processes stay fenced. It returns ErrLocked like Begin.
	Restart(ctx context.Context, run Run) (Resumed, error)
}

// Forgetter is a journal that can be removed without a trace, once the run is
// accepted.
type Forgetter interface {
	// Forget takes the lock and removes all that is kept; it may be repeated. It
	// returns ErrLocked like Begin.
	Forget(ctx context.Context) error
}

// Rebaser is a journal whose run can follow its source to another state of it.
type Rebaser interface {
	// Rebase notes that the target holds the source as it is in this state: the
	// source has not changed since, as Begin tells.
	Rebase(ctx context.Context, source Identity) error
}

// Peeker is a journal that tells of its run without beginning one.
type Peeker interface {
	// Peek gives the run as it was first begun, nil when there is none.
	Peek(ctx context.Context) (*Run, error)
}
