package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"outgrow/pipeline"
)

type verifyCmd struct {
	pair
	laneFlags
	parityFlags
	Deep bool `help:"Read the bytes of all files of both sides again, where an object store's own digests would do."`
	Show int  `help:"Differences to print at most; all are in the report's file." default:"50"`
}

func (c *verifyCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	s, err := a.open(c.pair, c.laneFlags, openOptions{verify: true, deep: c.Deep})
	if err != nil {
		return a.notOpened("verify", c.pair, err)
	}
	defer s.close()
	v := &verification{app: a, session: s, meter: &pipeline.Meter{}, began: time.Now(), show: c.Show, alone: true, parity: newParity(s, c.parityFlags)}
	return s.failing("verify", v.run(a.ctx))
}

// sigils stand before a difference, as rclone's check has them.
var sigils = map[string]string{pipeline.Missing: "+", pipeline.Extra: "-", pipeline.Differs: "*", pipeline.Quarantined: "!"}

type verification struct {
	*app
	*session
	meter  *pipeline.Meter
	parity *parity
	began  time.Time
	show   int
	mute   bool // differences are only counted
	alone  bool // no other command says what is to be done about them
	// predicted seconds, 0 when nobody has predicted any.
	predicted float64
	moved     *throughput

	mu    sync.Mutex
	file  *bufio.Writer
	count int64
}

func (v *verification) run(ctx context.Context) error {
	if err := os.MkdirAll(v.state, 0o700); err != nil {
		return pipeline.Environment("making the state folder", err, "name a writable folder with --state")
	}
	path := filepath.Join(v.state, "differences.jsonl")
	f, err := createPrivate(path)
	if err != nil {
		return pipeline.Environment("writing the list of differences", err, "name a writable folder with --state")
	}
	defer func() { _ = f.Close() }()
	v.file = bufio.NewWriter(f)
	units, err := v.compare(ctx)
	if err != nil {
		return err
	}
	if err := v.file.Flush(); err != nil {
		return pipeline.Environment("writing the list of differences", err, "free disk space in the state folder")
	}
	unfit := v.incomplete()
	equal := unfit == ""
	for i := range units {
		equal = equal && !units[i].Different()
	}
	search := v.parity.sum()
	report, err := updateReport(v.state, func(r *report) {
		r.of(v.session)
		r.Failed = nil
		predicted := v.predicted
		if predicted == 0 && r.Verify != nil {
			predicted = r.Verify.Seconds
		}
		r.Verify = &verifyReport{Predicted: predicted, At: v.began.UTC(), Seconds: time.Since(v.began).Seconds(), Equal: equal, Lanes: v.src.lanes, Units: units, Differences: v.count, Unfit: unfit, File: path, Search: search, Throughput: v.moved}
	})
	if err != nil {
		return err
	}
	code := pipeline.ExitOK
	if !equal || search != nil && !search.OK {
		code = pipeline.ExitDiffers
	}
	if v.json {
		emit(v.out, event{Event: "verify", Exit: code, Detail: map[string]any{"equal": equal, "differences": v.count, "units": units, "unfit": unfit, "search": search, "report": filepath.Join(v.state, reportJSON), "page": report}})
		return judged(code)
	}
	v.print(units, search, equal, unfit, path, report)
	return judged(code)
}

func (v *verification) compare(parent context.Context) (_ []pipeline.UnitDiff, err error) {
	told := v.hub.Section(v.step(), v.meter, v.redact)
	defer func() { told.End(err) }()
	if !v.json {
		d := startDisplay(v.err, false, v.meter, v.lanes)
		defer d.stop()
	}
	if !v.mute {
		sampler := startSampler(v.state, "verify", "", false, v.meter)
		defer func() { v.moved = sampler.stop() }()
	}
	results := make([][]pipeline.UnitDiff, len(v.lanes))
	g, ctx := errgroup.WithContext(parent)
	for i, l := range v.lanes {
		g.Go(func() error {
			return told.Lane(l.Kind(), func() (err error) {
				results[i], err = l.Diff(ctx, v.meter, v.difference)
				return err
			})
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var all []pipeline.UnitDiff
	for _, r := range results {
		all = append(all, r...)
	}
	more, err := v.besides(parent)
	return append(all, more...), err
}

// step is its name for those who watch.
func (v *verification) step() string {
	if v.mute {
		return "rehearse"
	}
	return "verify"
}

func (v *verification) difference(d pipeline.Difference) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.count++
	if line, err := json.Marshal(d); err == nil {
		_, _ = v.file.Write(append(line, '\n'))
	}
	if v.mute || v.count > int64(v.show) {
		return
	}
	if v.json {
		emit(v.out, event{Event: "difference", Detail: d})
		return
	}
	what := printable(d.Key)
	if d.Column != "" {
		what += " " + d.Column
	}
	if d.Detail != "" {
		what += ": " + v.clean(d.Detail)
	}
	v.say("%s %s %s", sigils[d.Kind], d.Unit, what)
}

func (v *verification) print(units []pipeline.UnitDiff, search *parityReport, equal bool, unfit, path, report string) {
	sums := map[pipeline.Lane]*pipeline.UnitDiff{}
	number2 := map[pipeline.Lane]int{}
	for i := range units {
		l := pipeline.UnitOf(units[i].Unit).Lane
		if sums[l] == nil {
			sums[l] = &pipeline.UnitDiff{}
		}
		sums[l].Add(units[i])
		number2[l]++
		if units[i].Different() {
			u := units[i]
			v.say("differs %s: %d missing, %d extra, %d different, %d in the quarantine and not accepted", u.Unit, u.Missing, u.Extra, u.Differs, u.Quarantined)
		}
	}
	for _, l := range v.lanes {
		s := sums[l.Kind()]
		if s == nil {
			s = &pipeline.UnitDiff{}
		}
		text := "%-8s%s, %s compared, %s equal"
		v.say(text, l.Kind(), plural(int64(number2[l.Kind()]), unitWord(l.Kind())), plural(s.Source, recordWord(l.Kind())), number(s.Equal))
		if s.Excused+s.Put > 0 {
			v.say("        %s as agreed to: in the accepted quarantine or changed as the ledger says; %d repaired ones put in", number(s.Excused), s.Put)
		}
	}
	if s := sums[pipeline.Rows]; s != nil && v.paths != nil {
		v.say("%-8s%s of table file compared with %s, %s equal", "paths", plural(s.Source, "path"), describeFiles(v.to), number(s.Equal))
	}
	if search != nil {
		search.say(v.app, v.show)
	}
	if unfit != "" {
		v.say("not     Do not start the new one: %s.", unfit)
		v.say("fix     run migrate to its end, then verify again; if it has ended, restore what is missing, or begin anew on an empty database")
	}
	switch {
	case unfit != "" && v.count == 0:
		v.say("verify: every record that can be compared is equal, but the target is not complete (%s)", clock(time.Since(v.began)))
	case equal && search != nil && !search.OK:
		v.say("verify: every record is equal, but searches on the target do not find what they should (%s)", clock(time.Since(v.began)))
	case equal:
		v.say("verify: equal (%s)", clock(time.Since(v.began)))
	default:
		v.say("verify: %s; + missing on the target, - only on the target, * differs, ! quarantined; all in %s", plural(v.count, "difference"), path)
		if unfit == "" {
			v.advise(units)
		}
	}
	v.say("report  %s", report)
}

// advise says what is to be done about differences.
func (v *verification) advise(units []pipeline.UnitDiff) {
	if !v.alone {
		return
	}
	var sum pipeline.UnitDiff
	for i := range units {
		sum.Add(units[i])
	}
	if sum.Missing+sum.Extra+sum.Differs > 0 {
		v.say("not     Do not start the new one: the sides are not equal.")
		v.say("fix     if the source was written to since the copy: outgrow sync %s", v.pairArgs())
		v.say("        else somebody wrote to the target: find out who, then begin anew: outgrow migrate %s --replace", v.pairArgs())
	}
	if sum.Quarantined > 0 {
		v.say("fix     look at the refused records: outgrow status %s --quarantine", v.target())
		v.say("        repair and put them in: outgrow replay %s FILE, or agree to leave them out: outgrow migrate %s --accept REASON", v.target(), v.pairArgs())
	}
}

func unitWord(l pipeline.Lane) string {
	return map[pipeline.Lane]string{pipeline.Rows: "table", pipeline.Vectors: "collection", pipeline.Files: "folder"}[l]
}

func recordWord(l pipeline.Lane) string {
	return map[pipeline.Lane]string{pipeline.Rows: "row", pipeline.Vectors: "vector", pipeline.Files: "file"}[l]
}
