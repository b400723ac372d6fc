package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"outgrow/pipeline"
)

// tell runs a step whose own screens tell of its failure, and gives its exit
// code.
func (g *guide) tell(ctx context.Context, failed func(error), run func(context.Context) error) int {
	g.failure = failed
	defer func() { g.failure = nil }()
	return g.exit(run(ctx))
}

// plan reads everything once: what it refuses, it refuses days before a stop.
func (g *guide) plan(ctx context.Context) error {
	if g.took(stepPlan) > 0 {
		return nil
	}
	began := time.Now()
	s, err := g.open(g.cmd.pair, g.cmd.laneFlags, openOptions{accept: g.cmd.Accept})
	if err != nil {
		return err
	}
	defer s.close()
	p := &planning{app: g.app, session: s, meter: &pipeline.Meter{}, began: began, tally: map[pipeline.Tally]int64{}, changes: map[pipeline.Tally]int64{}, byID: map[pipeline.Tally]bool{}}
	if code := g.tell(ctx, nil, p.run); code != pipeline.ExitOK {
		return judged(code)
	}
	if len(p.waiting) > 0 {
		return &pipeline.Error{Op: "planning", Err: errors.New("records that the target cannot hold wait for your consent"), Exit: pipeline.ExitDiffers,
			Hint: "see them above; then the same command with --accept " + joinComma(p.waiting)}
	}
	g.state.Pass.Seconds = time.Since(began).Seconds()
	g.say("predicted %s for migrate", span2(p.estimate().Seconds()))
	return errors.Join(g.note(stepPlan, began, 0), g.predict(stepMigrate, p.estimate().Seconds()))
}

// predict keeps a prediction of a step that comes later.
func (g *guide) predict(step string, seconds float64) error {
	if g.state.Predicted == nil {
		g.state.Predicted = map[string]float64{}
	}
	g.state.Predicted[step] = seconds
	return g.save()
}

// migrate carries the bulk, unless that has come to its end already. more reports
// that the source may hold what the target does not: a pass tells.
func (g *guide) migrate(ctx context.Context) (more bool, err error) {
	began := time.Now()
	s, err := g.open(g.cmd.pair, g.cmd.laneFlags, openOptions{write: true, chown: g.cmd.Chown, accept: g.cmd.Accept})
	if err != nil {
		return false, err
	}
	defer s.close()
	if s.unfit() == "" {
		return true, nil
	}
	m := &migration{app: g.app, session: s, meter: &pipeline.Meter{}, began: began}
	code := g.tell(ctx, m.failed, m.run)
	if code != pipeline.ExitOK && (code != pipeline.ExitDiffers || len(m.waiting) > 0) {
		return false, judged(code)
	}
	if m.resumed {
		return true, nil // what it took tells nothing
	}
	return m.changed, g.note(stepMigrate, began, g.state.Predicted[stepMigrate])
}

// rehearse compares both sides while the source still moves: not for what it
// finds, which the passes bring, but to know how long the real one takes.
func (g *guide) rehearse(ctx context.Context) error {
	if g.took(stepRehearse) > 0 {
		return nil
	}
	began := time.Now()
	s, err := g.open(g.cmd.pair, g.cmd.laneFlags, openOptions{verify: true})
	if err != nil {
		return err
	}
	defer s.close()
	v := &verification{app: g.app, session: s, meter: &pipeline.Meter{}, began: began, parity: newParity(s, g.cmd.parityFlags)}
	v.file = bufio.NewWriter(io.Discard)
	v.mute = true
	if _, err := v.compare(ctx); err != nil {
		return err
	}
	_ = v.parity.sum()
	g.say("rehearsed verify: %s so far, which the passes bring", plural(v.count, "difference"))
	return g.note(stepRehearse, began, 2*g.took(stepPlan))
}

// pass brings the target up to the source once; the final one is made of a source
// at rest and must find all of it.
func (g *guide) pass(ctx context.Context, step string, final bool) error {
	flags, predicted := g.cmd.laneFlags, g.state.Pass.Seconds
	if stopped := true; final {
		flags.Stopped, predicted = &stopped, g.state.Window.Pass
	}
	began := time.Now()
	s, err := g.open(g.cmd.pair, flags, openOptions{write: true, verify: true, chown: g.cmd.Chown, accept: g.cmd.Accept})
	if err != nil {
		return err
	}
	defer s.close()
	m := &migration{app: g.app, session: s, meter: &pipeline.Meter{}, began: began, pass: newPass(g.cmd.AllowDeletes, g.cmd.Overwrite || g.cmd.Again)}
	code := g.tell(ctx, m.failed, m.run)
	switch {
	case code == pipeline.ExitDiffers && m.pass.sum().Conflicts > 0:
		return judged(code)
	case code == pipeline.ExitDiffers && len(m.waiting) == 0 && m.changed && final:
		return &pipeline.Error{Op: "making the final pass", Err: errors.New("the source was written to meanwhile"), Exit: pipeline.ExitDiffers,
			Hint: "stop Open WebUI everywhere, restart policies and controllers included, then run the same command"}
	case code == pipeline.ExitDiffers && len(m.waiting) == 0 && m.changed:
	case code != pipeline.ExitOK:
		return judged(code)
	}
	g.key = &s.src.key
	sum := m.pass.sum()
	g.state.Pass = passFigures{Seconds: time.Since(began).Seconds(), Read: sum.Read, Changes: sum.New + sum.Changed + sum.Deleted + sum.Refused}
	return g.note(step, began, predicted)
}

// verify proves that both sides are equal. If they are not, the old app goes on.
func (g *guide) verify(ctx context.Context) error {
	began, stopped := time.Now(), true
	flags := g.cmd.laneFlags
	flags.Stopped = &stopped
	s, err := g.open(g.cmd.pair, flags, openOptions{verify: true})
	if err != nil {
		return err
	}
	defer s.close()
	v := &verification{app: g.app, session: s, meter: &pipeline.Meter{}, began: began, show: 50, parity: newParity(s, g.cmd.parityFlags), predicted: g.state.Window.Verify}
	code := g.tell(ctx, nil, v.run)
	if code == pipeline.ExitDiffers {
		g.say("not     Do not start the new app: the sides are not equal.")
		g.say("fix     start the OLD app again, %s: it is untouched. Then see what differs, and run the same command some other time.", g.cmd.From)
		return errors.Join(g.to(phaseLive), judged(code))
	}
	if code != pipeline.ExitOK {
		return judged(code)
	}
	g.state.ReadyAt = time.Now().UTC()
	g.state.Phase = phaseVerified
	return g.note(stepVerify, began, g.state.Window.Verify)
}
