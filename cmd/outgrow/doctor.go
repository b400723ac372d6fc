package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"outgrow/mappings/doctor"
	"outgrow/mappings/doctor/probe"
	"outgrow/mappings/env"
	"outgrow/pipeline"
)

type doctorCmd struct {
	To       string        `help:"The deployment: an env file in Open WebUI's variables." placeholder:"FILE" required:""`
	ToMount  string        `help:"Where the deployment's DATA_DIR is mounted here, when the app sees it elsewhere." placeholder:"DIR"`
	Replicas int           `help:"Instances that are started with these variables." default:"2" placeholder:"N"`
	Workers  int           `help:"Processes of each instance (default: UVICORN_WORKERS, else 1)." placeholder:"N"`
	Primary  bool          `help:"One more instance, with ENABLE_DB_MIGRATIONS=true, runs the migrations."`
	Offline  bool          `help:"Look at the variables alone: no server is asked."`
	Timeout  time.Duration `help:"Time that each server has." default:"20s" placeholder:"TIME"`
	JSON     bool          `help:"JSON lines on standard output."`
}

func (c *doctorCmd) Run(a *app) error {
	a.json = c.JSON
	if c.Replicas < 1 || c.Workers < 0 || c.Timeout <= 0 {
		return pipeline.Usage("reading the options", errors.New("there is at least one instance, of at least one process, and some time for each server"), "correct --replicas, --workers or --timeout")
	}
	d, err := env.Load("to", c.To, c.ToMount, a.environ)
	a.redact = d.Redact
	if err != nil {
		return err // every mistake in the variables, with its fix; exit code 2
	}
	f := doctor.Facts{Deployment: d, Replicas: c.Replicas, Workers: c.Workers, Primary: c.Primary}
	if !c.Offline {
		if err := a.askServers(a.ctx, &f, c.Timeout); err != nil {
			return err
		}
	}
	r := a.cleanReport(doctor.Run(f))
	code := fitness(f, r)
	if dir, err := stateDir(target{To: c.To}, ""); err == nil {
		keepDoctor(dir, func(w io.Writer) { a.doctorLines(w, f, r, code) })
	}
	if a.json {
		a.doctorLines(a.out, f, r, code)
	} else {
		a.doctorScreen(c.To, f, r)
	}
	return judged(code)
}

// askServers asks all servers of the deployment, each for limit at most.
func (a *app) askServers(ctx context.Context, f *doctor.Facts, limit time.Duration) error {
	f.Answers = probe.Ask(ctx, probe.Config{Deployment: f.Deployment, Limit: limit, Objects: probeStore, FileSystem: a.fs})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// fitness is the exit code that a report means.
func fitness(f doctor.Facts, r doctor.Report) int {
	switch {
	case len(f.Answers.Unreachable()) > 0:
		return pipeline.ExitEnvironment
	case r.Unfit():
		return pipeline.ExitUsage
	}
	return pipeline.ExitOK
}

// cleanReport hides secrets in whatever the servers said.
func (a *app) cleanReport(r doctor.Report) doctor.Report {
	for i := range r.Findings {
		x := &r.Findings[i]
		x.Found, x.Line = a.clean(x.Found), a.clean(x.Line)
	}
	for i := range r.Unknown {
		r.Unknown[i].Why = a.clean(r.Unknown[i].Why)
	}
	return r
}

func (a *app) doctorLines(w io.Writer, f doctor.Facts, r doctor.Report, code int) {
	for _, x := range f.Warnings {
		emit(w, event{Event: "warning", Text: a.clean(x.Error())})
	}
	for _, x := range r.Findings {
		emit(w, event{Event: "finding", Detail: x})
	}
	for _, x := range r.Unknown {
		emit(w, event{Event: "unknown", Detail: x})
	}
	emit(w, event{Event: "doctor", Exit: code, Detail: map[string]any{"checks": r.Checks, "findings": len(r.Findings), "fine": r.Fine, "unknown": len(r.Unknown), "left": r.Left,
		"processes": f.Processes(), "offline": !f.Answers.Asked, "asked": f.Answers.Reached(), "unreachable": f.Answers.Unreachable()}})
}

func (a *app) doctorScreen(file string, f doctor.Facts, r doctor.Report) {
	asked := "the variables alone, no server was asked"
	if f.Answers.Asked {
		asked = "no server answered"
		if reached := f.Answers.Reached(); len(reached) > 0 {
			asked = a.clean(strings.Join(reached, ", "))
		}
	}
	a.say("outgrow doctor · %s, %s of Open WebUI · %s", file, plural(int64(f.Processes()), "process"), asked)
	for _, severity := range []doctor.Severity{doctor.Must, doctor.Should} {
		a.sayFindings(r, severity)
	}
	for _, u := range byReason(r.Unknown) {
		a.say("%-8s%s  %s", "unknown", strings.Join(u.ids, ", "), u.why)
	}
	for _, w := range f.Warnings {
		a.say("%-8s%s", "note", a.clean(w.Error()))
	}
	a.say("fine    %d of %s%s", r.Fine, plural(int64(r.Checks), "check"), left(r))
	must, should := r.Count()
	a.say("doctor: %d must be fixed, %d should be, %d unknown.", must, should, len(r.Unknown))
}

// sayFindings tells those of one severity.
func (a *app) sayFindings(r doctor.Report, severity doctor.Severity) {
	for _, x := range r.Findings {
		if x.Severity != severity {
			continue
		}
		a.say("%-8s%s  %s: %s", severity, x.ID, x.Looked, x.Found)
		a.say("        right: %s", x.Right)
		a.say("        else:  %s", x.Symptom)
		a.say("        set:   %s", x.Line)
	}
}

func left(r doctor.Report) string {
	if r.Left == 0 {
		return ""
	}
	return "; " + plural(int64(r.Left), "check") + " of what servers say left out (--offline)"
}

// unknownChecks are those that one reason keeps from an answer.
type unknownChecks struct {
	why string
	ids []string
}

func byReason(all []doctor.Unknown) []unknownChecks {
	var out []unknownChecks
	at := map[string]int{}
	for _, u := range all {
		i, seen := at[u.Why]
		if !seen {
			i = len(out)
			at[u.Why] = i
			out = append(out, unknownChecks{why: u.Why})
		}
		if n := len(out[i].ids); n == 0 || out[i].ids[n-1] != u.ID {
			out[i].ids = append(out[i].ids, u.ID)
		}
	}
	return out
}
