package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"outgrow/pipeline"
)

// Files that keep, in the state folder, where a cutover or a rollback stands.
const (
	cutoverFile  = "cutover.json"
	rollbackFile = "rollback.json"
)

func (g *guide) file() string {
	if g.back {
		return rollbackFile
	}
	return cutoverFile
}

// Phases of a cutover. The target is only written to before phaseVerified.
const (
	phaseLive     = "live"     // copying beside the running app
	phaseStopping = "stopping" // the app is being stopped
	phaseStopped  = "stopped"  // nobody writes any more
	phaseVerified = "verified" // both sides are equal
	phaseDone     = "done"     // the new app may be, or was, started
)

// Steps whose duration is predicted before and measured after.
const (
	stepPlan     = "plan"
	stepMigrate  = "migrate"
	stepRehearse = "verify, rehearsed"
	stepQuiet    = "quiet"
	stepFinal    = "final pass"
	stepVerify   = "verify"
	stepStop     = "stop"
	stepStart    = "start"
)

// cutoverReport is the state of a cutover, and its section of the report.
type cutoverReport struct {
	Phase string        `json:"phase"`
	Began time.Time     `json:"began"`
	Done  time.Time     `json:"done,omitzero"`
	Steps []cutoverStep `json:"steps"`
	// Predicted are seconds of steps to come.
	Predicted map[string]float64 `json:"predicted,omitempty"`
	// Window is what a stop was predicted to take, just before it.
	Window window `json:"window"`
	// StopAt is when the stop began, ReadyAt when the target was verified.
	StopAt  time.Time `json:"stop_at,omitzero"`
	ReadyAt time.Time `json:"ready_at,omitzero"`
	// Own is outgrow's part of the downtime in seconds, Downtime all that it has
	// measured: from the stop to the start (to the answer with --health).
	Own      float64 `json:"own_seconds,omitempty"`
	Downtime float64 `json:"downtime_seconds,omitempty"`
	// Pass is what the last pass found, Source the old side after the stop.
	Pass   passFigures `json:"pass"`
	Source sight       `json:"source"`
	Exit   int         `json:"exit"`
	Error  string      `json:"error,omitempty"`
}

// cutoverStep is one step that came to its end; predicted is 0 where nothing was.
type cutoverStep struct {
	Step      string    `json:"step"`
	At        time.Time `json:"at"`
	Seconds   float64   `json:"seconds"`
	Predicted float64   `json:"predicted_seconds,omitempty"`
}

// passFigures are the measure of a pass.
type passFigures struct {
	Seconds float64 `json:"seconds"`
	Read    int64   `json:"read"`
	Changes int64   `json:"changes"`
}

// small reports whether another pass would have as much to do as this one.
func (p passFigures) small() bool { return p.Changes <= max(200, p.Read/1000) }

// window is the prediction of a stop, in seconds.
type window struct {
	Quiet   float64 `json:"quiet_seconds"`
	Pass    float64 `json:"pass_seconds"`
	Verify  float64 `json:"verify_seconds"`
	Restart float64 `json:"restart_seconds,omitempty"` // as told by --restart
	Own     float64 `json:"own_seconds"`
	Total   float64 `json:"total_seconds"`
}

// window predicts a stop by the rates that this run has measured: the last pass
// and the rehearsed verify went over the same records.
func (g *guide) window() window {
	w := window{Quiet: g.cmd.Quiet.Seconds(), Pass: g.state.Pass.Seconds, Verify: g.took(stepRehearse), Restart: g.cmd.Restart.Seconds()}
	w.Own = w.Quiet + w.Pass + w.Verify
	w.Total = w.Own + w.Restart
	return w
}

func (w window) text(restart time.Duration) string {
	s := fmt.Sprintf("%s of quiet, %s for the last pass, %s for verify", span2(w.Quiet), span2(w.Pass), span2(w.Verify))
	if restart > 0 {
		return s + ", " + span2(w.Restart) + " to stop and start Open WebUI"
	}
	return s + ", and what Open WebUI takes to stop and start (--restart)"
}

// span2 prints seconds: "4.2 s", "3:05".
func span2(seconds float64) string {
	if seconds < 100 {
		return fmt.Sprintf("%.1f s", seconds)
	}
	return clock(time.Duration(seconds * float64(time.Second)))
}

// took is how long a step took when it was made last, 0 when it was not.
func (g *guide) took(step string) float64 {
	for i := len(g.state.Steps) - 1; i >= 0; i-- {
		if g.state.Steps[i].Step == step {
			return g.state.Steps[i].Seconds
		}
	}
	return 0
}

// note keeps what a step took beside what was predicted.
func (g *guide) note(step string, began time.Time, predicted float64) error {
	s := cutoverStep{Step: step, At: began.UTC(), Seconds: time.Since(began).Seconds(), Predicted: predicted}
	g.state.Steps = append(g.state.Steps, s)
	if slices.Contains([]string{stepDoctor, stepStop, stepQuiet, stepStart}, step) { // the others tell of themselves
		g.hub.Span(step, began)
	}
	text := fmt.Sprintf("took    %s: %s", step, span2(s.Seconds))
	if predicted > 0 {
		text += fmt.Sprintf(" (predicted %s)", span2(predicted))
	}
	g.say("%s", text)
	if g.json {
		emit(g.out, event{Event: "step", Detail: s})
	}
	return g.save()
}

// to goes on to another phase.
func (g *guide) to(phase string) error {
	g.state.Phase = phase
	return g.save()
}

func (g *guide) save() error { return g.state.save(g.dir, g.file()) }

// save keeps the state durably in a file of the state folder, then shows it in the
// report.
func (c *cutoverReport) save(dir, file string) error {
	body, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the cutover's state: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return pipeline.Environment("making the state folder", err, "name a writable folder with --state")
	}
	if err := writeFile(filepath.Join(dir, file), append(body, '\n')); err != nil {
		return err
	}
	_, err = updateReport(dir, func(r *report) {
		if file == rollbackFile {
			r.Rollback = c
			return
		}
		r.Cutover = c
	})
	return err
}

// readCutover gives where a cutover, or by its file a rollback, stands; the zero
// value when none was begun.
func readCutover(dir, file string) (c cutoverReport, err error) {
	if err = readKept(dir, file, &c); err != nil {
		return c, pipeline.Environment("reading where the run stands", err, "make "+filepath.Join(dir, file)+
			" readable; if it is damaged and the new app was never started, remove it: the run then begins anew")
	}
	return c, nil
}

// overwrites is the error of a pass over a target that a cutover has left to the
// new app; nil while none has.
func overwrites(dir string) error {
	c, err := readCutover(dir, cutoverFile)
	if err != nil || c.Phase != phaseDone {
		return err
	}
	return pipeline.Usage("syncing", fmt.Errorf("the cutover came to its end %s: the new app may be in use, and a pass would overwrite what was written there", ago(time.Since(c.Done))),
		"carry over what was still written to the old side with --strays; to begin anew, outgrow cutover --again")
}

// conclude tells the measured downtime and what was predicted.
func (g *guide) conclude() {
	s, own := &g.state, g.state.ReadyAt.Sub(g.state.StopAt).Seconds()-g.took(stepStop)
	s.Own = own
	g.say("downtime %s measured, predicted %s%s", span2(s.Downtime), span2(s.Window.Total), deviation(s.Downtime, s.Window.Total))
	g.say("         outgrow's part %s, predicted %s%s", span2(own), span2(s.Window.Own), deviation(own, s.Window.Own))
}

func deviation(is, was float64) string {
	if was <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%+.0f %%)", 100*(is-was)/was)
}

// tail gives the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
