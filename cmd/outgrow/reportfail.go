package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"outgrow/pipeline"
)

// failureReport is how the last command failed, if it did.
type failureReport struct {
	Command string    `json:"command"`
	At      time.Time `json:"at"`
	Exit    int       `json:"exit"`
	Error   string    `json:"error"`
	Fix     string    `json:"fix,omitempty"`
	// Done of Units were done and are kept; Unfit says why the target must not
	// be started.
	Done  int    `json:"done_units,omitempty"`
	Units int    `json:"units,omitempty"`
	Unfit string `json:"unfit,omitempty"`
}

// failureOf describes an error without secrets; nil for none, and for a verdict
// whose reasons are in the report.
func (a *app) failureOf(command string, err error) *failureReport {
	var quiet *verdict
	if err == nil || errors.As(err, &quiet) {
		return nil
	}
	return &failureReport{Command: command, At: time.Now().UTC(), Exit: pipeline.ExitCode(err), Error: a.clean(err.Error()), Fix: a.clean(pipeline.HintOf(err))}
}

// failing keeps in the report that a command failed, where one was begun, and
// gives its error on.
func (s *session) failing(command string, err error) error {
	if f := s.app.failureOf(command, err); f != nil {
		keepFailure(s.state, f)
	}
	return err
}

// notOpened is failing for sides that could not be opened. What was wrong about
// the command itself is no news of the run.
func (a *app) notOpened(command string, p pair, err error) error {
	f := a.failureOf(command, err)
	if f == nil || f.Exit == pipeline.ExitUsage || a.redact == nil {
		return err
	}
	if dir, derr := stateDir(p.target, ""); derr == nil {
		keepFailure(dir, f)
	}
	return err
}

// keepFailure writes only where a report is: a folder is not made for it, and
// what cannot be written must not hide the failure itself.
func keepFailure(dir string, f *failureReport) {
	if _, err := os.Stat(filepath.Join(dir, reportJSON)); err != nil {
		return
	}
	_, _ = updateReport(dir, func(r *report) { r.Failed = f })
}

// cleanFindings hides secrets in findings, which may repeat what a server said.
func (a *app) cleanFindings(all []pipeline.Finding) []pipeline.Finding {
	out := slices.Clone(all)
	for i := range out {
		out[i].Text, out[i].Fix = a.clean(out[i].Text), a.clean(out[i].Fix)
	}
	return out
}
