package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"outgrow/pipeline"
)

// handOver leaves a verified target to the new app.
func (g *guide) handOver(ctx context.Context) error {
	start, err := g.writeEnv(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if g.cmd.StartCmd != "" {
		if err := g.shell(ctx, stepStart, g.cmd.StartCmd); err != nil {
			return err
		}
	} else {
		g.say("start   Start Open WebUI on the target now: %s", start)
	}
	if g.cmd.Health != "" {
		if err := g.answer(ctx); err != nil {
			return err
		}
	}
	end := g.state.ReadyAt
	if g.cmd.StartCmd != "" || g.cmd.Health != "" {
		end = time.Now().UTC()
		if err := g.note(stepStart, began, 0); err != nil {
			return err
		}
	}
	g.state.Downtime = end.Sub(g.state.StopAt).Seconds()
	g.state.Done = time.Now().UTC()
	g.conclude()
	if err := g.to(phaseDone); err != nil {
		return err
	}
	now, err := g.look()
	if err != nil {
		return err
	}
	if !g.untouched(now) {
		return g.splitBrain()
	}
	g.say("next    outgrow watch %s --for 1h   # an old container that comes back is seen", g.args())
	return nil
}

func (g *guide) splitBrain() error {
	return &pipeline.Error{Op: "watching the old side", Err: errors.New("it is being written to again: a split brain"), Exit: pipeline.ExitDiffers,
		Hint: "stop the old Open WebUI for good, then: outgrow watch " + g.args() + " --once"}
}

// answer waits until the new app answers, and sees that the old side rests.
func (g *guide) answer(ctx context.Context) error {
	client := &http.Client{Timeout: 2 * time.Second}
	const limit = 10 * time.Minute
	var last error
	for began, looked := time.Now(), time.Now(); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.cmd.Health, nil)
		if err != nil {
			return pipeline.Usage("reading --health", err, "name an address such as http://127.0.0.1:8080/health")
		}
		res, err := client.Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("it answers %s", res.Status)
		}
		last = err
		if time.Since(looked) > 5*time.Second {
			now, err := g.look()
			if err != nil {
				return err
			}
			if !g.untouched(now) {
				return g.splitBrain()
			}
			looked = time.Now()
		}
		if time.Since(began) > limit {
			return &pipeline.Error{Op: "waiting for the new app", Err: last, Exit: pipeline.ExitEnvironment,
				Hint: "see the new app's log; the same command starts it again and waits. To go back, start the OLD app: the source is untouched"}
		}
		if err := pipeline.Sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// overridden names the variables of the target that the environment has given.
func (g *guide) overridden() []string {
	var out []string
	for _, v := range g.environ {
		name, _, _ := strings.Cut(v, "=")
		if name, ok := strings.CutPrefix(name, "OUTGROW_TO_"); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// check refuses what can be seen to be wrong before anything is done.
func (c *cutoverCmd) check() error {
	if c.EnvOut != "" {
		if same, err := sameFile(c.EnvOut, c.To); err != nil || same {
			return pipeline.Usage("reading --env-out", fmt.Errorf("%s is the target's own env file", c.EnvOut), "name another file")
		}
	}
	if c.Replicas < 0 {
		return pipeline.Usage("reading --replicas", errors.New("there is at least one instance"), "say how many will run on the target, or leave it out")
	}
	return c.parityFlags.check()
}

func sameFile(a, b string) (bool, error) {
	x, err := os.Stat(a)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y), nil
}
