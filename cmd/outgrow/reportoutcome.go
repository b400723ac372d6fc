package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"outgrow/cmd/outgrow/page"
	"outgrow/pipeline"
)

// outcomeReport says in words how it stands, and what is to be done.
type outcomeReport struct {
	State    string     `json:"state"`
	Headline string     `json:"headline"`
	Text     string     `json:"text,omitempty"`
	Next     []nextStep `json:"next,omitempty"`
}

type nextStep struct {
	Text    string `json:"text"`
	Command string `json:"command,omitempty"`
}

// States of a run.
const (
	stateNothing = "nothing" // no command has come to an end
	statePlanned = "planned"
	stateRefused = "refused" // by plan
	stateRunning = "running" // under way, or cut off
	stateFailed  = "failed"
	stateStopped = "stopped" // by a signal
	stateWaiting = "waiting" // for somebody's consent
	stateBehind  = "behind"  // the source was written to
	stateCopied  = "copied"  // and not compared
	stateEqual   = "equal"
	stateDiffers = "differs"
	stateReady   = "ready"  // the cutover came to its end, the new app is to be started
	stateInUse   = "in-use" // and was started by it
	stateStrays  = "split-brain"
)

// stateWords are what stands above the headline, and in which colour.
var stateWords = map[string]struct {
	word string
	mood page.Mood
}{
	stateNothing: {"Not begun", page.Plain}, statePlanned: {"Planned", page.Plain}, stateRefused: {"Plan refused", page.Bad},
	stateRunning: {"Not at its end", page.Warn}, stateFailed: {"Failed", page.Bad}, stateStopped: {"Stopped", page.Warn},
	stateWaiting: {"Needs a decision", page.Warn}, stateBehind: {"One more pass is needed", page.Warn}, stateCopied: {"Copied, not yet compared", page.Warn},
	stateEqual: {"Equal", page.Good}, stateDiffers: {"Differences", page.Bad}, stateReady: {"Ready to start", page.Good}, stateInUse: {"In use", page.Good}, stateStrays: {"Split brain", page.Bad},
}

// onlyRead is what may always be said.
const onlyRead = "The old side was only read: Open WebUI may be started on it again at any time."

// lastMove is the last copy or pass.
type lastMove struct {
	command    string
	at, end    time.Time
	run        string
	running    bool
	complete   bool
	changed    bool
	quarantine []pipeline.Tally
	ledger     []pipeline.Tally
	findings   []pipeline.Finding
	paths      *pathsReport
	exit       int
}

// lastMove gives nil where nothing was moved.
func (r *report) lastMove() *lastMove {
	var last *lastMove
	if m := r.Migrate; m != nil {
		last = &lastMove{"migrate", m.At, after(m.At, m.Seconds), m.Run, m.Running, m.Complete, m.SourceChanged, m.Quarantine, m.Ledger, m.Findings, m.Paths, m.Exit}
	}
	if m := r.Sync; m != nil && (last == nil || m.At.After(last.at)) {
		last = &lastMove{"sync", m.At, after(m.At, m.Seconds), m.Run, m.Running, m.Complete, m.SourceChanged, m.Quarantine, m.Ledger, m.Findings, m.Paths, m.Exit}
	}
	return last
}

func after(t time.Time, seconds float64) time.Time {
	return t.Add(time.Duration(seconds * float64(time.Second)))
}

// proof is the comparison of what is there now, nil where there was none since.
func (r *report) proof() *verifyReport {
	if last := r.lastMove(); r.Verify == nil || last != nil && r.Verify.At.Before(last.end) {
		return nil
	}
	return r.Verify
}

// anew leaves out what was said of another run.
func (r *report) anew(run string) {
	if r.Migrate != nil && r.Migrate.Run != run {
		r.Sync, r.Verify, r.Watch = nil, nil, nil
	}
}

// guided is the cutover, or the rollback, that leads through the other commands;
// nil where they were called one by one.
func (r *report) guided() *cutoverReport {
	if r.Rollback != nil {
		return r.Rollback
	}
	return r.Cutover
}

// leader names it.
func (r *report) leader() string {
	if r.Rollback != nil {
		return "rollback"
	}
	return "cutover"
}

// problem is what keeps the run from its end, nil for nothing.
func (r *report) problem() *failureReport {
	if r.Failed != nil {
		return r.Failed
	}
	if c := r.guided(); c != nil && c.Error != "" {
		return &failureReport{Command: r.leader(), Exit: c.Exit, Error: c.Error}
	}
	return nil
}

// waiting counts the refused records that nobody has agreed to, by reason.
func waiting(all []pipeline.Tally) (n int64, reasons []string) {
	seen := map[pipeline.Reason]bool{}
	for _, t := range all {
		if t.Accepted || t.Count == 0 {
			continue
		}
		n += t.Count
		if !seen[t.Reason] {
			seen[t.Reason] = true
			reasons = append(reasons, string(t.Reason))
		}
	}
	return n, reasons
}

// outcome judges all sections together. dir is the state folder.
func (r *report) outcome(dir string) outcomeReport {
	last, proof := r.lastMove(), r.proof()
	same := nextStep{"Run the same command again. It goes on where it stopped, and nothing is done twice.", ""}
	if p := r.problem(); p != nil {
		return r.failedOutcome(p, same)
	}
	if w := r.Watch; w != nil && strayCount(w) > 0 && !w.Carried {
		return outcomeReport{stateStrays, "The old side was still written to.", "Written there after the last pass: " + strayText(w.Units) + ". The new side does not have it yet.",
			[]nextStep{{"Stop the old Open WebUI for good.", ""}, {"Carry over what was written there. Nothing on the new side is removed or overwritten.", r.command("sync", "--strays")}}}
	}
	if c := r.guided(); c != nil && c.Phase == phaseDone && proof != nil && proof.good() {
		return r.cutOver(c, proof, dir)
	}
	switch {
	case last == nil && r.Plan == nil:
		return outcomeReport{State: stateNothing, Headline: "Nothing was moved yet."}
	case last == nil && r.Plan.Refused:
		return outcomeReport{stateRefused, "It cannot be moved as it is.", "Nothing was written. What stands in the way is named below, each with its remedy.",
			[]nextStep{{"Mend what is marked “refused”, then plan again.", r.command("plan")}}}
	case last == nil:
		return outcomeReport{statePlanned, "It can be moved, in about " + spell(r.Plan.Estimate) + ".", "Everything was read once, through every step that a move takes. Nothing was written.",
			[]nextStep{{"Move it. " + onlyRead, r.command("migrate")}}}
	case last.running:
		return outcomeReport{stateRunning, "The " + last.command + " has not come to its end.", "It is still under way, or it was cut off. What is done is kept. " + onlyRead + " Do not start it on the new side.", []nextStep{same}}
	}
	if proof != nil {
		return r.provenOutcome(proof, dir)
	}
	return r.movedOutcome(last)
}

// cutOver is the end of a cutover. Only what it did itself is known to have been
// done: without a command to start the new app, somebody else starts it.
func (r *report) cutOver(c *cutoverReport, v *verifyReport, dir string) outcomeReport {
	if r.Rollback != nil {
		return outcomeReport{stateReady, "Taken back. " + arrived(r, v), r.compared(v), []nextStep{
			{"Start Open WebUI with the new data folder and the same WEBUI_SECRET_KEY, and without DATABASE_URL, VECTOR_DB and STORAGE_PROVIDER.", ""},
			{"Keep the scaled side as it is until the app has shown that it runs: it was only read.", ""}}}
	}
	watch := nextStep{"Watch the old side for a while: an old container that comes back is seen.", r.command("watch", "--for", "1h")}
	if c.started() {
		return outcomeReport{stateInUse, "The new side is in use. " + arrived(r, v), "Users were without Open WebUI for " + spell(c.Downtime) + predictedText(c.Window.Total) + ". " + r.compared(v),
			[]nextStep{watch, keepOld(dir)}}
	}
	return outcomeReport{stateReady, arrived(r, v), "It took " + spell(c.Own) + " from the stop of the old app until the new side was proved" + predictedText(c.Window.Own) + ". " + r.compared(v),
		[]nextStep{{"Start Open WebUI on the new side, with the same WEBUI_SECRET_KEY, if that is not done yet.", ""}, watch, keepOld(dir)}}
}

// started reports whether the cutover itself has started the new app, so that
// the whole downtime was measured.
func (c *cutoverReport) started() bool {
	return slices.ContainsFunc(c.Steps, func(s cutoverStep) bool { return s.Step == stepStart })
}

func (r *report) failedOutcome(p *failureReport, same nextStep) outcomeReport {
	o := outcomeReport{State: stateFailed, Headline: "The " + p.Command + " failed.", Text: sentence(p.Error)}
	switch {
	case p.Exit == pipeline.ExitStopped:
		o.State, o.Headline = stateStopped, "The "+p.Command+" was stopped."
	case p.Exit == pipeline.ExitEnvironment:
		o.Headline = "The " + p.Command + " could not go on."
	}
	if p.Units > 0 {
		o.Text += fmt.Sprintf(" %d of %d units are done and kept.", p.Done, p.Units)
	}
	o.Text += " " + onlyRead
	if p.Unfit != "" {
		o.Text += " Do not start it on the new side: " + p.Unfit + "."
	}
	if p.Fix != "" {
		o.Next = append(o.Next, nextStep{sentence(p.Fix), ""})
	}
	if p.Exit != pipeline.ExitUsage && p.Fix == "" {
		o.Next = append(o.Next, same)
	}
	return o
}

// good reports whether nothing is left to be explained.
func (v *verifyReport) good() bool { return v.Equal && (v.Search == nil || v.Search.OK) }

func (r *report) provenOutcome(v *verifyReport, dir string) outcomeReport {
	switch {
	case v.good():
		o := outcomeReport{State: stateEqual, Headline: arrived(r, v), Text: r.compared(v)}
		if r.guided() == nil {
			o.Next = append(o.Next, nextStep{"If nobody has written to the old side since, start Open WebUI on the new side with the same WEBUI_SECRET_KEY.", ""})
		} else {
			o.Next = append(o.Next, nextStep{"Go on with the same command: the " + r.leader() + " stands at “" + r.guided().Phase + "”.", ""})
		}
		return outcomeReport{o.State, o.Headline, o.Text, append(o.Next, keepOld(dir))}
	case v.Equal:
		return outcomeReport{stateDiffers, "Every record arrived, but searches do not find what they should.", "The records of both sides are equal. The vector index of the new side finds less than " + percentText(v.Search.MinRecall) + " of what an exact search finds.",
			[]nextStep{{"Look at the collections below. Build the index with higher parameters, or accept what it finds.", r.command("verify", "--min-recall", "0.9")}}}
	}
	if v.Unfit != "" {
		return outcomeReport{stateDiffers, "The new side is not complete.", "Do not start Open WebUI on the new side: " + v.Unfit + ". " + onlyRead,
			[]nextStep{{"Run the migration to its end. If it has ended, restore what is missing, or begin anew on an empty database.", r.command("migrate")},
				{"Compare again.", r.command("verify")}}}
	}
	return outcomeReport{stateDiffers, plural(v.Differences, "difference") + " between the two sides.",
		"Do not start Open WebUI on the new side. " + onlyRead,
		[]nextStep{{"See each difference by table and key: " + filepath.Join(dir, "differences.jsonl") + ".", ""},
			{"If the old side was written to meanwhile, stop it and make one more pass.", r.command("sync")},
			{"If it was not, somebody wrote to the new side: find out who, empty it and begin anew.", r.command("migrate", "--replace")},
			{"Compare again.", r.command("verify")}}}
}

func (r *report) movedOutcome(last *lastMove) outcomeReport {
	n, reasons := waiting(last.quarantine)
	verify := nextStep{"Compare both sides, record by record.", r.command("verify")}
	switch {
	case last.changed:
		return outcomeReport{stateBehind, "Copied while people worked: one more pass is needed.", "The old side was written to since the copy began, as was to be expected while it ran. Do not start Open WebUI on the new side yet.",
			[]nextStep{{"Stop Open WebUI, then bring the new side up to the old one: only what changed is moved.", r.command("sync", "--stopped")}, verify}}
	case n > 0:
		return outcomeReport{stateWaiting, "Copied, but " + plural(n, "record") + " " + needs(n) + " a decision.", "The new side cannot hold them as they are. They are kept whole, with the reason, in the quarantine.",
			[]nextStep{{"Look at them.", "outgrow status " + r.Target + " --quarantine"},
				{"Repair them and put them in, or agree to leave them out.", r.command(last.command, "--accept", strings.Join(reasons, ","))}, verify}}
	case last.exit == pipeline.ExitDiffers:
		return outcomeReport{stateWaiting, "Copied, but something still needs a decision.", "It is marked below, with what to do about it.", []nextStep{verify}}
	}
	return outcomeReport{stateCopied, "Copied. Not yet compared.", "Whether everything arrived is known only after both sides were compared.", []nextStep{verify}}
}

func needs(n int64) string {
	if n == 1 {
		return "needs"
	}
	return "need"
}

func keepOld(dir string) nextStep {
	return nextStep{"Keep the old data folder and " + dir + " until you are sure. Going back is starting the old app.", ""}
}

// command names a command of this pair again.
func (r *report) command(name string, more ...string) string {
	return strings.TrimSpace("outgrow " + name + " " + strings.TrimSpace(r.Pair+" "+strings.Join(more, " ")))
}

// arrived is the headline of a good end.
func arrived(r *report, v *verifyReport) string {
	if last := r.lastMove(); last != nil && len(last.quarantine) > 0 {
		return "Everything arrived but what was agreed to leave out."
	}
	return "Everything arrived."
}

// compared says what was compared, and what was found.
func (r *report) compared(v *verifyReport) string {
	var parts []string
	var excused, put int64
	for _, s := range laneSums(v.Units) {
		excused, put = excused+s.Excused, put+s.Put
		parts = append(parts, plural(s.Source, recordWord(pipeline.UnitOf(s.Unit).Lane)))
	}
	text := listed(parts) + " were read back from the new side and compared one by one with the old side. "
	switch {
	case excused == 0 && put == 0:
		text += "All are equal."
	default:
		text += "All are equal, or as agreed to: " + plural(excused, "record") + " in the accepted quarantine or changed as the ledger says"
		if put > 0 {
			text += ", " + number(put) + " repaired and put in"
		}
		text += "."
	}
	if s := v.Search; s != nil && s.Skipped == "" && s.Searches > 0 {
		text += fmt.Sprintf(" Searches find %s of what an exact search finds.", percentText(s.Recall))
	}
	return text
}

func predictedText(seconds float64) string {
	if seconds <= 0 {
		return ""
	}
	return ", predicted " + spell(seconds)
}

func strayCount(w *watchReport) (n int64) {
	for _, u := range w.Units {
		n += u.New + u.Changed + u.Removed + u.Conflicts + u.Refused
	}
	return n
}
