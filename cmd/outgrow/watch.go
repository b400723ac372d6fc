package main

import (
	"context"
	"time"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

type watchCmd struct {
	pair
	laneFlags
	For   time.Duration `help:"How long to watch; 0 until it is stopped." default:"1h"`
	Once  bool          `help:"Look once, and read the old side to name what was written."`
	Every time.Duration `help:"How often to look." default:"10s"`
}

// watchReport is what was found on the old side after the last pass.
type watchReport struct {
	At      time.Time             `json:"at"`
	Seconds float64               `json:"seconds"`
	Carried bool                  `json:"carried"` // by sync --strays
	Units   []pipeline.UnitStrays `json:"units"`
	Exit    int                   `json:"exit"`
	File    string                `json:"file,omitempty"`
}

func (c *watchCmd) Run(a *app) error {
	a.json = c.JSON
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
	if c.Once {
		return c.name(a)
	}
	kept, err := readCutover(dir, cutoverFile)
	if err != nil {
		return err
	}
	before, shared := kept.Source, sharedFiles(from, to)
	if before == (sight{}) {
		// Stopped by hand: whatever is there now was found by the last pass, or
		// is named now.
		if err := c.name(a); err != nil {
			return err
		}
	}
	return c.watch(a.ctx, a, from, before, shared)
}

// watch looks at the old side again and again; the first write ends it.
func (c *watchCmd) watch(ctx context.Context, a *app, from env.Deployment, before sight, shared bool) error {
	began, told := time.Now(), false
	for {
		now, err := lookAt(a, from, false)
		if err != nil {
			return err
		}
		if shared {
			now.Uploads, before.Uploads = "", ""
		}
		switch {
		case before == (sight{}):
			before = now
		case !now.same(before):
			if code := a.exit(c.name(a)); code != pipeline.ExitOK {
				return judged(code)
			}
			// Touched, but nothing in it is new.
			if before, err = lookAt(a, from, false); err != nil {
				return err
			}
		}
		if now.InUse && !told {
			a.say("note    a process has the old webui.db open: stop it before anybody writes there")
			told = true
		}
		if c.For > 0 && time.Since(began) >= c.For {
			a.say("done    nothing was written to the old side in %s", clock(time.Since(began)))
			return nil
		}
		if err := pipeline.Sleep(ctx, c.Every); err != nil {
			return err
		}
	}
}

// name reads the old side and names what was written there.
func (c *watchCmd) name(a *app) error {
	s, err := a.open(c.pair, c.laneFlags, openOptions{})
	if err != nil {
		return err
	}
	defer s.close()
	r := &strayRun{app: a, session: s, meter: &pipeline.Meter{}, began: time.Now()}
	if err := r.read(a.ctx); err != nil {
		return err
	}
	return r.conclude("")
}
