package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"outgrow/cmd/outgrow/telemetry"
	"outgrow/mappings/silence"
	"outgrow/pipeline"
	sink "outgrow/sink/files"
)

type migrateCmd struct {
	pair
	laneFlags
	Accept  []string `help:"Reasons whose refused records you agree to leave in the quarantine: orphan, needs-embedding, ..." placeholder:"REASON"`
	Replace bool     `help:"Empty what the target already holds of these lanes, and start over."`
	Chown   string   `help:"Owner of written files, USER or USER:GROUP, names or numbers (default: that of the target folder)." placeholder:"USER:GROUP"`
}

func (c *migrateCmd) Run(a *app) error {
	s, err := a.open(c.pair, c.laneFlags, openOptions{write: true, replace: c.Replace, chown: c.Chown, accept: c.Accept})
	if err != nil {
		return a.notOpened("migrate", c.pair, err)
	}
	defer s.close()
	m := &migration{app: a, session: s, meter: &pipeline.Meter{}, began: time.Now(), replace: c.Replace}
	a.failure = m.failed
	// Told while both sides are still open: the screen asks how far they are.
	return judged(a.exit(m.run(a.ctx)))
}

// migration is one run of migrate.
type migration struct {
	*app
	*session
	meter   *pipeline.Meter
	began   time.Time
	id      string
	resumed bool
	changed bool
	replace bool
	rowsRun string // the run of the rows, "" when they do not take part
	started bool   // something may have been written
	all     []pipeline.Finding
	// switched is what became of file.path, nil where it is not switched here.
	switched *pathsReport
	misled   misled                // the rows of refused files
	pass     *pass                 // of sync, nil for migrate
	waiting  map[string]bool       // reasons that nobody has agreed to, once it is over
	running  bool                  // records are being moved
	moved    *throughput           // nil before
	ended    *failureReport        // nil while nothing has gone wrong
	earlier  map[string]unitReport // of earlier sittings; nil before it was looked for
	told     *telemetry.Section    // what others see of it
}

func (m *migration) run(ctx context.Context) (err error) {
	m.told = m.hub.Section(m.command(), m.meter, m.redact)
	defer func() { m.told.End(err) }()
	findings, err := m.check(ctx)
	if err != nil {
		return err
	}
	m.all = findings
	if err := m.begin(ctx, findings); err != nil {
		return err
	}
	if m.pass == nil || !m.guided {
		m.screen(m.command(), m.id, m.resumed, findings)
	}
	m.started = true
	m.told.Run(m.id, m.resumed)
	if err := m.copyAll(ctx); err != nil {
		return err
	}
	return m.conclude(ctx)
}

// what is the word for this run.
func (m *migration) what() string {
	if m.pass != nil {
		return "pass"
	}
	return "migration"
}

// command is what the operator has called.
func (m *migration) command() string {
	if m.pass != nil {
		return "sync"
	}
	return "migrate"
}

// begin refuses what the checks refuse, then takes every lane's lock. Nothing
// but outgrow's own state is written by it.
func (m *migration) begin(ctx context.Context, findings []pipeline.Finding) error {
	if refused, _ := judge(findings, m.consent); refused {
		m.screen(m.command(), "", false, findings)
		return &pipeline.Error{Op: "checking before the first write", Err: errors.New("the plan is refused, nothing was written"), Exit: pipeline.ExitUsage,
			Hint: "mend what is marked \"refuse\" above, then run the same command"}
	}
	if m.pass != nil {
		return m.follow(ctx)
	}
	id := make([]byte, 2)
	_, _ = rand.Read(id)
	m.id = hex.EncodeToString(id)
	// A lane that keeps its own state starts over with the rows, or alone.
	fresh, anew := true, m.replace
	for _, l := range m.lanes {
		if l.InPlace() {
			continue
		}
		res, err := m.beginLane(ctx, l, pipeline.Run{ID: m.id, Version: buildVersion(), Replace: m.replace}, anew)
		if err != nil {
			return err
		}
		if l.Kind() == pipeline.Rows {
			anew, m.rowsRun = res.Fresh, res.Run.ID
		}
		if !res.Fresh {
			fresh, m.id = false, res.Run.ID
		}
		m.changed = m.changed || res.SourceChanged
		if err := l.Journal().Accept(ctx, m.consent.reasons()); err != nil {
			return err
		}
		if err := m.sameChoice(ctx, l, res); err != nil {
			return err
		}
	}
	if err := m.keepChoices(); err != nil {
		return err
	}
	m.resumed = !fresh
	return nil
}

// copyAll moves the lanes at the same time; the first error stops all.
func (m *migration) copyAll(ctx context.Context) (err error) {
	if m.pass != nil {
		if m.pass.conflicts, err = newStrayList(filepath.Join(m.state, touchedFile)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.pass.conflicts.close()) }()
	}
	gate := &pipeline.Gate{}
	have := map[string]bool{}
	for _, l := range m.lanes {
		for _, u := range l.Units() {
			have[u.ID()] = true
		}
	}
	for _, l := range m.lanes {
		for _, u := range l.Units() {
			for _, id := range u.After {
				// A unit of a lane that does not take part: nothing to wait for.
				if !have[id] {
					gate.Open(id)
				}
			}
		}
	}
	m.running = true
	if _, err := m.save(0, "", false, nil, nil); err != nil {
		return err
	}
	d := startDisplay(m.out, m.json, m.meter, m.lanes)
	defer d.stop()
	sampler := startSampler(m.state, m.command(), m.id, m.resumed, m.meter)
	defer func() { m.moved, m.running = sampler.stop(), false }()
	g, gctx := errgroup.WithContext(ctx)
	for _, l := range m.lanes {
		g.Go(func() error {
			if err := m.told.Lane(l.Kind(), func() error { return m.move(gctx, l, gate) }); err != nil {
				return fmt.Errorf("%s: %w", l.Kind(), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, l := range m.lanes {
		if err := l.Release(ctx); err != nil {
			return err
		}
	}
	return nil
}

// conclude counts quarantine and ledger, writes the report and finds the exit
// code.
func (m *migration) conclude(ctx context.Context) error {
	// The source may have been written to while it was copied.
	for _, l := range m.lanes {
		if l.InPlace() {
			continue
		}
		res, err := m.stillTheSame(ctx, l)
		if err != nil {
			return err
		}
		m.changed = m.changed || !res
	}
	refused, ledger, err := m.tallies(ctx)
	if err != nil {
		return err
	}
	code, waiting := pipeline.ExitOK, map[string]bool{}
	m.waiting = waiting
	for _, t := range refused {
		if !t.Accepted && t.Count > 0 {
			code = pipeline.ExitDiffers
			waiting[string(t.Reason)] = true
		}
	}
	for _, f := range m.all {
		if f.Severity == pipeline.Accept && (f.Reason == cacheLeft || f.Reason == keyReason) && !m.consent[f.Reason] {
			code = pipeline.ExitDiffers
			waiting[string(f.Reason)] = true
		}
	}
	if m.changed || m.pass != nil && m.pass.sum().Conflicts > 0 {
		code = pipeline.ExitDiffers
	}
	if m.switched, err = m.switchPaths(ctx, waiting); err != nil {
		return err
	}
	if m.switched != nil && m.switched.Waits != "" {
		code = pipeline.ExitDiffers
	}
	if m.misled, err = m.misledRows(ctx); err != nil {
		return err
	}
	if len(m.misled.wrong) > 0 && !m.consent[pathOfAnother] {
		code = pipeline.ExitDiffers
		waiting[string(pathOfAnother)] = true
	}
	more := m.misled.findings(m.ownFiles())
	m.all = append(m.all, more...)
	path, err := m.save(code, "", true, refused, ledger)
	if err != nil {
		return err
	}
	if m.json {
		emit(m.out, event{Event: "done", Exit: code, Detail: map[string]any{"run": m.id, "report": filepath.Join(m.state, reportJSON), "page": path, "quarantine": refused, "ledger": ledger, "source_changed": m.changed, "paths": m.switched, "findings": more}})
		return judged(code)
	}
	m.printDone(refused, ledger, waiting, path)
	return judged(code)
}

// ownFiles says how rows come to lead to their own files again.
func (m *migration) ownFiles() string {
	return "outgrow migrate " + m.pairArgs() + " --replace puts their own files there"
}

func (m *migration) printDone(refused, ledger []pipeline.Tally, waiting map[string]bool, path string) {
	m.sayDone()
	for _, t := range ledger {
		if t.Reason == sink.OwnerKept {
			m.say("owner   files keep the owner who wrote them, as this user may not give them away (in the ledger): chown them if Open WebUI runs as another")
			continue
		}
		if t.Reason == silence.Left {
			m.say("left    %s of %s: of a form that is not known here, so not silenced; look at it before Open WebUI is started there (in the ledger)", plural(t.Count, "value"), t.Unit)
			continue
		}
		m.say("changed %s of %s: %s (in the ledger)", plural(t.Count, "value"), t.Unit, t.Reason)
	}
	for _, t := range refused {
		word := "refused"
		if t.Accepted {
			word = "agreed"
		}
		m.say("%-8s%s of %s: %s (whole, in the quarantine)", word, plural(t.Count, "record"), t.Unit, t.Reason)
	}
	m.sayPaths()
	m.misled.say(m.app, m.ownFiles())
	if m.changed && !m.guided {
		m.say("changed the source was written to since this %s began: a sync pass is needed before the target is equal", m.what())
		m.say("fix     stop Open WebUI, then: outgrow sync %s", m.pairArgs())
	}
	if len(waiting) > 0 {
		m.say("fix     look at them: outgrow status %s --quarantine", m.target())
		m.say("        repair and put them in: outgrow replay %s FILE, or agree to leave them out: --accept %s", m.target(), strings.Join(keysOf(waiting), ","))
	}
	if m.guided {
		return
	}
	m.say("report  %s", path)
	m.say("next    outgrow verify %s", m.pairArgs())
}

// sayDone tells how much was moved.
func (m *migration) sayDone() {
	if m.pass != nil {
		m.sayPass()
		return
	}
	var rows, vectors, files int64
	for _, c := range m.meter.Units() {
		switch c.Unit.Lane {
		case pipeline.Rows:
			rows += c.Written.Load()
		case pipeline.Vectors:
			vectors += c.Written.Load()
		case pipeline.Files:
			files += c.Written.Load()
		}
	}
	m.say("done    %s, %s, %s in %s", plural(rows, "row"), plural(vectors, "vector"), plural(files, "file"), clock(time.Since(m.began)))
}

func (m *migration) save(code int, problem string, complete bool, refused, ledger []pipeline.Tally) (string, error) {
	return updateReport(m.state, func(r *report) {
		r.of(m.session)
		r.Failed = m.ended
		if m.pass != nil {
			predicted := 0.0
			if r.Sync != nil && r.Sync.Run == m.id && r.Sync.Complete {
				predicted = r.Sync.Seconds // a pass reads the source once, whatever it finds
			}
			r.Sync = &syncReport{Throughput: m.moved, Running: m.running, Predicted: predicted, Run: m.id, At: m.began.UTC(), Seconds: time.Since(m.began).Seconds(), SourceChanged: m.changed, Complete: complete, Exit: code,
				Error: problem, Units: m.changedUnits(), Findings: m.cleanFindings(m.all), Quarantine: refused, Ledger: ledger, Paths: m.switched}
			return
		}
		predicted := 0.0
		if r.Plan != nil {
			predicted = r.Plan.Estimate
		}
		r.anew(m.id)
		units := m.unitsOf(r.Migrate)
		r.Migrate = &migrateReport{Throughput: m.moved, Running: m.running, Predicted: predicted, Run: m.id, At: m.began.UTC(), Seconds: time.Since(m.began).Seconds(), Resumed: m.resumed, SourceChanged: m.changed,
			Complete: complete, Exit: code, Error: problem, Units: units, Findings: m.cleanFindings(m.all), Quarantine: refused, Ledger: ledger, Paths: m.switched, FileSystems: m.systems}
	})
}

// failed prints what is safe, what must not be started, and the fix.
func (m *migration) failed(err error) {
	if !m.started {
		m.printError(err)
		_ = m.failing(m.command(), err)
		return
	}
	text := m.clean(err.Error())
	code := pipeline.ExitCode(err)
	done, all := m.doneUnits()
	unfit := m.unfit()
	m.ended = m.failureOf(m.command(), err)
	m.ended.Done, m.ended.Units, m.ended.Unfit = done, all, unfit
	path, serr := m.save(code, text, false, nil, nil)
	if m.json {
		emit(m.out, event{Event: "failed", Text: text, Fix: m.clean(pipeline.HintOf(err)), Exit: code, Detail: map[string]string{"run": m.id, "report": filepath.Join(m.state, reportJSON), "page": path}})
	}
	word := "failed "
	if code == pipeline.ExitStopped {
		word = "stopped"
	}
	_, _ = fmt.Fprintf(m.err, "%s %s   exit %d\n", word, indent(text), code)
	_, _ = fmt.Fprintf(m.err, "safe    the source is untouched; %d of %d units are done and kept. Start the old app if users wait.\n", done, all)
	if unfit != "" {
		_, _ = fmt.Fprintf(m.err, "not     Do not start the new one: %s.\n", unfit)
	}
	fix := m.clean(pipeline.HintOf(err))
	if fix == "" {
		fix = "run the same command again: it resumes, nothing is done twice"
	}
	_, _ = fmt.Fprintf(m.err, "fix     %s\n", indent(fix))
	if serr == nil {
		_, _ = fmt.Fprintf(m.err, "report  %s\n", path)
	}
}

func (m *migration) doneUnits() (done, all int) {
	for _, c := range m.meter.Units() {
		all++
		if c.Done() {
			done++
		}
	}
	return done, all
}

// unitsOf adds the time that earlier sittings of the run took, of which the
// report so far tells.
func (m *migration) unitsOf(before *migrateReport) []unitReport {
	if m.earlier == nil {
		m.earlier = map[string]unitReport{}
		if before != nil && before.Run == m.id {
			for _, u := range before.Units {
				m.earlier[u.Unit] = u
			}
		}
	}
	units := unitReports(m.meter)
	if len(units) == 0 && before != nil && before.Run == m.id {
		return before.Units
	}
	for i := range units {
		if old, ok := m.earlier[units[i].Unit]; ok {
			units[i].Seconds += old.Seconds
			units[i].Largest = max(units[i].Largest, old.Largest)
			units[i].Changed += old.Changed
		}
	}
	return units
}
