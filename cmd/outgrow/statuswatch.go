package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"outgrow/pipeline"
)

// look is what the state tells at one time.
type look struct {
	At    time.Time    `json:"at"`
	Lanes []laneStatus `json:"lanes"`
	// Phase is that of a guided run, Step its last step; "" where there is none.
	Phase string `json:"phase,omitempty"`
	Step  string `json:"step,omitempty"`
	// Unfinished: the report knows of a migration that has not come to its end.
	Unfinished bool `json:"unfinished,omitempty"`
	// Pass is when a sync pass began that has not come to its end; zero for none.
	Pass time.Time `json:"pass,omitzero"`
	// Failed is what the last command failed on, "" while nothing is wrong.
	Failed string `json:"failed,omitempty"`
}

// done reports whether nothing more is to come: every lane that was begun is
// complete; the migration, a pass and a guided run have come to their end.
func (l look) done() bool {
	if l.Unfinished || !l.Pass.IsZero() {
		return false
	}
	begun := slices.DeleteFunc(slices.Clone(l.Lanes), func(st laneStatus) bool { return st.Parts == 0 })
	return len(begun) > 0 && !slices.ContainsFunc(begun, func(st laneStatus) bool { return !st.Complete }) && (l.Phase == "" || l.Phase == phaseDone)
}

// same reports whether both tell the same, whenever they were made.
func (l look) same(o look) bool {
	return l.Phase == o.Phase && l.Step == o.Step && l.Unfinished == o.Unfinished && l.Pass.Equal(o.Pass) && l.Failed == o.Failed && slices.EqualFunc(l.Lanes, o.Lanes, func(a, b laneStatus) bool {
		return a.line() == b.line() && a.Bytes == b.Bytes && slices.Equal(a.Without, b.Without)
	})
}

// lines is a look for people. before is an earlier one, for the speed; the zero
// look for none.
func (l look) lines(before look) []string {
	var out []string
	for i, st := range l.Lanes {
		line := st.line()
		if secs := l.At.Sub(before.At).Seconds(); i < len(before.Lanes) && before.Lanes[i].Lane == st.Lane && secs > 0 && !st.Complete {
			if moved := st.Bytes - before.Lanes[i].Bytes; moved > 0 {
				line += " · " + size(int64(float64(moved)/secs)) + "/s"
			}
		}
		out = append(out, line)
		if len(st.Without) > 0 { // in a line of its own: a terminal cuts long ones
			out = append(out, "        not back yet: "+missing(st.Without))
		}
	}
	if !l.Pass.IsZero() {
		out = append(out, "sync    a pass is under way since "+l.Pass.Local().Format(time.TimeOnly))
	}
	if l.Phase != "" {
		line := fmt.Sprintf("%-8sphase %s", "guided", l.Phase)
		if l.Step != "" {
			line += ", the last step that ended: " + l.Step
		}
		out = append(out, line)
	}
	if l.Failed != "" {
		out = append(out, "failed  "+l.Failed)
	}
	return out
}

// watch shows the state again and again. It takes no lock and opens no source.
func (c *statusCmd) watch(a *app) error {
	if c.Every < 100*time.Millisecond {
		return pipeline.Usage("reading --every", errors.New("that is less than 100ms"), "every look asks the target, too: leave it some time, 2s for example")
	}
	dir, err := stateDir(c.target, "")
	if err != nil {
		return err
	}
	w := &watchScreen{app: a, terminal: terminalOf(a.out)}
	for first := true; ; first = false {
		if done, err := a.sayAccepted(dir); err != nil || done {
			return err
		}
		now, err := c.look(a, dir)
		switch {
		case err == nil:
			w.show(now)
			if now.done() {
				return nil
			}
		case a.ctx.Err() != nil:
		case first || pipeline.ExitCode(err) == pipeline.ExitUsage:
			return err
		default: // a connection that breaks is no end
			w.note(a.clean(err.Error()))
		}
		if pipeline.Sleep(a.ctx, c.Every) != nil {
			return judged(pipeline.ExitStopped) // whoever watches ends it so
		}
	}
}

// look opens the state and closes it again: a run beside it may move, rename or
// begin anything in between.
func (c *statusCmd) look(a *app, dir string) (look, error) {
	l := look{At: time.Now()}
	s, err := a.openTarget(c.target)
	if err != nil {
		return l, err
	}
	s.beside = true
	defer s.close()
	for _, m := range s.lanes {
		st, err := statusOf(a.ctx, m)
		if err != nil {
			return l, err
		}
		l.Lanes = append(l.Lanes, st)
	}
	for _, file := range []string{cutoverFile, rollbackFile} {
		g, err := readCutover(dir, file)
		if err != nil {
			return l, err
		}
		if g.Phase == "" {
			continue
		}
		l.Phase = g.Phase
		if n := len(g.Steps); n > 0 {
			l.Step = g.Steps[n-1].Step
		}
	}
	r, err := readReport(dir)
	if err != nil {
		return l, err
	}
	l.Unfinished = r.Migrate != nil && !r.Migrate.Complete
	if r.Sync != nil && r.Sync.Running {
		l.Pass = r.Sync.At
	}
	if r.Failed != nil {
		l.Failed = r.Failed.Command + ": " + strings.Join(strings.Fields(r.Failed.Error), " ")
	}
	return l, nil
}

// watchScreen draws looks: over each other on a terminal, else line by line where
// something has changed, or as JSON lines.
type watchScreen struct {
	*app
	terminal *os.File // nil for none
	drawn    int      // lines to draw over
	last     look
	noted    string
}

func (w *watchScreen) show(l look) {
	before, changed := w.last, !l.same(w.last) || w.noted != ""
	w.last, w.noted = l, ""
	switch {
	case w.json:
		if changed {
			emit(w.out, event{Event: "status", Detail: l})
		}
	case w.terminal != nil:
		lines := l.lines(before)
		if !l.done() {
			lines = append(lines, "Ctrl-C ends this; the run goes on.")
		}
		w.draw(lines)
	case changed:
		w.say("%s   %s", l.At.Format(time.TimeOnly), strings.Join(squeezed(l.lines(before)), " · "))
	}
}

// note tells why a look failed, once.
func (w *watchScreen) note(text string) {
	if text == w.noted {
		return
	}
	w.noted = text
	if w.json {
		emit(w.out, event{Event: "unreachable", Text: text})
		return
	}
	w.drawn = 0
	w.say("note    the target cannot be asked just now: %s", text)
}

// draw puts the lines where the last ones were; each is cut at the edge, as a
// line that wraps would be counted wrong.
func (w *watchScreen) draw(lines []string) {
	width := 80
	if cols, _, err := term.GetSize(int(w.terminal.Fd())); err == nil && cols > 0 {
		width = cols
	}
	_, _ = io.WriteString(w.out, frame(lines, w.drawn, width))
	w.drawn = len(lines)
}

// frame is what draws lines over so many drawn before (ECMA-48: CUU, ED).
func frame(lines []string, over, width int) string {
	var b strings.Builder
	if over > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", over)
	}
	b.WriteString("\x1b[J")
	for _, line := range lines {
		if r := []rune(line); len(r) > width-1 {
			line = string(r[:max(width-2, 0)]) + "…"
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// squeezed takes the columns out of lines.
func squeezed(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = strings.Join(strings.Fields(line), " ")
	}
	return out
}

// terminalOf gives the terminal that w is, nil where it is none.
func terminalOf(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}
