package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"

	"outgrow/mappings/doctor"
)

// doctorFile keeps, in the state folder, what doctor --json says. It may have
// been written elsewhere and brought there.
const doctorFile = "doctor.json"

// doctorReport is what it said.
type doctorReport struct {
	Checks      int              `json:"checks"`
	Fine        int              `json:"fine,omitempty"`
	Offline     bool             `json:"offline"`
	Processes   int              `json:"processes"`
	Asked       []string         `json:"asked,omitempty"`
	Unreachable []string         `json:"unreachable,omitempty"`
	Exit        int              `json:"exit"`
	Findings    []doctor.Finding `json:"findings"`
	Unknown     []doctor.Unknown `json:"unknown,omitempty"`
}

// keepDoctor adds what doctor says to the report of a run that was begun in that
// state folder. What cannot be written there is only missing there.
func keepDoctor(dir string, lines func(io.Writer)) {
	if _, err := os.Stat(filepath.Join(dir, reportJSON)); err != nil {
		return
	}
	var said bytes.Buffer
	lines(&said)
	if writeFile(filepath.Join(dir, doctorFile), said.Bytes()) == nil {
		_, _ = updateReport(dir, func(*report) {})
	}
}

// readDoctor gives nil where nothing is, or something else.
func readDoctor(dir string) *doctorReport {
	body, err := os.ReadFile(filepath.Join(dir, doctorFile))
	if err != nil {
		return nil
	}
	var r doctorReport
	ended := false
	for line := range bytes.Lines(body) {
		var e struct {
			Event  string          `json:"event"`
			Exit   int             `json:"exit"`
			Detail json.RawMessage `json:"detail"`
		}
		if json.Unmarshal(line, &e) != nil {
			return nil
		}
		switch e.Event {
		case "finding":
			var f doctor.Finding
			err = json.Unmarshal(e.Detail, &f)
			r.Findings = append(r.Findings, f)
		case "unknown":
			var u doctor.Unknown
			err = json.Unmarshal(e.Detail, &u)
			r.Unknown = append(r.Unknown, u)
		case "doctor":
			var sum struct {
				Checks, Fine, Processes int
				Offline                 bool
				Asked, Unreachable      []string
			}
			err = json.Unmarshal(e.Detail, &sum)
			r.Checks, r.Fine, r.Processes, r.Offline, r.Asked, r.Unreachable = sum.Checks, sum.Fine, sum.Processes, sum.Offline, sum.Asked, sum.Unreachable
			r.Exit, ended = e.Exit, true
		}
		if err != nil {
			return nil
		}
	}
	if !ended {
		return nil
	}
	return &r
}
