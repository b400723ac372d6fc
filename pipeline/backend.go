package pipeline

import (
	"context"
	"iter"
)

// Source reads one lane of a deployment. It never changes what it reads.
type Source[T Record] interface {
	// Units lists what there is, in the order in which to move it.
	Units(ctx context.Context) ([]Unit, error)
	// Read yields the part's batches in a stable order, beginning after the
	// given cursor (the part's From when it is ""). The sequence ends at the
	// part's To; an error ends it too and is its last element. Several parts,
	// of the same or of different units, may be read at the same time. A batch
	// may have no records but a Next that has moved on.
	Read(ctx context.Context, part Part, after Cursor) iter.Seq2[Batch[T], error]
	Close() error
}

// Sink writes one lane of a deployment.
type Sink[T Record] interface {
	// Prepare creates what the unit needs and is missing. It never drops, and
	// may be repeated.
	Prepare(ctx context.Context, unit Unit) error
	// Write makes a batch durable: when it returns nil, a crash of either side
	// loses nothing of it. It may be repeated with the same batch. It may be
	// called at the same time for different parts. Records that the target
	// refuses for what they are come back in Outcome.Refused, and do not fail
	// the batch.
	Write(ctx context.Context, batch Batch[T]) (Outcome, error)
	Close() error
}

// What a backend may be able to do beyond its interface is found by type
// assertion on the following; absent means errors.ErrUnsupported.

// Splitter cuts a unit into up to n parts that can be read at the same time.
type Splitter interface {
	Split(ctx context.Context, unit Unit, n int) ([]Part, error)
}

// Counter counts the records of a unit exactly.
type Counter interface {
	Count(ctx context.Context, unit Unit) (int64, error)
}

// Getter fetches records by key. Keys that are not there are absent in the
// result.
type Getter[T Record] interface {
	Get(ctx context.Context, unit Unit, keys []string) (map[string]T, error)
}

// Visitor is a [Getter] that has one record in memory at a time.
type Visitor[T Record] interface {
	// Visit calls f for every record of these keys that is there, in any order. An
	// error of f ends it, and is its own.
	Visit(ctx context.Context, unit Unit, keys []string, f func(key string, r T) error) error
}

// Holder tells of a source which keys it holds, without reading their records. It
// may be asked for many that it does not hold.
type Holder interface {
	// Held leaves out the keys that are not there.
	Held(ctx context.Context, unit Unit, keys []string) ([]string, error)
}

// KeyLister lists the keys of a unit, in any order.
type KeyLister interface {
	Keys(ctx context.Context, unit Unit) iter.Seq2[string, error]
}

// Deleter removes records by key; missing keys are no error.
type Deleter interface {
	Delete(ctx context.Context, unit Unit, keys []string) error
}

// Vacancy is a sink whose units are folders that somebody else may use, too. Of one
// that was vacant before a run, what the target has of a name that the run was about
// to write is the run's own.
type Vacancy interface {
	// Vacant reports whether the target holds nothing of a unit.
	Vacant(ctx context.Context, unit Unit) (bool, error)
}

// Finisher does what comes after the load of the whole lane: indexes,
// constraints, sequences. It may be repeated and resumes where it stopped;
// step is told what is being done, for the operator.
type Finisher interface {
	Finish(ctx context.Context, step func(string)) (Outcome, error)
}

// Transactional is a sink that commits a batch together with its cursor,
// refusals and changes in its own journal. The engine then does not advance the
// cursor itself: Write does, by compare-and-set on Batch.Prev.
type Transactional interface {
	Journal() Journal
}

// Checker looks for what would go wrong, without changing anything. Units are
// those of the source.
type Checker interface {
	Check(ctx context.Context, units []Unit) ([]Finding, error)
}

// Identifier tells which source this is and in which state, so that a resume
// can see that it has changed.
type Identifier interface {
	Identity(ctx context.Context) (Identity, error)
}

// Identity of a source. Stable names the source for as long as it exists (for
// SQLite: head and the id of the first user); State changes whenever its content may
// have changed (size, mtime, WAL salts and frame). Neither holds a host, a
// path or a secret.
type Identity struct {
	Stable string `json:"stable"`
	State  string `json:"state"`
}

// Severity of a finding.
type Severity string

// The severities: a refusal stops the migration before anything is written, an
// acceptable refusal stops it unless its reason is accepted.
const (
	Refuse Severity = "refuse"
	Accept Severity = "accept" // goes to the quarantine; needs --accept REASON
	Warn   Severity = "warn"
	Note   Severity = "note"
)

// Finding is one thing that plan has to say.
type Finding struct {
	Severity Severity `json:"severity"`
	// Reason is what --accept takes when Severity is Accept, else a short id
	// of the check.
	Reason Reason `json:"reason"`
	Unit   string `json:"unit,omitempty"` // Unit.ID, "" for the whole
	Key    string `json:"key,omitempty"`
	Text   string `json:"text"`          // what was found
	Fix    string `json:"fix,omitempty"` // the next step, in a sentence or a command
	Count  int64  `json:"count,omitempty"`
}

// Putter writes records outside any part: repaired ones out of the quarantine.
// Whatever it wrote is released from the quarantine and stands in the ledger as
// [Replayed], all in one durable act; what the target refuses again comes back
// in Outcome.Refused.
type Putter[T Record] interface {
	Put(ctx context.Context, unit Unit, records []T) (Outcome, error)
}

// Releaser does the very last act of a migration, after every lane is complete:
// the one that lets the application start on the target.
type Releaser interface {
	Release(ctx context.Context) error
}

// Emptier removes what the target holds of its lane, for --replace: exactly
// what a Checker would call in use, and nothing that another deployment owns.
// It may be repeated.
type Emptier interface {
	Empty(ctx context.Context) error
}

// Hit is one result of a search.
type Hit struct {
	ID string
	// Score is what Open WebUI gives to the application: 0 to 1, higher is
	// nearer.
	Score float64
}

// Searcher is a vector lane's reader that searches as Open WebUI does.
type Searcher interface {
	// Search gives at most k hits a query, the nearest first. With exact the
	// store looks at every vector instead of its index; it returns
	// errors.ErrUnsupported where it cannot, and without exact where it has no
	// index yet.
	Search(ctx context.Context, unit Unit, queries [][]float32, k int, exact bool) ([][]Hit, error)
}

// Upserter writes records by key, whether the target has them already or not:
// what a sync pass needs.
type Upserter[T Record] interface {
	// Upsert makes the records durable, as a whole, in place of what the target
	// holds of their keys. It may be repeated. No line of Outcome is stored yet,
	// and a refused record leaves the target as it was.
	Upsert(ctx context.Context, unit Unit, records []T, how Upsert) (Outcome, error)
}

// Upsert says what an [Upserter] may do.
type Upsert struct {
	// Replace: what the target holds of these keys was written by this run.
	// Without it a sink that overwrites nothing of others refuses a record
	// ([Duplicate]) whose key holds something else.
	Replace bool
	// Final: nothing more will come that these records may refer to. A reference
	// to nothing that may be cleared is, as Outcome.Changed says; before that
	// the record is refused ([Orphan]).
	Final bool
	// Differs has by key the columns, as positions in the row's table, in which a
	// row is another than what the target held of it just now: these alone have to
	// be written, if it still holds that row. A row that is missing here is written
	// whole.
	Differs map[string][]int
}

// Remover is a [Deleter] whose target holds records that refer to others: those
// that cannot stay without the removed ones go with them, and are whole in
// Outcome.Refused; keys that refer to them and may be cleared are, as
// Outcome.Changed says. No line of it is stored.
type Remover interface {
	// Remove calls before with the outcome (unless it is empty) while nothing of it
	// is durable yet; an error of before leaves the target as it was.
	Remove(ctx context.Context, unit Unit, keys []string, before func(Outcome) error) error
}

// Dropper removes a whole unit that the source has no more; a unit that is not
// there is no error. errors.ErrUnsupported: it goes only record by record.
type Dropper interface {
	Drop(ctx context.Context, unit Unit) error
}

// Leveler orders units by how their records refer to each other: those of a
// level refer to none of a later one.
type Leveler interface {
	Levels(ctx context.Context, units []Unit) ([][]Unit, error)
}

// Known is what is remembered of a record.
type Known struct {
	Sum Sum
	// Origin is what the record was made of, see [Origins]; zero where that is not
	// known.
	Origin Sum
	// Refused: it stands in the quarantine, the target has nothing of its key.
	Refused bool
	// Doubt: a write of it was begun and not seen to its end. The target may hold
	// anything that this run has written.
	Doubt bool
}

// Digests remember what a target holds, between passes and by unit (Unit.ID)
// and key. They may forget, or know nothing; what they tell is true.
type Digests interface {
	// Pass begins a pass: no key was seen yet.
	Pass()
	// Seed is that of the origins.
	Seed() uint64
	// Unchanged gives what reports, for one goroutine, whether the target holds of a
	// key what was made of a record of this origin, under the rules of now; then the
	// key is seen.
	Unchanged(ctx context.Context, unit string) Same
	// Look gives what is known of the keys, which are seen from then on.
	Look(ctx context.Context, unit string, keys []string) (map[string]Known, error)
	// Keep remembers records that are durable, or in the quarantine; they are
	// seen. Many are best given in the order in which a pass meets them. The
	// sequence may be run through more than once.
	Keep(ctx context.Context, unit string, entries iter.Seq2[string, Known]) error
	// Refuse notes that records left the target for the quarantine.
	Refuse(ctx context.Context, unit string, keys []string) error
	// Forget forgets records, Drop a unit.
	Forget(ctx context.Context, unit string, keys []string) error
	Drop(ctx context.Context, unit string) error
	// Units lists the units of which anything is known.
	Units() []string
	// Count counts the records that a unit holds on the target, and those that
	// were not seen in this pass.
	Count(ctx context.Context, unit string) (held, unseen int64, err error)
	// Unseen lists the latter in pages.
	Unseen(ctx context.Context, unit string) iter.Seq2[[]string, error]
	// Complete notes that a unit's digests are those of all that the target
	// holds; Completed tells.
	Complete(ctx context.Context, unit string) error
	Completed(ctx context.Context, unit string) (bool, error)
	// Flush makes what was kept outlive the process.
	Flush(ctx context.Context) error
}
