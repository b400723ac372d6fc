package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"outgrow/cmd/outgrow/page"
	"outgrow/mappings/dependencies"
	"outgrow/pipeline"
)

// report is what stands in report.json and on the page report.html: one section a
// command, each replaced by the next run of that command. It holds no secret and
// no value of a record. Every field is described in report.schema.json.
type report struct {
	Version string `json:"version"`
	// Made is when it was written.
	Made time.Time `json:"made"`
	From string    `json:"from"`
	To   string    `json:"to"`
	// Outcome is found anew, from all that follows, whenever it is written.
	Outcome outcomeReport `json:"outcome"`
	// Pair and Target are the arguments that name both sides, or the target, again.
	Pair   string         `json:"pair_arguments,omitempty"`
	Target string         `json:"target_arguments,omitempty"`
	Failed *failureReport `json:"failed,omitempty"`

	Plan    *planReport    `json:"plan,omitempty"`
	Migrate *migrateReport `json:"migrate,omitempty"`
	Sync    *syncReport    `json:"sync,omitempty"`
	Verify  *verifyReport  `json:"verify,omitempty"`
	Cutover *cutoverReport `json:"cutover,omitempty"`
	// Rollback tells of the same steps, the other way round.
	Rollback *cutoverReport `json:"rollback,omitempty"`
	Watch    *watchReport   `json:"watch,omitempty"`
	Doctor   *doctorReport  `json:"doctor,omitempty"`
	Accept   *acceptReport  `json:"accept,omitempty"`
}

// of names the sides, as this session calls them.
func (r *report) of(s *session) {
	r.From, r.To = s.describe()
	r.Pair, r.Target = s.pairArgs(), s.target()
}

type unitReport struct {
	Unit    string  `json:"unit"`
	Label   string  `json:"label,omitempty"`
	Read    int64   `json:"read"`
	Written int64   `json:"written"`
	Refused int64   `json:"refused"`
	Changed int64   `json:"changed"`
	Bytes   int64   `json:"bytes"`
	Largest int64   `json:"largest_record_bytes"`
	Seconds float64 `json:"seconds"`
}

type planReport struct {
	At       time.Time          `json:"at"`
	Seconds  float64            `json:"seconds"`
	Estimate float64            `json:"estimated_seconds"`
	Refused  bool               `json:"refused"`
	Units    []unitReport       `json:"units"`
	Findings []pipeline.Finding `json:"findings"`
	Problems []pipeline.Tally   `json:"problems"`
	Changes  []pipeline.Tally   `json:"changes"`

	FileSystems fileSystems `json:"file_systems"`

	// Dependencies are what the deployment leans on and no lane moves.
	Dependencies dependencies.Report `json:"dependencies"`
}

type migrateReport struct {
	Run           string    `json:"run"`
	At            time.Time `json:"at"`
	Seconds       float64   `json:"seconds"`
	Predicted     float64   `json:"predicted_seconds,omitempty"` // by plan
	Resumed       bool      `json:"resumed"`
	SourceChanged bool      `json:"source_changed"`
	// Running is true while the command works, and for ever if it was cut off.
	Running     bool               `json:"running,omitempty"`
	Complete    bool               `json:"complete"`
	Exit        int                `json:"exit"`
	Error       string             `json:"error,omitempty"`
	Units       []unitReport       `json:"units"`
	Findings    []pipeline.Finding `json:"findings"`
	Quarantine  []pipeline.Tally   `json:"quarantine"`
	Ledger      []pipeline.Tally   `json:"ledger"`
	Paths       *pathsReport       `json:"paths,omitempty"`
	FileSystems fileSystems        `json:"file_systems"`
	Throughput  *throughput        `json:"throughput,omitempty"`
}

type verifyReport struct {
	At          time.Time           `json:"at"`
	Seconds     float64             `json:"seconds"`
	Predicted   float64             `json:"predicted_seconds,omitempty"` // by the verify before
	Equal       bool                `json:"equal"`
	Lanes       []pipeline.Lane     `json:"lanes"`
	Units       []pipeline.UnitDiff `json:"units"`
	Differences int64               `json:"differences"`
	Unfit       string              `json:"unfit,omitempty"` // why the target is not complete
	File        string              `json:"differences_file,omitempty"`
	Search      *parityReport       `json:"search,omitempty"`
	Throughput  *throughput         `json:"throughput,omitempty"`
}

func unitReports(m *pipeline.Meter) []unitReport {
	var out []unitReport
	for _, c := range m.Units() {
		out = append(out, unitReport{c.Unit.ID(), c.Unit.Label, c.Read.Load(), c.Written.Load(), c.Refused.Load(), c.Changed.Load(),
			c.Bytes.Load(), c.Largest.Load(), c.Elapsed().Seconds()})
	}
	return out
}

// reportJSON and reportHTML are what the state folder keeps the report as.
const (
	reportJSON = "report.json"
	reportHTML = "report.html"
)

// updateReport changes the report in the state folder, each of its two files by
// temp file, fsync and rename, and gives the path of the one for people.
func updateReport(dir string, change func(*report)) (string, error) {
	path := filepath.Join(dir, reportJSON)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return path, &pipeline.Error{Op: "making the state folder", Err: err, Exit: pipeline.ExitEnvironment, Hint: "name a writable folder with --state"}
	}
	var r report
	if old, err := os.ReadFile(path); err == nil {
		// A damaged report is replaced: it is a summary, not state.
		if json.Unmarshal(old, &r) != nil {
			r = report{}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return path, fmt.Errorf("reading the report: %w", err)
	}
	change(&r)
	r.Version, r.Made = buildVersion(), time.Now().UTC()
	r.Doctor = readDoctor(dir)
	r.Outcome = r.outcome(dir)
	withoutNulls(reflect.ValueOf(&r))
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return path, fmt.Errorf("encoding the report: %w", err)
	}
	if err := writeFile(path, append(body, '\n')); err != nil {
		return path, err
	}
	path = filepath.Join(dir, reportHTML)
	var drawn bytes.Buffer
	if err := page.Render(&drawn, r.page(dir)); err != nil {
		return path, err
	}
	return path, writeFile(path, drawn.Bytes())
}

// readKept reads a file of the state folder that is JSON; into stays as it is
// where there is none.
func readKept(dir, file string, into any) error {
	body, err := os.ReadFile(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// writeFile replaces a file durably.
func writeFile(path string, body []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".outgrow-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(body); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	return syncDir(filepath.Dir(path))
}

// createPrivate makes or empties a file that only its owner may read: keys of
// records stand in it.
func createPrivate(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing the state folder: %w", err)
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
