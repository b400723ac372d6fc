package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"outgrow/pipeline"
	"outgrow/pipeline/digests"
)

type syncCmd struct {
	pair
	laneFlags
	Accept       []string `help:"Reasons whose refused records you agree to leave in the quarantine: orphan, needs-embedding, ..." placeholder:"REASON"`
	AllowDeletes bool     `help:"Remove from the target whatever the source has no more, even if that is more than a fifth of a table, collection or folder."`
	Overwrite    bool     `help:"Change and remove rows on the target even where somebody else has written them there since the last pass. Without it they are left and listed."`
	Strays       bool     `help:"After the cutover: carry over what was still written to the old side. Adds and changes only, and never what was changed on the target too."`
	Chown        string   `help:"Owner of written files, USER or USER:GROUP, names or numbers (default: that of the target folder)." placeholder:"USER:GROUP"`
}

func (c *syncCmd) Run(a *app) error {
	if c.Strays {
		return c.carryOver(a)
	}
	s, err := a.open(c.pair, c.laneFlags, openOptions{write: true, verify: true, chown: c.Chown, accept: c.Accept})
	if err != nil {
		return a.notOpened("sync", c.pair, err)
	}
	defer s.close()
	if err := overwrites(s.state); err != nil {
		return err
	}
	m := &migration{app: a, session: s, meter: &pipeline.Meter{}, began: time.Now(), pass: newPass(c.AllowDeletes, c.Overwrite)}
	a.failure = m.failed
	return judged(a.exit(m.run(a.ctx)))
}

// pass is one run of sync.
type pass struct {
	mayDelete, mayOverwrite bool

	conflicts *strayList

	mu    sync.Mutex
	units map[string]pipeline.UnitSync
}

func newPass(mayDelete, mayOverwrite bool) *pass {
	return &pass{mayDelete: mayDelete, mayOverwrite: mayOverwrite, units: map[string]pipeline.UnitSync{}}
}

func (p *pass) add(units []pipeline.UnitSync) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range units {
		p.units[u.Unit] = u
	}
}

func (p *pass) sum() (s pipeline.UnitSync) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.units {
		s.Add(u)
	}
	return s
}

// follow takes the lanes' locks for a pass over a target that migrate has
// filled; it writes nothing else.
func (m *migration) follow(ctx context.Context) error {
	for _, l := range m.lanes {
		if l.InPlace() {
			continue
		}
		op := "looking for what was migrated of the " + string(l.Kind())
		run, err := l.Peek(ctx)
		if err != nil {
			return err
		}
		if run == nil {
			return pipeline.Usage(op, errors.New("no migration was begun on this target"), "run outgrow migrate "+m.pairArgs())
		}
		res, err := l.Begin(ctx, pipeline.Run{ID: run.ID, Version: buildVersion()})
		if err != nil {
			return err
		}
		if !res.Complete {
			return pipeline.Usage(op, errors.New("the migration has not come to its end"), "run outgrow migrate "+m.pairArgs()+": it resumes")
		}
		m.id = res.Run.ID
		if err := l.Journal().Accept(ctx, m.consent.reasons()); err != nil {
			return err
		}
		if err := m.sameChoice(ctx, l, res); err != nil {
			return err
		}
	}
	return m.keepChoices()
}

// move copies a lane, or makes a pass over it.
func (m *migration) move(ctx context.Context, l mover, gate *pipeline.Gate) error {
	if m.pass == nil {
		return l.Copy(ctx, gate, m.meter, m.state, m.live() || m.guided)
	}
	units, err := l.Sync(ctx, gate, m.meter, syncHow{dir: m.state, mayDelete: m.pass.mayDelete, mayOverwrite: m.pass.mayOverwrite, conflict: m.pass.conflicts.add})
	m.pass.add(units)
	return err
}

// touchedFile lists, in the state folder, the records that a pass has left as
// somebody else had written them on the target.
const touchedFile = "touched.jsonl"

// live reports whether the source may be in use: a sync pass will follow.
func (s *session) live() bool {
	if s.db != nil && s.db.whole != nil {
		return s.src.live
	}
	return !s.stopped
}

// syncHow says how a pass is made.
type syncHow struct {
	dir                     string // the state folder
	mayDelete, mayOverwrite bool
	conflict                func(pipeline.Stray)
}

// synced is the journal's mark of a lane whose target a pass has changed: the
// parts' counts do not tell any more what it holds.
const synced = "synced"

// early is what is remembered of a lane's run, as it is read before the lane's lock
// is taken.
type early struct {
	done  chan struct{}
	run   string
	store *digests.Store // nil where it cannot be read
}

func (e *early) close() error {
	if <-e.done; e.store == nil {
		return nil
	}
	return e.store.Close()
}

// readAhead begins to read what is remembered, if anything is.
func (l *lane[T]) readAhead(ctx context.Context, dir string) {
	if !digests.Has(l.digestsIn(dir)) {
		return
	}
	e := &early{done: make(chan struct{})}
	l.early = e
	go func() {
		defer close(e.done)
		var err error
		if e.run, err = l.runName(ctx); err == nil {
			e.store, _ = l.digestsOf(ctx, dir, e.run) // who opens it again has the error
		}
	}()
}

// openDigests opens what is remembered of the lane's run, whose lock is held.
func (l *lane[T]) openDigests(ctx context.Context, dir string) (*digests.Store, error) {
	run, err := l.runName(ctx)
	if err != nil {
		return nil, err
	}
	if e := l.early; e != nil {
		l.early = nil
		if <-e.done; e.store != nil && e.run == run && e.store.Current() {
			return e.store, nil
		}
		_ = e.close() // nothing was written to it
	}
	return l.digestsOf(ctx, dir, run)
}

func (l *lane[T]) digestsOf(ctx context.Context, dir, run string) (*digests.Store, error) {
	return digests.Open(ctx, l.digestsIn(dir), run, l.rules)
}

// digestsIn is their place in the state folder.
func (l *lane[T]) digestsIn(dir string) string { return filepath.Join(dir, string(l.kind)) }

// runName names the lane's run and its target.
func (l *lane[T]) runName(ctx context.Context) (string, error) {
	run, err := l.Peek(ctx)
	if err != nil {
		return "", err
	}
	if run == nil {
		return "", errors.New("the run was not begun")
	}
	return run.ID + "/" + run.Target, nil
}

func (l *lane[T]) Sync(ctx context.Context, gate *pipeline.Gate, meter *pipeline.Meter, how syncHow) ([]pipeline.UnitSync, error) {
	if l.inPlace {
		l.stays(gate, meter)
		return nil, nil
	}
	rebase, ok := l.journal.(pipeline.Rebaser)
	target, ok2 := l.back.(pipeline.Getter[T])
	if !ok || !ok2 {
		return nil, fmt.Errorf("syncing the %s: %w", l.kind, errors.ErrUnsupported)
	}
	d, err := l.openDigests(ctx, how.dir)
	if err != nil {
		return nil, err
	}
	defer d.Close() //nolint:errcheck // Sync has flushed it; what is lost of it is found again
	if err := d.Lost(); err != nil {
		l.log.Warn("what earlier passes remembered of the target cannot be used: this one compares with the target itself, which takes about as long as verify; nothing is to be done",
			"lane", l.kind, "reason", err)
	}
	if err := l.journal.Mark(ctx, synced, "yes"); err != nil {
		return nil, err
	}
	units, err := pipeline.Sync(ctx, pipeline.Delta[T]{Source: l.source, Sink: l.sink, Transforms: l.transforms, Pure: l.pure, Units: l.units, Workers: l.workers,
		PartBytes: l.partBytes, Gate: gate, Meter: meter, Rate: l.rate, Log: l.log, Journal: l.journal, Digests: d, Target: target, Equal: l.equal, MayDelete: how.mayDelete,
		Exact: l.kind == pipeline.Rows, MayOverwrite: how.mayOverwrite, Conflict: how.conflict})
	if err != nil {
		return units, err
	}
	if f, ok := l.sink.(pipeline.Finisher); ok {
		out, err := f.Finish(ctx, func(s string) { meter.Step(l.kind, s) })
		if err != nil {
			return units, fmt.Errorf("finishing the %s: %w", l.kind, err)
		}
		if err := l.journal.AddLines(ctx, out.Refused, out.Changed); err != nil {
			return units, err
		}
	}
	return units, rebase.Rebase(ctx, l.began)
}

// syncReport is what a pass did.
type syncReport struct {
	Run           string              `json:"run"`
	At            time.Time           `json:"at"`
	Seconds       float64             `json:"seconds"`
	Predicted     float64             `json:"predicted_seconds,omitempty"` // by the pass before
	SourceChanged bool                `json:"source_changed"`
	Running       bool                `json:"running,omitempty"`
	Complete      bool                `json:"complete"`
	Exit          int                 `json:"exit"`
	Error         string              `json:"error,omitempty"`
	Units         []pipeline.UnitSync `json:"units"`
	Findings      []pipeline.Finding  `json:"findings"`
	Quarantine    []pipeline.Tally    `json:"quarantine"`
	Ledger        []pipeline.Tally    `json:"ledger"`
	Paths         *pathsReport        `json:"paths,omitempty"`
	Throughput    *throughput         `json:"throughput,omitempty"`
}

// changedUnits lists what a pass did, in the order of the lanes' units; those
// that are not in the source any more come last.
func (m *migration) changedUnits() []pipeline.UnitSync {
	m.pass.mu.Lock()
	defer m.pass.mu.Unlock()
	var out []pipeline.UnitSync
	seen := map[string]bool{}
	for _, l := range m.lanes {
		for _, u := range l.Units() {
			if n, ok := m.pass.units[u.ID()]; ok {
				out, seen[u.ID()] = append(out, n), true
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.pass.units)) {
		if !seen[id] {
			out = append(out, m.pass.units[id])
		}
	}
	return out
}

// sayPass tells what a pass did.
func (m *migration) sayPass() {
	for _, u := range m.changedUnits() {
		if u.New+u.Changed+u.Deleted+u.Refused+u.Conflicts > 0 {
			m.say("  %-42s %s new, %s changed, %s removed, %s refused", printable(u.Unit), number(u.New), number(u.Changed), number(u.Deleted), number(u.Refused))
		}
	}
	s := m.pass.sum()
	m.say("done    %s new, %s changed, %s removed, %s refused of %s read in %s", number(s.New), number(s.Changed), number(s.Deleted), number(s.Refused),
		plural(s.Read, "record"), clock(time.Since(m.began)))
	if s.Conflicts > 0 {
		m.say("conflict %s that somebody else has written on the target since the last pass: left as they are, in %s", plural(s.Conflicts, "record"), m.pass.conflicts.path)
		m.say("fix     let nobody write there; if what the source holds is right: outgrow sync %s --overwrite", m.pairArgs())
	}
}
