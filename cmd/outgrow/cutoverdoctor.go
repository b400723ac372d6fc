package main

import (
	"context"
	"errors"
	"io"
	"time"

	"outgrow/mappings/doctor"
	"outgrow/pipeline"
)

// stepDoctor comes before plan, until it has found the stack fit.
const stepDoctor = "doctor"

// serverLimit is the time that each server of the target has to answer.
const serverLimit = 20 * time.Second

// doctor asks whether the target's stack is fit, before anything is written to
// it. What must be fixed ends the run. A target that is a folder has no stack.
func (g *guide) doctor(ctx context.Context) error {
	if g.cmd.SkipDoctor || g.stack.IsFolder || g.took(stepDoctor) > 0 {
		return nil
	}
	began := time.Now()
	f := doctor.Facts{Deployment: g.stack, Replicas: g.cmd.Replicas}
	if f.Replicas == 0 {
		f.Replicas = f.Instances()
	}
	f.Primary = f.Replicas > 1 && !f.Migrates()
	if err := g.askServers(ctx, &f, serverLimit); err != nil {
		return err
	}
	r := g.cleanReport(doctor.Run(f))
	for i := range r.Findings {
		// One file does not tell of the other instances' migrations; and plan, which
		// knows the old key, judges the new one.
		if x := &r.Findings[i]; x.ID == "D34" && f.Replicas > 1 || x.ID == "D10" {
			x.Severity = doctor.Should
		}
	}
	must, should := r.Count()
	code := fitness(f, r)
	keepDoctor(g.dir, func(w io.Writer) { g.doctorLines(w, f, r, code) })
	if g.json {
		g.doctorLines(g.out, f, r, code)
	} else {
		g.sayFindings(r, doctor.Must)
		g.say("doctor  %d must be fixed, %d should be, %d unknown; all of it: outgrow doctor --to %s --replicas %d", must, should, len(r.Unknown), quoteArg(g.cmd.To), f.Replicas)
	}
	if must > 0 {
		return &pipeline.Error{Op: "asking whether the target's stack is fit", Err: errors.New("something must be fixed first; nothing was written to the target"), Exit: max(code, pipeline.ExitUsage),
			Hint: "set the lines above, then run the same command; to go on as it is, --skip-doctor"}
	}
	return g.note(stepDoctor, began, 0)
}
