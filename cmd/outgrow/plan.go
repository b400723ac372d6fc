package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"outgrow/cmd/outgrow/telemetry"
	"outgrow/pipeline"
)

type planCmd struct {
	pair
	laneFlags
	Accept []string `help:"Reasons whose refused records you agree to leave out; kept for migrate." placeholder:"REASON"`
}

func (c *planCmd) Run(a *app) error {
	s, err := a.open(c.pair, c.laneFlags, openOptions{accept: c.Accept})
	if err != nil {
		return a.notOpened("plan", c.pair, err)
	}
	defer s.close()
	p := &planning{app: a, session: s, meter: &pipeline.Meter{}, began: time.Now(), tally: map[pipeline.Tally]int64{}, changes: map[pipeline.Tally]int64{}, byID: map[pipeline.Tally]bool{}}
	return s.failing("plan", p.run(a.ctx))
}

// planning is one run of plan. It writes nothing but its report and the list of
// problems, both in the state folder.
type planning struct {
	*app
	*session
	meter *pipeline.Meter
	began time.Time

	mu       sync.Mutex
	problems *os.File
	tally    map[pipeline.Tally]int64
	changes  map[pipeline.Tally]int64
	byID     map[pipeline.Tally]bool // kinds that were refused for their ids
	shown    []pipeline.Refusal      // the first of each kind
	waiting  []string                // reasons that nobody has agreed to, once it is over
	told     *telemetry.Section      // what others see of it
}

// shownPerKind is how many problems of a kind are printed; all are in the file.
const shownPerKind = 5

func (p *planning) run(ctx context.Context) (err error) {
	p.told = p.hub.Section("plan", p.meter, p.redact)
	defer func() { p.told.End(err) }()
	findings, err := p.check(ctx)
	if err != nil {
		return err
	}
	unfinished, err := p.unfinishedFindings(ctx)
	if err != nil {
		return err
	}
	findings = append(findings, unfinished...)
	beside, err := p.dependencies(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.state, 0o700); err != nil {
		return pipeline.Environment("making the state folder", err, "name a writable folder with --state")
	}
	path := filepath.Join(p.state, "plan-problems.jsonl")
	if p.problems, err = createPrivate(path); err != nil {
		return pipeline.Environment("writing the list of problems", err, "name a writable folder with --state")
	}
	defer func() { _ = p.problems.Close() }()
	before, err := p.folderLook()
	if err != nil {
		return err
	}
	if err := p.survey(ctx); err != nil {
		return err
	}
	written, err := p.writtenSince(before)
	if err != nil {
		return err
	}
	findings = append(findings, written...)
	if err := p.problems.Sync(); err != nil {
		return pipeline.Environment("writing the list of problems", err, "free disk space in the state folder")
	}
	findings = append(findings, p.fromProblems(path)...)
	sortFindings(findings)
	refused, waiting := judge(findings, p.consent)
	p.waiting = waiting
	requirements, err := p.keepRequirements(beside)
	if err != nil {
		return err
	}
	report, err := updateReport(p.state, func(r *report) {
		r.of(p.session)
		r.Failed = nil
		r.Plan = &planReport{At: p.began.UTC(), Seconds: time.Since(p.began).Seconds(), Estimate: p.estimate().Seconds(), Refused: refused,
			Units: unitReports(p.meter), Findings: p.cleanFindings(findings), Problems: tallies(p.tally), Changes: tallies(p.changes), FileSystems: p.systems, Dependencies: beside}
	})
	if err != nil {
		return err
	}
	if err := p.keepConsent(); err != nil {
		return err
	}
	code := pipeline.ExitOK
	if refused {
		code = pipeline.ExitUsage
	}
	if p.json {
		database, vectors, folder := p.needs()
		for _, f := range findings {
			emit(p.out, event{Event: "finding", Detail: f})
		}
		emit(p.out, event{Event: "plan", Exit: code, Detail: map[string]any{"refused": refused, "waiting": waiting, "report": filepath.Join(p.state, reportJSON), "page": report, "problems": path, "units": unitReports(p.meter),
			"database_bytes": database, "vector_store_bytes": vectors, "folder_bytes": folder, "dependencies": beside, "requirements": requirements}})
		return judged(code)
	}
	p.print(findings, refused, waiting, path, report, func() { p.sayDependencies(beside, requirements) })
	return judged(code)
}

// survey reads all lanes at the same time.
func (p *planning) survey(ctx context.Context) error {
	d := startDisplay(p.err, p.json, p.meter, p.lanes)
	if p.json {
		d.stop()
	} else {
		defer d.stop()
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range p.lanes {
		g.Go(func() error {
			return p.told.Lane(l.Kind(), func() error { return l.Survey(ctx, p.meter, p.refused, p.changed) })
		})
	}
	return g.Wait()
}

func (p *planning) refused(r pipeline.Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kind := pipeline.Tally{Unit: r.Unit, Reason: r.Reason}
	p.tally[kind]++
	if r.Column == "id" && pipeline.UnitOf(r.Unit).Lane == pipeline.Vectors {
		p.byID[kind] = true
	}
	line, err := json.Marshal(r)
	if err == nil {
		_, _ = p.problems.Write(append(line, '\n'))
	}
	if p.tally[kind] <= shownPerKind {
		r.Record = nil
		p.shown = append(p.shown, r)
	}
}

func (p *planning) changed(c pipeline.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes[pipeline.Tally{Unit: c.Unit, Reason: c.Reason}]++
	if c.Reason != pipeline.PathRewritten {
		line, err := json.Marshal(c)
		if err == nil {
			_, _ = p.problems.Write(append(line, '\n'))
		}
	}
}

// fromProblems makes findings of what the transforms refused and changed.
func (p *planning) fromProblems(path string) []pipeline.Finding {
	var out []pipeline.Finding
	for _, t := range tallies(p.tally) {
		fix := "repair them in the source"
		if store, _ := storeOf(p.to.Vector); store.mapsIDs && p.byID[pipeline.Tally{Unit: t.Unit, Reason: t.Reason}] {
			fix = "say --id-conflicts=uuid5, which gives them ids that the target can hold, repair them in the source"
		}
		out = append(out, pipeline.Finding{Severity: pipeline.Accept, Reason: t.Reason, Unit: t.Unit, Count: t.Count,
			Text: fmt.Sprintf("%s cannot be held by the target: %s; kept whole in the quarantine", plural(t.Count, "record"), t.Reason),
			Fix:  fix + ", or agree with --accept " + string(t.Reason) + "; all are listed in " + path})
	}
	for _, t := range tallies(p.changes) {
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: t.Reason, Unit: t.Unit, Count: t.Count,
			Text: fmt.Sprintf("%s will be changed to fit: %s; each gets a line in the ledger", plural(t.Count, "value"), t.Reason)})
	}
	return out
}

func tallies(m map[pipeline.Tally]int64) []pipeline.Tally {
	out := make([]pipeline.Tally, 0, len(m))
	for t, n := range m {
		t.Count = n
		out = append(out, t)
	}
	sort.Slice(out, func(i, k int) bool {
		if out[i].Unit != out[k].Unit {
			return out[i].Unit < out[k].Unit
		}
		return out[i].Reason < out[k].Reason
	})
	return out
}

// writeFactor is how much longer a copy into PostgreSQL takes than the plan's
// read of the same rows: one reader feeds about five times what the server
// takes in, and plan does not wait for it. Out of PostgreSQL, and into a new
// webui.db, it is about the same.
const writeFactor = 4

// estimate predicts the duration of migrate from the measured read rate.
func (p *planning) estimate() time.Duration {
	var worst time.Duration
	sums := map[pipeline.Lane]time.Duration{}
	for _, c := range p.meter.Units() {
		sums[c.Unit.Lane] += c.Elapsed()
	}
	for _, d := range sums {
		worst = max(worst, d)
	}
	return worst*writeFactor + 2*time.Second
}

// needs estimates the disk space that the target takes at most: rows with their
// indexes (PostgreSQL compresses long values, so it is usually about half),
// vectors with text and indexes as their store keeps them, and copied files.
// Vectors in the same database count with the rows.
func (p *planning) needs() (database, vectors, folder int64) {
	store, _ := storeOf(p.to.Vector)
	for _, l := range p.lanes {
		for _, u := range l.Units() {
			c := p.meter.Unit(u)
			switch {
			case l.Kind() == pipeline.Rows:
				database += c.Bytes.Load() * 13 / 10
			case l.Kind() == pipeline.Vectors:
				vectors += store.disk(p.to.Vector, c.Read.Load(), c.Bytes.Load())
			case !l.InPlace():
				folder += c.Bytes.Load()
			}
		}
	}
	if store.transactional {
		database, vectors = database+vectors, 0
	}
	return database, vectors, folder
}

// needsText says it in a line.
func (p *planning) needsText() string {
	database, vectors, folder := p.needs()
	var parts []string
	for _, l := range p.lanes {
		switch {
		case l.Kind() == pipeline.Rows || l.Kind() == pipeline.Vectors && vectors == 0:
			if part := size(database) + " in the target database"; !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		case l.Kind() == pipeline.Vectors:
			parts = append(parts, size(vectors)+" in the vector store")
		default:
			where := "folder"
			if fileStoreOf(p.to.Files) != nil {
				where = "bucket"
			}
			parts = append(parts, size(folder)+" in the target "+where)
		}
	}
	if n := len(parts); n > 1 {
		parts = []string{strings.Join(parts[:n-1], ", "), parts[n-1]}
	}
	return strings.Join(parts, " and ")
}

func (p *planning) print(findings []pipeline.Finding, refused bool, waiting []string, problems, report string, beside func()) {
	p.screen("plan", "", false, nil)
	p.say("")
	p.say("%-44s %12s %10s %10s", "unit", "records", "bytes", "largest")
	for _, l := range p.lanes {
		var n, bytes, largest int64
		shown := 0
		for _, u := range l.Units() {
			c := p.meter.Unit(u)
			n, bytes, largest = n+c.Read.Load(), bytes+c.Bytes.Load(), max(largest, c.Largest.Load())
			if l.Kind() == pipeline.Rows && c.Read.Load() > 0 && shown < 60 {
				shown++
				p.say("  %-42s %12s %10s %10s", u.Title(), number(c.Read.Load()), size(c.Bytes.Load()), size(c.Largest.Load()))
			}
		}
		p.say("%-44s %12s %10s %10s", fmt.Sprintf("%s: %s", l.Kind(), plural(int64(len(l.Units())), "unit")), number(n), size(bytes), size(largest))
	}
	p.say("needs at most about %s", p.needsText())
	p.say("")
	printFindings(cleaner{p.app}, findings, p.consent)
	for _, r := range p.shown {
		p.say("        %s %s %s: %s", r.Unit, printable(r.Key), r.Column, indent(p.clean(r.Detail)))
	}
	beside()
	p.say("")
	if refused {
		p.say("plan: refused, nothing was written. Mend what is marked \"refuse\" and plan again.")
	} else {
		p.say("plan: can run, about %s for the copy (estimated from %s of reading).", clock(p.estimate()), clock(time.Since(p.began)))
		if len(waiting) > 0 {
			p.say("      migrate will exit 4 unless these are agreed to: --accept %s", joinComma(waiting))
		}
		if !p.guided {
			p.say("next  outgrow migrate %s", p.pairArgs())
		}
	}
	p.say("report %s, problems %s", report, problems)
}
