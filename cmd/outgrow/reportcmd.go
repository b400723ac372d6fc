package main

import (
	_ "embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"outgrow/pipeline"
)

//go:embed report.schema.json
var reportSchema []byte

type reportCmd struct {
	To     string `help:"Target: the env file (or DATA_DIR) whose run is reported." placeholder:"FILE"`
	State  string `help:"Folder for state and report (default: beside the env file)." placeholder:"DIR"`
	JSON   bool   `help:"Print the report as one JSON object."`
	Schema bool   `help:"Print the JSON Schema of the report instead."`
}

// Run writes the report again, from what the state folder holds. Neither side is
// asked.
func (c *reportCmd) Run(a *app) error {
	a.json = c.JSON
	if c.Schema {
		_, err := a.out.Write(reportSchema)
		return err
	}
	const op = "looking for the report"
	if c.To == "" && c.State == "" {
		return pipeline.Usage(op, errors.New("neither --to nor --state is given"), "name the target's env file with --to, or the state folder with --state")
	}
	dir, err := stateDir(target{To: c.To, State: c.State}, "")
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, reportJSON)); errors.Is(err, fs.ErrNotExist) {
		return pipeline.Usage(op, errors.New("there is none in "+dir), "run plan or migrate first, or name the state folder with --state")
	}
	var kept *report
	path, err := updateReport(dir, func(r *report) {
		r.cutOff(dir)
		kept = r
	})
	if err != nil {
		return err
	}
	if a.json {
		body, err := os.ReadFile(filepath.Join(dir, reportJSON))
		if err == nil {
			_, err = a.out.Write(body)
		}
		return err
	}
	a.say("%s", kept.Outcome.Headline)
	a.say("report  %s", path)
	a.say("json    %s", filepath.Join(dir, reportJSON))
	return nil
}

// cutOff takes in what a run that was killed has left.
func (r *report) cutOff(dir string) {
	left := func(command, run string, running bool, all **throughput, seconds *float64) {
		if t := readThroughput(dir, command); running && t != nil && t.Run == run {
			*all, *seconds = t, max(*seconds, t.seconds())
		}
	}
	if m := r.Migrate; m != nil {
		left("migrate", m.Run, m.Running, &m.Throughput, &m.Seconds)
	}
	if s := r.Sync; s != nil {
		left("sync", s.Run, s.Running, &s.Throughput, &s.Seconds)
	}
}
