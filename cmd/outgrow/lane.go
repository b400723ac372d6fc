package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"outgrow/pipeline"
	rowsink "outgrow/sink/postgres"
)

// mover is one lane of a pair, whatever it carries.
type mover interface {
	Kind() pipeline.Lane
	Units() []pipeline.Unit
	// Check asks source and sink what would go wrong.
	Check(ctx context.Context) ([]pipeline.Finding, error)
	// Survey reads the whole lane through its transforms into nothing.
	Survey(ctx context.Context, meter *pipeline.Meter, refused func(pipeline.Refusal), changed func(pipeline.Change)) error
	// Begin takes the lane's lock on the target and its place in an earlier run.
	Begin(ctx context.Context, run pipeline.Run) (pipeline.Resumed, error)
	// Restart is Begin that forgets an earlier run, where the journal can.
	Restart(ctx context.Context, run pipeline.Run) (pipeline.Resumed, error)
	// Resume is Begin for the run that the journal tells of already.
	Resume(ctx context.Context) (pipeline.Resumed, error)
	// Identity is that of the source.
	Identity(ctx context.Context) (pipeline.Identity, error)
	// Copy moves the lane. In the folder state it remembers what it writes for a sync
	// pass, where the source is in use; of files always, as only that tells them from
	// others' in the same folder.
	Copy(ctx context.Context, gate *pipeline.Gate, meter *pipeline.Meter, state string, inUse bool) error
	// Sync brings a target that Copy has filled up to the source once more.
	Sync(ctx context.Context, gate *pipeline.Gate, meter *pipeline.Meter, how syncHow) ([]pipeline.UnitSync, error)
	// Strays finds, or carries over, what the source got after the last pass.
	Strays(ctx context.Context, meter *pipeline.Meter, dir string, carry bool, report func(pipeline.Stray)) ([]pipeline.UnitStrays, error)
	// Peek gives the run that the journal tells of, nil when there is none.
	Peek(ctx context.Context) (*pipeline.Run, error)
	// Release is the very last act, after every lane was copied.
	Release(ctx context.Context) error
	Diff(ctx context.Context, meter *pipeline.Meter, report func(pipeline.Difference)) ([]pipeline.UnitDiff, error)
	Replay(ctx context.Context, lines []pipeline.Refusal) (pipeline.Outcome, error)
	// Journal is nil before the lane's state exists.
	Journal() pipeline.Journal
	// Own reports whether the lane's journal is the command's own, not the
	// target's; such a journal is a pipeline.Restarter and a pipeline.Peeker.
	Own() bool
	// Outlived reports whether an own journal tells of records on a target that
	// has none of them any more.
	Outlived(ctx context.Context, res pipeline.Resumed) (bool, error)
	// Empty does what is left of a --replace for a target without transactions:
	// it empties the target once for a run that was begun so.
	Empty(ctx context.Context, run pipeline.Run) error
	// Moved reports whether the source has changed since Begin, as far as it
	// can tell itself.
	Moved(ctx context.Context) (bool, error)
	// InPlace is true when both sides are the same folder: nothing is copied.
	InPlace() bool
	Close() error
}

// lane implements mover for one record type.
type lane[T pipeline.Record] struct {
	kind       pipeline.Lane
	units      []pipeline.Unit
	source     pipeline.Source[T]
	sink       pipeline.Sink[T]
	back       pipeline.Source[T]
	journal    pipeline.Journal
	transforms []pipeline.Transform[T]
	// pure as in pipeline.Delta, and the name of the rules that it speaks of; nil
	// where no unit's transforms are.
	pure   func(pipeline.Unit) bool
	rules  string
	equal  func(context.Context, pipeline.Unit, T, T) ([]pipeline.Field, error)
	decode func(pipeline.Refusal) (T, error)
	// fingerprint identifies the target of this lane.
	fingerprint func(context.Context) (string, error)
	inPlace     bool
	own         bool // see Own
	replace     bool // the target is to be emptied first
	holds       bool // the check found records on the target
	workers     int
	partBytes   int64 // see pipeline.Job
	rate        *pipeline.Limiter
	began       pipeline.Identity // of the source
	// now gives the source's identity anew where the source itself cannot.
	now func(context.Context) (pipeline.Identity, error)
	log *slog.Logger
	// early is what is remembered of the run, read ahead; nil where it is not.
	early *early
	// observe and then are those of the comparison; they may be nil.
	observe func(pipeline.Unit, []T)
	then    func(context.Context, pipeline.Unit) error
}

func (l *lane[T]) Kind() pipeline.Lane       { return l.kind }
func (l *lane[T]) Units() []pipeline.Unit    { return l.units }
func (l *lane[T]) InPlace() bool             { return l.inPlace }
func (l *lane[T]) Journal() pipeline.Journal { return l.journal }
func (l *lane[T]) Own() bool                 { return l.own }

func (l *lane[T]) Check(ctx context.Context) ([]pipeline.Finding, error) {
	var all []pipeline.Finding
	for _, side := range []any{l.source, l.sink} {
		c, ok := side.(pipeline.Checker)
		if !ok || (side == any(l.sink) && l.inPlace) {
			continue
		}
		f, err := c.Check(ctx, l.units)
		if err == nil && side == any(l.sink) && l.own && l.kind == pipeline.Vectors {
			f, err = l.notOurs(ctx, f)
		}
		if err != nil {
			return nil, fmt.Errorf("checking the %s: %w", l.kind, err)
		}
		all = append(all, f...)
	}
	return sensible(all), nil
}

// sensible leaves out what is said to be not of the target's schema where that
// schema is refused as another one, or as not all there: it would be said of
// Open WebUI's own tables.
func sensible(all []pipeline.Finding) []pipeline.Finding {
	refused := slices.ContainsFunc(all, func(f pipeline.Finding) bool {
		return f.Severity == pipeline.Refuse && slices.Contains([]pipeline.Reason{"unknown-head", "heads-differ", "in-use", rowsink.Incomplete}, f.Reason)
	})
	return slices.DeleteFunc(all, func(f pipeline.Finding) bool {
		return refused && f.Severity == pipeline.Warn && (f.Reason == "extra-table" || f.Reason == "extra-column")
	})
}

func (l *lane[T]) Survey(ctx context.Context, meter *pipeline.Meter, refused func(pipeline.Refusal), changed func(pipeline.Change)) error {
	return pipeline.Scan(ctx, pipeline.Survey[T]{Source: l.source, Transforms: l.transforms, Units: l.units, Workers: l.workers, Meter: meter,
		Handle: func(_ context.Context, b pipeline.Batch[T]) error {
			for _, r := range b.Refused {
				refused(r)
			}
			for _, c := range b.Changed {
				changed(c)
			}
			return nil
		}})
}

func (l *lane[T]) Identity(ctx context.Context) (pipeline.Identity, error) {
	i, ok := l.source.(pipeline.Identifier)
	if !ok {
		return pipeline.Identity{Stable: string(l.kind)}, nil
	}
	return i.Identity(ctx)
}

func (l *lane[T]) Begin(ctx context.Context, run pipeline.Run) (pipeline.Resumed, error) {
	return l.begin(ctx, run, l.journal.Begin)
}

func (l *lane[T]) Restart(ctx context.Context, run pipeline.Run) (pipeline.Resumed, error) {
	r, ok := l.journal.(pipeline.Restarter)
	if !ok {
		return pipeline.Resumed{}, &pipeline.Error{Op: "beginning the " + string(l.kind) + " anew", Err: errors.ErrUnsupported}
	}
	return l.begin(ctx, run, r.Restart)
}

// begin fills in who source and target are.
func (l *lane[T]) begin(ctx context.Context, run pipeline.Run, how func(context.Context, pipeline.Run) (pipeline.Resumed, error)) (pipeline.Resumed, error) {
	id, err := l.Identity(ctx)
	if err != nil {
		return pipeline.Resumed{}, err
	}
	run.Source, l.began = id, id
	if run.Target, err = l.fingerprint(ctx); err != nil {
		return pipeline.Resumed{}, err
	}
	return how(ctx, run)
}

// Peek asks the journal.
func (l *lane[T]) Peek(ctx context.Context) (*pipeline.Run, error) {
	p, ok := l.journal.(pipeline.Peeker)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return p.Peek(ctx)
}

// Resume needs no source: it takes the lock for the run as it was begun.
func (l *lane[T]) Resume(ctx context.Context) (pipeline.Resumed, error) {
	run, err := l.Peek(ctx)
	if err != nil {
		return pipeline.Resumed{}, err
	}
	if run == nil {
		return pipeline.Resumed{}, &pipeline.Error{Op: "resuming the " + string(l.kind), Err: errors.New("no migration was begun on this target"), Exit: pipeline.ExitUsage,
			Hint: "run migrate first"}
	}
	return l.journal.Begin(ctx, *run)
}

func (l *lane[T]) Copy(ctx context.Context, gate *pipeline.Gate, meter *pipeline.Meter, state string, inUse bool) error {
	if l.inPlace {
		l.stays(gate, meter)
		return nil
	}
	job := pipeline.Job[T]{Source: l.source, Sink: l.sink, Journal: l.journal, Transforms: l.transforms, Units: l.units,
		Workers: l.workers, PartBytes: l.partBytes, Spread: l.kind == pipeline.Rows, Gate: gate, Meter: meter, Rate: l.rate, Log: l.log, InUse: inUse}
	if inUse || l.kind == pipeline.Files {
		d, err := l.openDigests(ctx, state)
		if err != nil {
			return err
		}
		defer d.Close() //nolint:errcheck // what is lost of it is found again
		job.Digests, job.Pure = d, l.pure
	}
	err := pipeline.Copy(ctx, job)
	if err == nil && l.own {
		err = l.journal.Mark(ctx, "complete", time.Now().UTC().Format(time.RFC3339))
	}
	return err
}

// stays counts the units of files that are in place.
func (l *lane[T]) stays(gate *pipeline.Gate, meter *pipeline.Meter) {
	for _, u := range l.units {
		c := meter.Unit(u)
		c.Read.Store(u.Records)
		c.End()
		gate.Open(u.ID())
	}
}

func (l *lane[T]) Release(ctx context.Context) error {
	if r, ok := l.sink.(pipeline.Releaser); ok && !l.inPlace {
		return r.Release(ctx)
	}
	return nil
}

func (l *lane[T]) Diff(ctx context.Context, meter *pipeline.Meter, report func(pipeline.Difference)) ([]pipeline.UnitDiff, error) {
	get, ok := l.back.(pipeline.Getter[T])
	if !ok {
		return nil, &pipeline.Error{Op: "reading the target back", Unit: string(l.kind), Err: errors.ErrUnsupported}
	}
	return pipeline.Diff(ctx, pipeline.Comparison[T]{Source: l.source, Transforms: l.transforms, Units: l.units, Workers: l.workers, Meter: meter,
		Target: get, Equal: l.equal, Journal: l.journal, Report: report, Observe: l.observe, Then: l.then})
}

// Replay puts repaired lines in, unit by unit in the order given, through the
// same transforms as the copy.
func (l *lane[T]) Replay(ctx context.Context, lines []pipeline.Refusal) (pipeline.Outcome, error) {
	var total pipeline.Outcome
	put, ok := l.sink.(pipeline.Putter[T])
	if !ok {
		return total, &pipeline.Error{Op: "replaying " + string(l.kind), Err: errors.ErrUnsupported, Hint: "run migrate again: it copies what is readable now"}
	}
	for len(lines) > 0 {
		id := lines[0].Unit
		b := pipeline.Batch[T]{Part: pipeline.Part{Unit: pipeline.UnitOf(id)}}
		n := 0
		was := map[string]string{} // the line's key by that of the record
		for n < len(lines) && n < 500 && lines[n].Unit == id {
			rec, err := l.decode(lines[n])
			if err != nil {
				return total, &pipeline.Error{Op: "reading a line for", Unit: id, Key: printable(lines[n].Key), Err: err, Exit: pipeline.ExitUsage,
					Hint: "keep the line's form as status --quarantine prints it and change only the values"}
			}
			one := pipeline.Batch[T]{Part: b.Part, Records: []T{rec}}
			pipeline.Apply(&one, l.transforms, (*pipeline.Meter)(nil).Unit(b.Part.Unit))
			b.Refused = append(b.Refused, one.Refused...)
			b.Changed = append(b.Changed, one.Changed...)
			for _, r := range one.Records {
				was[r.Key()] = lines[n].Key
				b.Records = append(b.Records, r)
			}
			n++
		}
		lines = lines[n:]
		total.Refused = append(total.Refused, b.Refused...)
		out, err := put.Put(ctx, b.Part.Unit, b.Records)
		if err != nil {
			return total, err
		}
		total.Add(out)
		if err := l.settle(ctx, b, out, was); err != nil {
			return total, err
		}
	}
	return total, nil
}

// Close closes everything that was opened, the lock included.
func (l *lane[T]) Close() error {
	var errs []error
	if l.early != nil {
		errs = append(errs, l.early.close())
	}
	if l.journal != nil {
		errs = append(errs, l.journal.Close())
	}
	if l.back != nil {
		errs = append(errs, l.back.Close())
	}
	if l.sink != nil {
		errs = append(errs, l.sink.Close())
	}
	if l.source != nil {
		errs = append(errs, l.source.Close())
	}
	return errors.Join(errs...)
}
