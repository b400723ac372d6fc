package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

type cutoverCmd struct {
	pair
	laneFlags
	parityFlags
	Accept       []string      `help:"Reasons whose refused records you agree to leave in the quarantine: orphan, needs-embedding, ..." placeholder:"REASON"`
	AllowDeletes bool          `help:"As in sync."`
	Overwrite    bool          `help:"As in sync."`
	Chown        string        `help:"As in migrate." placeholder:"USER:GROUP"`
	StopCmd      string        `name:"stop-cmd" help:"Shell command that stops every Open WebUI on the source; without it you are asked to." placeholder:"CMD"`
	StartCmd     string        `name:"start-cmd" help:"Shell command that starts Open WebUI on the target, after verify; without it you are told to." placeholder:"CMD"`
	Health       string        `help:"Address that answers once the new app is up: http://host:8080/health. The downtime ends there." placeholder:"URL"`
	Restart      time.Duration `help:"How long Open WebUI itself takes to stop and to start, if you know: counts in the prediction." placeholder:"45s"`
	Passes       int           `help:"Sync passes at most before the stop." default:"5"`
	Drain        time.Duration `help:"How long to wait, before the stop, for files being processed and answers being written." default:"60s"`
	Wait         time.Duration `help:"How long to wait, after the stop, until nobody writes (default: 30s; 10m with --yes and no --stop-cmd)." placeholder:"30s"`
	Quiet        time.Duration `help:"How long nothing may move on the source before it counts as at rest." default:"3s"`
	EnvOut       string        `name:"env-out" help:"Write the variables to start Open WebUI with into this file (mode 0600), with the source's WEBUI_SECRET_KEY where the target names none." placeholder:"FILE"`
	SkipDoctor   bool          `name:"skip-doctor" help:"Do not ask first whether the target's stack is fit, or go on although it is not."`
	Replicas     int           `help:"Instances that will run on the target, for doctor (default: 2 where REDIS_URL or WEBSOCKET_MANAGER is set, else 1)." placeholder:"N"`
	Yes          bool          `help:"Ask nothing."`
	Again        bool          `help:"Begin anew after a cutover that came to its end. Only while nobody has used the new app: what was written there is overwritten."`
}

func (c *cutoverCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	if !c.Yes && !a.asks() {
		return pipeline.Usage("asking before the stop", errors.New("there is no terminal to ask on"),
			"say --yes, with --stop-cmd CMD to have Open WebUI stopped by it; without --stop-cmd it waits until somebody else has stopped it")
	}
	a.json, a.guided, a.carries = c.JSON, true, c.EnvOut != ""
	from, to, err := a.sides(c.pair, c.laneFlags)
	if err != nil {
		return err
	}
	dir, err := stateDir(c.target, from.Mount)
	if err != nil {
		return err
	}
	if err := notAccepted(dir); err != nil {
		return err
	}
	g := &guide{app: a, cmd: c, from: from, stack: to, shared: sharedFiles(from, to), dir: dir, began: time.Now()}
	if g.state, err = readCutover(dir, cutoverFile); err != nil {
		return err
	}
	return g.run(a.ctx)
}

// guide leads through one cutover.
type guide struct {
	*app
	cmd  *cutoverCmd
	from env.Deployment
	// stack is the target's side.
	stack env.Deployment
	// shared: the new app uses the old one's files.
	shared bool
	dir    string // the state folder
	// back: it is a rollback that is led through.
	back  bool
	state cutoverReport
	began time.Time
	key   *keyFacts // nil before a pass has seen it
}

// run goes from where an earlier run of the command stood to the end.
func (g *guide) run(ctx context.Context) error {
	now, err := g.look()
	if err != nil {
		return err
	}
	switch {
	case g.state.Phase == phaseDone && !g.cmd.Again:
		return g.over(now)
	case g.state.Phase == phaseDone:
		g.state = cutoverReport{}
	}
	g.state.Error, g.state.Exit = "", 0
	if g.state.Began.IsZero() {
		g.state.Began = g.began.UTC()
	} else {
		g.say("outgrow cutover · begun %s, goes on where it stood: %s", ago(time.Since(g.state.Began)), g.state.Phase)
	}
	verified := g.state.Phase == phaseVerified && !now.InUse && now.same(g.state.Source)
	if !verified {
		if err := g.upToEqual(ctx, now); err != nil {
			return g.ended(err)
		}
	}
	return g.ended(g.handOver(ctx))
}

// upToEqual is everything from the plan to a verified target.
func (g *guide) upToEqual(ctx context.Context, now sight) error {
	// A source that is seen to be at rest after a stop needs no other one.
	stopped := !now.InUse && (g.state.Phase == phaseStopped || g.state.Phase == phaseVerified || g.state.Phase == phaseStopping && now.complete())
	if !stopped {
		if err := g.whileLive(ctx); err != nil {
			return err
		}
		if err := g.stop(ctx); err != nil {
			return err
		}
	}
	if err := g.rest(ctx); err != nil {
		return err
	}
	if err := g.pass(ctx, stepFinal, true); err != nil {
		return err
	}
	return g.verify(ctx)
}

// whileLive carries the bulk while people work, and measures what a stop takes.
func (g *guide) whileLive(ctx context.Context) error {
	if err := g.to(phaseLive); err != nil {
		return err
	}
	if err := g.doctor(ctx); err != nil {
		return err
	}
	if err := g.plan(ctx); err != nil {
		return err
	}
	if _, err := g.migrate(ctx); err != nil {
		return err
	}
	if err := g.rehearse(ctx); err != nil {
		return err
	}
	last := 0.0
	for n := 1; n <= max(g.cmd.Passes, 1); n++ {
		if err := g.pass(ctx, fmt.Sprintf("pass %d", n), false); err != nil {
			return err
		}
		g.state.Window = g.window()
		g.say("window  a stop now would take about %s: %s", span2(g.state.Window.Total), g.state.Window.text(g.cmd.Restart))
		took := g.state.Pass.Seconds
		if g.state.Pass.small() || last > 0 && took > last*0.8 {
			break // another one would not make the window shorter
		}
		last = took
	}
	return nil
}

// ended keeps how the run ended and gives its error on.
func (g *guide) ended(err error) error {
	g.state.Exit = pipeline.ExitCode(err)
	var quiet *verdict
	if err != nil && !errors.As(err, &quiet) {
		g.state.Error = g.clean(err.Error())
	}
	if serr := g.save(); serr != nil && err == nil {
		err = serr
	}
	if g.json {
		emit(g.out, event{Event: strings.TrimSuffix(g.file(), ".json"), Exit: g.state.Exit, Detail: g.state})
	}
	return err
}

// untouched reports whether nobody but the new app has written to the old side
// since it was found at rest.
func (g *guide) untouched(now sight) bool {
	was := g.state.Source
	if g.shared {
		now.Uploads, was.Uploads = "", ""
	}
	return now.same(was)
}

// over is what a cutover that has come to its end answers.
func (g *guide) over(now sight) error {
	if !g.untouched(now) {
		return &pipeline.Error{Op: "cutting over", Exit: pipeline.ExitDiffers,
			Err:  fmt.Errorf("this cutover came to its end %s, and the old side has been written to since: a split brain", ago(time.Since(g.state.Done))),
			Hint: "stop the old Open WebUI for good, then: outgrow watch " + g.args() + " --once, which says what was written there"}
	}
	g.say("done    this cutover came to its end %s; nothing was done now", ago(time.Since(g.state.Done)))
	g.say("        to begin anew, while nobody has used the new app yet: --again")
	return nil
}

// args name the pair again for the next command.
func (g *guide) args() string {
	return (&session{args: g.cmd.pair, only: g.cmd.Only}).pairArgs()
}
