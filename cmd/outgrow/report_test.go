package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"outgrow/pipeline"
)

// reported gives the report as it lies in the state folder, once its JSON is
// what the schema says and the page needs nothing beside it.
func (l *lab) reported() (r report, html string) {
	l.tb.Helper()
	dir := filepath.Join(l.dir, "scaled.outgrow")
	body := readFile(l.tb, filepath.Join(dir, reportJSON))
	valid(l.tb, []byte(body))
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		l.tb.Fatal(err)
	}
	html = readFile(l.tb, filepath.Join(dir, reportHTML))
	if foreign := regexp.MustCompile(`(?i)(src|href|action)="[^d"][^"]*"|@import|url\(|<script|<iframe`).FindString(html); foreign != "" {
		l.tb.Errorf("the page asks for %s", foreign)
	}
	if info, err := os.Stat(filepath.Join(dir, reportHTML)); err != nil || info.Mode().Perm() != 0o600 {
		l.tb.Errorf("the page: %v %v", info, err)
	}
	return r, html
}

// valid checks a report by the schema that the program prints.
func valid(tb testing.TB, body []byte) {
	tb.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(reportSchema))
	if err != nil {
		tb.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("report.json", doc); err != nil {
		tb.Fatal(err)
	}
	schema, err := c.Compile("report.json")
	if err != nil {
		tb.Fatalf("the schema: %v", err)
	}
	is, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	if err := schema.Validate(is); err != nil {
		tb.Errorf("the report is not what the schema says: %v", err)
	}
}

// stands fails unless the report is in a state and its page says the texts.
func (l *lab) stands(state string, texts ...string) report {
	l.tb.Helper()
	r, html := l.reported()
	if r.Outcome.State != state {
		l.tb.Fatalf("the report says %q (%s), want %q", r.Outcome.State, r.Outcome.Headline, state)
	}
	for _, text := range texts {
		if !strings.Contains(html, text) {
			l.tb.Errorf("the page of a run that %s does not say %q", state, text)
		}
	}
	return r
}

// A run from its plan to a difference: each command leaves the page that says
// how it stands, and no secret.
func TestReportFollowsTheRun(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	const marked = "m4rked-s3cret"
	l.set("REDIS_URL", "redis://:"+marked+"@127.0.0.1:1/0")
	l.set("WEBUI_SECRET_KEY", marked)
	l.set("OPENAI_API_KEY", marked)
	withOrphans(l)
	l.in("report", "--to", l.env).exits(2, "there is none").nextStep()
	l.plan().exits(0)
	l.stands(statePlanned, "It can be moved, in about", "outgrow migrate --from", "decide", "chat_message")
	l.migrate().exits(4)
	r := l.stands(stateWaiting, "Copied, but 4 records need a decision.", "--accept orphan", "Its parent is gone", "waits", "A reference to something that is gone was cleared")
	if m := r.Migrate; m.Throughput.seconds() <= 0 || len(m.Throughput.Samples) == 0 || m.Predicted <= 0 || m.Running {
		t.Errorf("the report of migrate: %+v", m)
	}
	l.migrate("--accept", "orphan").exits(0)
	r = l.stands(stateCopied, "Not yet compared", "agreed to")
	if n := len(r.Migrate.Throughput.Sittings); n != 2 {
		t.Errorf("%d sittings, want 2", n)
	}
	dir := filepath.Join(l.dir, "scaled.outgrow")
	_, said := doctorOn(t, "DATABASE_URL=postgresql://u:"+marked+"@pg.internal/x\nREDIS_URL=redis://:"+marked+"@cache.internal\n", "--offline", "--json")
	if err := os.WriteFile(filepath.Join(dir, doctorFile), []byte(said), 0o600); err != nil {
		t.Fatal(err)
	}
	l.equal()
	r = l.stands(stateEqual, "Everything arrived but what was agreed to leave out.", "of the nearest records are found", "must fix", "outgrow doctor", "34")
	if r.Doctor == nil || len(r.Doctor.Findings) == 0 || r.Verify.Throughput.seconds() <= 0 {
		t.Errorf("doctor: %+v, verify: %+v", r.Doctor, r.Verify.Throughput)
	}

	// It is written again from the state folder alone.
	if err := os.Remove(filepath.Join(dir, reportHTML)); err != nil {
		t.Fatal(err)
	}
	l.in("report", "--to", l.env).exits(0, "Everything arrived", reportHTML)
	l.stands(stateEqual)
	valid(t, []byte(l.in("report", "--to", l.env, "--json").exits(0).out))
	l.in("report", "--schema").exits(0, "json-schema.org")

	do(t, l.dsn, "UPDATE chat SET title = 'x' WHERE id = (SELECT min(id) FROM chat)")
	l.verify().exits(4)
	l.stands(stateDiffers, "1 difference between the two sides.", "Do not start Open WebUI on the new side", "Where they differ")
	for _, name := range []string{reportJSON, reportHTML} {
		if strings.Contains(readFile(t, filepath.Join(dir, name)), marked) {
			t.Errorf("%s holds a secret", name)
		}
	}
	// A target that is not there is no news of the data, but of the run.
	l.set("DATABASE_URL", "postgresql://u:"+marked+"@127.0.0.1:1/x")
	l.migrate().exits(3)
	r = l.stands(stateFailed, "The migrate could not go on.")
	if strings.Contains(r.Failed.Error+r.Failed.Fix, marked) || r.Failed.Exit != pipeline.ExitEnvironment {
		t.Errorf("the failure: %+v", r.Failed)
	}
	l.set("DATABASE_URL", l.dsn)
	l.verify().exits(4)
	l.stands(stateDiffers)
}

// What outlives a run that is killed is enough for its page.
func TestReportOfACutOffRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := updateReport(dir, func(r *report) {
		r.Migrate = &migrateReport{Run: "7f3a", At: time.Now().UTC(), Running: true}
	}); err != nil {
		t.Fatal(err)
	}
	kept := throughput{Run: "7f3a", Every: 1, Sittings: []sitting{{time.Now().UTC(), 90}}, Samples: []sample{{3, pipeline.Rows, 1000, 5e6}, {80, pipeline.Rows, 1000, 5e6}}}
	body, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(throughputFile(dir, "migrate"), body, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"report", "--state", dir}, nil, &out, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	html := readFile(t, filepath.Join(dir, reportHTML))
	for _, text := range []string{"has not come to its end", "Throughput", "<svg", "90 s of the copy"} {
		if !strings.Contains(html, text) {
			t.Errorf("the page does not say %q", text)
		}
	}
}

// Samples stay few however long it takes, and what they add up to stays right.
func TestThroughputIsBounded(t *testing.T) {
	t.Parallel()
	s := throughput{Every: firstSample}
	var records, weight int64
	const hours = 20
	for i := range hours * 3600 * 2 {
		s.add(float64(i)/2, pipeline.Rows, 3, 1000)
		if i%7 == 0 {
			s.add(float64(i)/2, pipeline.Vectors, 5, 0)
		}
	}
	for _, x := range s.Samples {
		records, weight = records+x.Records, weight+x.Bytes
	}
	if len(s.Samples) > 2*mostSamples || len(s.Samples) < mostSamples/2 {
		t.Errorf("%d samples", len(s.Samples))
	}
	n := int64(hours * 3600 * 2)
	if want := 3*n + 5*((n+6)/7); records != want || weight != 1000*n {
		t.Errorf("%d records and %d bytes, want %d and %d", records, weight, want, 1000*n)
	}
	c, ok := s.curve(pipeline.Rows, hours*3600)
	if !ok || len(c.Spans) > curvePoints || c.Mean != "2.0 kB/s" {
		t.Errorf("%d spans, %s on average", len(c.Spans), c.Mean)
	}
}

// The page says what is worst, and only a comparison that is newer than the last
// move proves anything.
func TestOutcome(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	moved := func() *migrateReport { return &migrateReport{Run: "a", At: at, Seconds: 10, Complete: true} }
	equal := func(after time.Duration) *verifyReport {
		return &verifyReport{At: at.Add(after), Seconds: 1, Equal: true, Units: []pipeline.UnitDiff{{Unit: "rows/chat", Source: 2, Target: 2, Equal: 2}}}
	}
	low := equal(time.Hour)
	low.Search = &parityReport{OK: false, MinRecall: 0.95, Recall: 0.5, Searches: 3}
	waits := moved()
	waits.Quarantine, waits.Exit = []pipeline.Tally{{Unit: "rows/chat", Reason: pipeline.Orphan, Count: 2}}, pipeline.ExitDiffers
	behind := moved()
	behind.SourceChanged, behind.Exit = true, pipeline.ExitDiffers
	done := &cutoverReport{Phase: phaseDone, Steps: []cutoverStep{{Step: stepStop, Seconds: 1}}}
	started := &cutoverReport{Phase: phaseDone, Downtime: 30, Steps: []cutoverStep{{Step: stepStart, Seconds: 1}}}
	for _, c := range []struct {
		name  string
		r     report
		state string
	}{
		{"nothing", report{}, stateNothing},
		{"planned", report{Plan: &planReport{At: at, Estimate: 3}}, statePlanned},
		{"refused", report{Plan: &planReport{At: at, Refused: true}}, stateRefused},
		{"under way", report{Migrate: &migrateReport{At: at, Running: true}}, stateRunning},
		{"copied", report{Migrate: moved()}, stateCopied},
		{"waiting", report{Migrate: waits}, stateWaiting},
		{"behind", report{Migrate: behind}, stateBehind},
		{"equal", report{Migrate: moved(), Verify: equal(time.Hour)}, stateEqual},
		{"an old verify proves nothing", report{Migrate: moved(), Verify: equal(-time.Hour)}, stateCopied},
		{"a pass after verify", report{Migrate: moved(), Verify: equal(time.Hour), Sync: &syncReport{At: at.Add(2 * time.Hour), Complete: true}}, stateCopied},
		{"searches miss", report{Migrate: moved(), Verify: low}, stateDiffers},
		{"differs", report{Migrate: moved(), Verify: &verifyReport{At: at.Add(time.Hour), Differences: 3}}, stateDiffers},
		{"failed", report{Migrate: moved(), Verify: equal(time.Hour), Failed: &failureReport{Command: "sync", Exit: 1, Error: "x"}}, stateFailed},
		{"stopped", report{Migrate: moved(), Failed: &failureReport{Command: "migrate", Exit: pipeline.ExitStopped, Error: "x"}}, stateStopped},
		{"cut over, to be started", report{Migrate: moved(), Verify: equal(time.Hour), Cutover: done}, stateReady},
		{"cut over and started", report{Migrate: moved(), Verify: equal(time.Hour), Cutover: started}, stateInUse},
		{"split brain", report{Migrate: moved(), Verify: equal(time.Hour), Cutover: started, Watch: &watchReport{Units: []pipeline.UnitStrays{{Unit: "rows/chat", New: 1}}}}, stateStrays},
	} {
		o := c.r.outcome("/state")
		if o.State != c.state || o.Headline == "" || c.state != stateNothing && len(o.Next) == 0 {
			t.Errorf("%s: %+v, want %s", c.name, o, c.state)
		}
		if _, ok := stateWords[o.State]; !ok {
			t.Errorf("%s: no word for %s", c.name, o.State)
		}
	}
}

// Names come from people: nothing of them is markup, and ten thousand of them
// are still a page.
func TestReportPageIsSafeAndBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := time.Now().UTC()
	_, err := updateReport(dir, func(r *report) {
		r.From, r.To = `"><script>alert(1)</script>`, "x"
		m := &migrateReport{Run: "a", At: at, Complete: true}
		v := &verifyReport{At: at.Add(time.Second), Search: &parityReport{OK: true, Searches: 1}}
		for i := range 10000 {
			id := "vectors/" + strings.Repeat("c", 30) + string(rune('a'+i%26))
			m.Units = append(m.Units, unitReport{Unit: id, Label: "<b>" + id, Read: 1, Bytes: int64(i)})
			m.Quarantine = append(m.Quarantine, pipeline.Tally{Unit: id, Reason: pipeline.NeedsEmbedding, Count: 1})
			m.Findings = append(m.Findings, pipeline.Finding{Severity: pipeline.Warn, Reason: "x", Text: strings.Repeat("f", i%100) + "<i>"})
			v.Units = append(v.Units, pipeline.UnitDiff{Unit: id, Missing: 1})
			v.Search.Units = append(v.Search.Units, pipeline.UnitParity{Unit: id, Searches: 1, Recall: 0.5})
		}
		r.Migrate, r.Verify = m, v
	})
	if err != nil {
		t.Fatal(err)
	}
	html := readFile(t, filepath.Join(dir, reportHTML))
	if strings.Contains(html, "<script") || strings.Contains(html, "<b>vectors") || strings.Contains(html, "<i>.") {
		t.Error("a name is markup on the page")
	}
	if len(html) > 1<<20 {
		t.Errorf("the page has %d bytes", len(html))
	}
	valid(t, []byte(readFile(t, filepath.Join(dir, reportJSON))))
}
