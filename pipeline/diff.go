package pipeline

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Kinds of difference.
const (
	Missing     = "missing"     // in the source, not on the target
	Extra       = "extra"       // on the target, not in the source
	Differs     = "differs"     // on both, not equal
	Quarantined = "quarantined" // refused, and nobody has accepted that yet
)

// Difference is one record that is not as it should be on the target.
type Difference struct {
	Unit   string `json:"unit"`
	Key    string `json:"key"`
	Kind   string `json:"kind"`
	Column string `json:"column,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Field is one way in which two records differ.
type Field struct {
	Column string // "" for the record as a whole
	// Want is what the target should hold and Got what it does, compared by Digest
	// with the ledger's Before and After; nil for SQL NULL.
	Want, Got any
	Detail    string
}

// Comparison is one lane to be verified: the source is read through the same
// transforms as for the copy and compared with what the target's reader gives
// back.
type Comparison[T Record] struct {
	Source     Source[T]
	Transforms []Transform[T]
	Units      []Unit
	Workers    int
	PartBytes  int64
	Meter      *Meter
	Backoff    Backoff
	// Target reads the other side; Counter and KeyLister are used when it has
	// them.
	Target Getter[T]
	// Equal lists how two records with the same key differ.
	Equal func(ctx context.Context, u Unit, want, got T) ([]Field, error)
	// Journal explains what is not there or was changed after the transforms;
	// nil explains nothing.
	Journal Journal
	// Report is told of every difference; it may be called by several
	// workers, one at a time.
	Report func(Difference)
	// Observe sees every record after the transforms, by several workers at a
	// time and a batch again when it was repeated; Then is called once a unit
	// was compared to its end. Both may be nil.
	Observe func(Unit, []T)
	Then    func(context.Context, Unit) error
}

// UnitDiff counts a unit's records by how they compare. Excused records are
// listed in an accepted quarantine line or in the ledger.
type UnitDiff struct {
	Unit        string `json:"unit"`
	Source      int64  `json:"source"`
	Target      int64  `json:"target"`
	Equal       int64  `json:"equal"`
	Missing     int64  `json:"missing"`
	Extra       int64  `json:"extra"`
	Differs     int64  `json:"differs"`
	Quarantined int64  `json:"quarantined"`
	Excused     int64  `json:"excused"`
	Put         int64  `json:"put"` // refused on the way, repaired and put in
}

// Different reports whether the unit is not as it should be.
func (d *UnitDiff) Different() bool { return d.Missing+d.Extra+d.Differs+d.Quarantined > 0 }

// Diff compares every record of the lane. It returns what it counted by unit;
// differences are no error.
func Diff[T Record](ctx context.Context, c Comparison[T]) ([]UnitDiff, error) {
	d := &differ[T]{Comparison: c, units: map[string]*UnitDiff{}, renamed: map[string]bool{}, accepted: map[Reason]bool{}}
	if c.Journal != nil {
		reasons, err := c.Journal.Accepted(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range reasons {
			d.accepted[r] = true
		}
	}
	if c.Report == nil {
		d.Report = func(Difference) {}
	}
	if c.Units == nil {
		units, err := c.Source.Units(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the source: %w", err)
		}
		d.Units = units
	}
	for _, u := range d.Units {
		d.units[u.ID()] = &UnitDiff{Unit: u.ID()}
	}
	err := Scan(ctx, Survey[T]{Source: c.Source, Transforms: c.Transforms, Units: d.Units, Workers: c.Workers,
		PartBytes: c.PartBytes, Meter: c.Meter, Backoff: c.Backoff, Handle: d.batch, UnitDone: d.done})
	out := make([]UnitDiff, len(d.Units))
	for i, u := range d.Units {
		out[i] = *d.units[u.ID()]
	}
	if err != nil {
		return out, err
	}
	more, err := d.apart(ctx)
	return append(out, more...), err
}

// apart counts what the run has written to units that one of the sides does not
// have any more.
func (d *differ[T]) apart(ctx context.Context) ([]UnitDiff, error) {
	if d.Journal == nil {
		return nil, nil
	}
	units, err := apartFrom(ctx, d.Source, d.Journal, d.Units)
	if err != nil {
		return nil, err
	}
	var out []UnitDiff
	for _, u := range units.without {
		if u.Records > 0 {
			out = append(out, UnitDiff{Unit: u.ID(), Source: u.Records, Missing: u.Records})
			d.Report(Difference{u.ID(), "", Missing, "", fmt.Sprintf("all %d records: the target does not have it any more", u.Records)})
		}
	}
	for _, u := range units.gone {
		n, err := countOf(ctx, d.Target, u)
		if err != nil {
			return nil, fmt.Errorf("counting %s on the target: %w", u.ID(), err)
		}
		if n > 0 {
			out = append(out, UnitDiff{Unit: u.ID(), Target: n, Extra: n})
			d.Report(Difference{u.ID(), "", Extra, "", fmt.Sprintf("all %d records: the source does not have it any more", n)})
		}
	}
	return out, nil
}

type differ[T Record] struct {
	Comparison[T]
	accepted map[Reason]bool
	mu       sync.Mutex
	units    map[string]*UnitDiff
	renamed  map[string]bool // units in which a transform has changed keys
}

// batch compares one batch. Its counts are added at the end, so a repeated
// batch is not counted twice.
func (d *differ[T]) batch(ctx context.Context, b Batch[T]) error {
	u := b.Part.Unit
	if d.Observe != nil {
		d.Observe(u, b.Records)
	}
	keys := make([]string, len(b.Records))
	for i, r := range b.Records {
		keys[i] = r.Key()
	}
	var got map[string]T
	err := d.Backoff.Do(ctx, func(int) (err error) {
		got, err = d.Target.Get(ctx, u, keys)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading %s back: %w", u.ID(), err)
	}
	add := UnitDiff{Source: int64(b.Read)}
	var found []Difference
	note := func(n *int64, diff Difference) {
		*n++
		found = append(found, diff)
	}
	for _, r := range b.Records {
		g, ok := got[r.Key()]
		if !ok {
			lines, err := d.lines(ctx, u, r.Key())
			if err != nil {
				return err
			}
			listed, accepted, why := len(lines) > 0, d.agreed(lines), ""
			if accepted { // to leave out what it was then
				if why, err = refusedThen(ctx, lines, r); err != nil {
					return err
				}
			}
			switch {
			case why != "":
				note(&add.Missing, Difference{u.ID(), r.Key(), Missing, "", why})
			case accepted:
				add.Excused++
			case listed:
				note(&add.Quarantined, Difference{u.ID(), r.Key(), Quarantined, "", "in the quarantine, not accepted"})
			default:
				note(&add.Missing, Difference{u.ID(), r.Key(), Missing, "", ""})
			}
			continue
		}
		add.Target++
		fields, err := d.Equal(ctx, u, r, g)
		if err != nil {
			return fmt.Errorf("comparing %s: %w", u.ID(), err)
		}
		open, err := unexplained(ctx, d.Journal, u, r.Key(), fields)
		if err != nil {
			return err
		}
		another, accepted := false, false
		if len(open) > 0 {
			if another, accepted, err = d.another(ctx, u, r.Key()); err != nil {
				return err
			}
		}
		switch {
		case len(fields) == 0:
			add.Equal++
		case len(open) == 0, accepted:
			add.Excused++
		case another:
			note(&add.Quarantined, Difference{u.ID(), r.Key(), Quarantined, "", "in the quarantine, not accepted: the target has another record of this key"})
		default:
			add.Differs++
			for _, f := range open {
				found = append(found, Difference{u.ID(), r.Key(), Differs, f.Column, f.Detail})
			}
		}
	}
	if err := d.refusals(ctx, b, &add, note); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.units[u.ID()].Add(add)
	d.renamed[u.ID()] = d.renamed[u.ID()] || slices.ContainsFunc(b.Changed, func(c Change) bool { return c.Column == "id" })
	for _, f := range found {
		d.Report(f)
	}
	return nil
}

// Add sums two counts.
func (d *UnitDiff) Add(o UnitDiff) {
	d.Source += o.Source
	d.Target += o.Target
	d.Equal += o.Equal
	d.Missing += o.Missing
	d.Extra += o.Extra
	d.Differs += o.Differs
	d.Quarantined += o.Quarantined
	d.Excused += o.Excused
	d.Put += o.Put
}

// refusals checks that what reader and transforms refused stands in the
// quarantine, or was put in by a replay.
func (d *differ[T]) refusals(ctx context.Context, b Batch[T], add *UnitDiff, note func(*int64, Difference)) error {
	seen := map[string]bool{}
	for _, r := range b.Refused {
		if seen[r.Key] {
			continue
		}
		seen[r.Key] = true
		listed, accepted, err := d.refused(ctx, b.Part.Unit, r.Key)
		if err != nil {
			return err
		}
		if !listed {
			put, err := WasReplayed(ctx, d.Journal, b.Part.Unit.ID(), r.Key)
			if err != nil {
				return err
			}
			if put {
				add.Put++
				add.Target++
				continue
			}
		}
		switch {
		case accepted && d.accepted[r.Reason]:
			add.Excused++
		case listed:
			note(&add.Quarantined, Difference{r.Unit, r.Key, Quarantined, r.Column, string(r.Reason) + ": " + r.Detail})
		default:
			note(&add.Missing, Difference{r.Unit, r.Key, Missing, r.Column, string(r.Reason) + ", and not in the quarantine: " + r.Detail})
		}
	}
	return nil
}

// Replayed is the ledger's reason for a repaired record that was put in.
const Replayed Reason = "replayed"

// refused reports whether the key stands in the quarantine, and whether all its
// reasons are accepted.
func (d *differ[T]) refused(ctx context.Context, u Unit, key string) (listed, accepted bool, err error) {
	lines, err := d.lines(ctx, u, key)
	return len(lines) > 0, d.agreed(lines), err
}

// lines are those of the quarantine of a key.
func (d *differ[T]) lines(ctx context.Context, u Unit, key string) ([]Refusal, error) {
	if d.Journal == nil {
		return nil, nil
	}
	return d.Journal.Refused(ctx, u.ID(), key)
}

// agreed reports whether all reasons of a refused record are accepted.
func (d *differ[T]) agreed(lines []Refusal) bool {
	return len(lines) > 0 && !slices.ContainsFunc(lines, func(l Refusal) bool { return !d.accepted[l.Reason] })
}

// another reports whether the record was refused as the target has another one of
// its key, which is then no concern of the comparison, and whether that is
// accepted.
func (d *differ[T]) another(ctx context.Context, u Unit, key string) (another, accepted bool, err error) {
	lines, err := d.lines(ctx, u, key)
	if !slices.ContainsFunc(lines, func(l Refusal) bool { return l.Reason == Duplicate }) {
		return false, false, err
	}
	return true, d.agreed(lines), err
}

// unexplained leaves out the fields whose value should be what the ledger says it
// was before, and is what that says it was changed to, and everything of a replayed
// record. A line tells nothing of what the source has written since. Only lines of
// these reasons count, if there are any. journal may be nil.
func unexplained(ctx context.Context, journal Journal, u Unit, key string, fields []Field, reasons ...Reason) ([]Field, error) {
	if len(fields) == 0 || journal == nil {
		return fields, nil
	}
	changes, err := journal.Changed(ctx, u.ID(), key)
	if err != nil {
		return nil, err
	}
	var open []Field
next:
	for _, f := range fields {
		for _, c := range changes {
			if len(reasons) > 0 && !slices.Contains(reasons, c.Reason) {
				continue
			}
			if c.Reason == Replayed || (c.Column == f.Column && c.Before == Digest(f.Want) && c.After == Digest(f.Got)) {
				continue next
			}
		}
		open = append(open, f)
	}
	return open, nil
}

func (d *differ[T]) done(ctx context.Context, u Unit) error {
	if err := d.extras(ctx, u); err != nil || d.Then == nil {
		return err
	}
	return d.Then(ctx, u)
}

// extras counts the target's records; when there are more than were found by
// key it lists the keys and asks the source for each.
func (d *differ[T]) extras(ctx context.Context, u Unit) error {
	counter, ok := d.Target.(Counter)
	if !ok {
		return nil
	}
	n, err := counter.Count(ctx, u)
	if err != nil {
		return fmt.Errorf("counting %s on the target: %w", u.ID(), err)
	}
	d.mu.Lock()
	ud := d.units[u.ID()]
	matched := ud.Target
	ud.Target = n
	renamed := d.renamed[u.ID()]
	d.mu.Unlock()
	if n <= matched {
		return nil
	}
	lister, ok := d.Target.(KeyLister)
	getter, ok2 := d.Source.(Getter[T])
	// The source does not know the keys that its records got on the way.
	if !ok || !ok2 || renamed {
		d.mu.Lock()
		defer d.mu.Unlock()
		ud.Extra += n - matched
		d.Report(Difference{u.ID(), "", Extra, "", fmt.Sprintf("%d more records on the target than in the source", n-matched)})
		return nil
	}
	page, left := make([]string, 0, 1000), n-matched
	for key, err := range lister.Keys(ctx, u) {
		if err != nil {
			return fmt.Errorf("listing keys of %s: %w", u.ID(), err)
		}
		if page = append(page, key); len(page) == cap(page) {
			found, err := d.extraPage(ctx, u, getter, page)
			if err != nil {
				return err
			}
			page, left = page[:0], left-found
		}
	}
	found, err := d.extraPage(ctx, u, getter, page)
	if err != nil {
		return err
	}
	if left -= found; left > 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		ud.Extra += left
		d.Report(Difference{u.ID(), "", Extra, "", fmt.Sprintf("%d records that the target holds more than once", left)})
	}
	return nil
}

// extraPage looks a page of the target's keys up in the source and gives how
// many it accounts for: those that the source lacks.
func (d *differ[T]) extraPage(ctx context.Context, u Unit, source Getter[T], page []string) (found int64, err error) {
	if len(page) == 0 {
		return 0, nil
	}
	have, err := source.Get(ctx, u, page)
	if err != nil {
		return 0, fmt.Errorf("looking keys of %s up in the source: %w", u.ID(), err)
	}
	for _, key := range page {
		if _, ok := have[key]; ok {
			continue
		}
		found++
		counted, err := WasReplayed(ctx, d.Journal, u.ID(), key)
		if err == nil && !counted {
			counted, err = d.older(ctx, u, key)
		}
		if err != nil {
			return found, err
		}
		if counted {
			continue
		}
		d.mu.Lock()
		d.units[u.ID()].Extra++
		d.Report(Difference{u.ID(), key, Extra, "", ""})
		d.mu.Unlock()
	}
	return found, nil
}

// older reports whether what the target holds of a key may be what the source had
// before it could not give it any more: the refusal counts.
func (d *differ[T]) older(ctx context.Context, u Unit, key string) (bool, error) {
	if d.Journal == nil || u.Lane != Files {
		return false, nil
	}
	lines, err := d.Journal.Refused(ctx, u.ID(), key)
	return unreadable(lines), err
}
