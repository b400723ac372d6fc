package main

import (
	"errors"

	"outgrow/mappings/doctor"
	"outgrow/mappings/env"
	"outgrow/pipeline"
)

type doctorCmd struct {
	To       string `help:"The deployment: an env file in Open WebUI's variables." placeholder:"FILE" required:""`
	Replicas int    `help:"Instances that are started with these variables." default:"2" placeholder:"N"`
	Workers  int    `help:"Processes of each instance (default: UVICORN_WORKERS, else 1)." placeholder:"N"`
	Primary  bool   `help:"One more instance, with ENABLE_DB_MIGRATIONS=true, runs the migrations."`
	Offline  bool   `help:"Look at the variables alone. Needed: this version connects to nothing."`
	JSON     bool   `help:"JSON lines on standard output."`
}

func (c *doctorCmd) Run(a *app) error {
	a.json = c.JSON
	if !c.Offline {
		return pipeline.Usage("asking the servers", errors.New("this version looks at the variables alone"), "say --offline")
	}
	if c.Replicas < 1 || c.Workers < 0 {
		return pipeline.Usage("reading the options", errors.New("there is at least one instance, of at least one process"), "correct --replicas or --workers")
	}
	d, err := env.Load("to", c.To, "", a.environ)
	a.redact = d.Redact
	if err != nil {
		return err // every mistake in the variables, with its fix; exit code 2
	}
	f := doctor.Facts{Deployment: d, Replicas: c.Replicas, Workers: c.Workers, Primary: c.Primary}
	findings, checks := doctor.Run(f)
	code := pipeline.ExitOK
	if doctor.Unfit(findings) {
		code = pipeline.ExitUsage
	}
	if a.json {
		for _, w := range d.Warnings {
			emit(a.out, event{Event: "warning", Text: a.clean(w.Error())})
		}
		for _, x := range findings {
			emit(a.out, event{Event: "finding", Detail: x})
		}
		emit(a.out, event{Event: "doctor", Exit: code, Detail: map[string]any{"checks": checks, "findings": len(findings), "processes": f.Processes(), "offline": true}})
		return judged(code)
	}
	a.say("outgrow doctor · %s, %s of Open WebUI · the variables alone, no server was asked", c.To, plural(int64(f.Processes()), "process"))
	for _, severity := range []doctor.Severity{doctor.Must, doctor.Should} {
		for _, x := range findings {
			if x.Severity != severity {
				continue
			}
			a.say("%-8s%s  %s: %s", severity, x.ID, x.Looked, x.Found)
			a.say("        right: %s", x.Right)
			a.say("        else:  %s", x.Symptom)
			if x.Line != "" {
				a.say("        set:   %s", x.Line)
			}
		}
	}
	for _, w := range d.Warnings {
		a.say("%-8s%s", "note", a.clean(w.Error()))
	}
	a.say("doctor: %s, %s.", plural(int64(checks), "check"), plural(int64(len(findings)), "finding"))
	return judged(code)
}
