package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"outgrow/pipeline"
)

// acceptFile keeps, in the state folder, that the run was accepted.
const acceptFile = "accept.json"

// Phases of an acceptance.
const (
	acceptRemoving = "removing" // outgrow's state is being removed
	acceptDone     = "done"
)

// acceptReport is the state of an acceptance, and its section of the report.
type acceptReport struct {
	Phase string    `json:"phase"`
	At    time.Time `json:"at"`
	// Proven is when both sides were found to be equal.
	Proven time.Time       `json:"proven"`
	Lanes  []pipeline.Lane `json:"lanes"`
	// Deletable is what nobody but the old deployment needs.
	Deletable []string `json:"deletable"`
}

// readAccept gives where an acceptance stands; its zero value when none was begun.
func readAccept(dir string) (r acceptReport, err error) {
	if err = readKept(dir, acceptFile, &r); err != nil {
		return r, pipeline.Environment("reading whether the run was accepted", err, "make "+filepath.Join(dir, acceptFile)+" readable")
	}
	return r, nil
}

// save keeps it durably, then shows it in the report.
func (r *acceptReport) save(dir string) error {
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the acceptance: %w", err)
	}
	if err := writeFile(filepath.Join(dir, acceptFile), append(body, '\n')); err != nil {
		return err
	}
	_, err = updateReport(dir, func(all *report) { all.Accept = r })
	return err
}

// notAccepted is the error of whatever would go on with a run that was accepted.
func notAccepted(dir string) error {
	r, err := readAccept(dir)
	switch {
	case err != nil || r.Phase == "":
		return err
	case r.Phase == acceptRemoving:
		return pipeline.Usage("looking for the run", fmt.Errorf("it was accepted %s, and its state is not removed to the end", ago(time.Since(r.At))), "run outgrow accept again: it goes on where it stopped")
	}
	return pipeline.Usage("looking for the run", fmt.Errorf("it was accepted %s: it is over, and nothing of it is kept but its report", ago(time.Since(r.At))),
		"another move needs another state folder (--state DIR) and a target of its own: this one is in use. What is on it now is proven by nobody any more")
}

// sayAccepted tells of an acceptance; false where there is none.
func (a *app) sayAccepted(dir string) (bool, error) {
	r, err := readAccept(dir)
	if err != nil || r.Phase == "" {
		return false, err
	}
	if a.json {
		emit(a.out, event{Event: "accept", Detail: r})
	}
	if r.Phase == acceptRemoving {
		a.say("accepted %s; its state is not removed to the end: run outgrow accept again", ago(time.Since(r.At)))
		return true, nil
	}
	a.say("accepted %s: this run is over. Nothing of outgrow's is left on the target; the report is %s", ago(time.Since(r.At)), filepath.Join(dir, reportJSON))
	return true, nil
}

// readReport gives the report as it is.
func readReport(dir string) (r report, err error) {
	if err = readKept(dir, reportJSON, &r); err != nil {
		return r, pipeline.Environment("reading the report", err, "run outgrow verify again, which writes a new one")
	}
	return r, nil
}

// proof gives when both sides were found to be equal in all these lanes, after
// everything that was written; an error where they were not.
func proof(dir string, lanes []pipeline.Lane, again string) (time.Time, error) {
	const op = "accepting the run"
	r, err := readReport(dir)
	if err != nil {
		return time.Time{}, err
	}
	guided := time.Time{}
	for _, file := range []string{cutoverFile, rollbackFile} {
		c, err := readCutover(dir, file)
		switch {
		case err != nil:
			return guided, err
		case c.Phase == phaseDone:
			guided = c.ReadyAt
		case c.Phase != "":
			return guided, pipeline.Usage(op, errors.New("the guided run has not come to its end"), "run the same command again first: it goes on where it stood")
		}
	}
	wrote := time.Time{}
	moved := func(at time.Time, seconds float64, complete bool) {
		if end := after(at, seconds); complete && end.After(wrote) {
			wrote = end
		} else if !complete {
			wrote = time.Now()
		}
	}
	if r.Migrate != nil {
		moved(r.Migrate.At, r.Migrate.Seconds, r.Migrate.Complete)
	}
	if r.Sync != nil {
		moved(r.Sync.At, r.Sync.Seconds, r.Sync.Complete)
	}
	wrote = wrote.Add(-time.Millisecond) // seconds are rounded
	if guided.After(wrote) {
		return guided, nil // what verify finds now that the app is in use counts no more
	}
	v := r.Verify
	fix := "run outgrow verify " + again
	switch {
	case v == nil:
		return guided, pipeline.Usage(op, errors.New("nothing was verified"), fix)
	case !v.good():
		return guided, &pipeline.Error{Op: op, Err: errors.New("the last verify found differences"), Exit: pipeline.ExitDiffers, Hint: "mend what differs, then " + fix}
	case v.At.Before(wrote):
		return guided, pipeline.Usage(op, errors.New("nothing was verified since the target was written to last"), fix)
	}
	for _, l := range lanes {
		if !slices.Contains(v.Lanes, l) {
			return guided, pipeline.Usage(op, fmt.Errorf("the last verify left the %s out", l), fix+" without --only")
		}
	}
	return v.At, nil
}
