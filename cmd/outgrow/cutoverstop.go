package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"outgrow/pipeline"
)

// recent is how long ago something may have been begun and still be under way;
// what is older was left behind by a crash.
const recent = 15 * time.Minute

// stop waits for what is under way, asks, and has the app stopped.
func (g *guide) stop(ctx context.Context) error {
	if err := g.drain(ctx); err != nil {
		return err
	}
	if g.asks() && !g.cmd.Yes {
		question := "stop    Stop every Open WebUI on the source now, then press Enter (Ctrl-C to go on some other time): "
		if g.cmd.StopCmd != "" {
			question = "stop    Press Enter to stop Open WebUI now by the given command (Ctrl-C to go on some other time): "
		}
		if err := g.ask(ctx, question); err != nil {
			return err
		}
	} else if g.cmd.StopCmd == "" {
		g.say("stop    Stop every Open WebUI on the source now: the run goes on once nobody writes any more.")
	}
	g.state.StopAt = time.Now().UTC()
	if err := g.to(phaseStopping); err != nil {
		return err
	}
	if g.cmd.StopCmd == "" {
		return nil
	}
	began := time.Now()
	if err := g.shell(ctx, stepStop, g.cmd.StopCmd); err != nil {
		return err
	}
	return g.note(stepStop, began, 0)
}

// drain waits for files being processed and answers being written.
func (g *guide) drain(ctx context.Context) error {
	until := time.Now().Add(g.cmd.Drain)
	for last := ""; ; {
		left, err := g.underWay(ctx)
		if err != nil || left == "" {
			return err
		}
		if time.Now().After(until) {
			g.say("note    still under way: %s. A stop cuts that off; people have to do it again.", left)
			return nil
		}
		if left != last {
			g.say("wait    for what is under way: %s", left)
			last = left
		}
		if err := pipeline.Sleep(ctx, 2*time.Second); err != nil {
			return err
		}
	}
}

// underWay says what Open WebUI is working on, "" when nothing or not known.
func (g *guide) underWay(ctx context.Context) (string, error) {
	flags := g.cmd.laneFlags
	flags.Only = []string{string(pipeline.Rows)}
	if !g.cmd.pick(pipeline.Rows) {
		return "", nil
	}
	s, err := g.open(g.cmd.pair, flags, openOptions{})
	if err != nil {
		return "", err
	}
	defer s.close()
	if s.db == nil || s.db.whole == nil {
		return "", nil
	}
	files, messages, err := s.db.whole.Waiting(ctx, time.Now().Add(-recent))
	if err != nil {
		return "", err
	}
	var parts []string
	for status, n := range files {
		parts = append(parts, plural(n, "file")+" "+status)
	}
	slices.Sort(parts)
	if messages > 0 {
		parts = append(parts, plural(messages, "chat message")+" not done")
	}
	return strings.Join(parts, ", "), nil
}

// rest waits until nobody has written for a while, and keeps how the source
// looks then.
func (g *guide) rest(ctx context.Context) error {
	limit := g.cmd.Wait
	if limit == 0 {
		limit = 30 * time.Second
		if g.cmd.StopCmd == "" && g.cmd.Yes {
			limit = 10 * time.Minute
		}
	}
	began, first := time.Now(), time.Now()
	before, err := g.look()
	if err != nil {
		return err
	}
	for {
		if err := pipeline.Sleep(ctx, g.cmd.Quiet); err != nil {
			return err
		}
		now, err := g.look()
		if err != nil {
			return err
		}
		busy := now.busy(before)
		if len(busy) == 0 {
			if !now.same(g.state.Source) && g.state.Phase != phaseStopping {
				g.state.StopAt = first.UTC() // another stop than that of an earlier run
			}
			g.state.Source, g.state.Phase = now, phaseStopped
			return g.note(stepQuiet, first, g.cmd.Quiet.Seconds())
		}
		if time.Since(began) > limit {
			return &pipeline.Error{Op: "waiting until nobody writes to the source any more", Err: errors.New(strings.Join(busy, "; ")), Exit: pipeline.ExitEnvironment,
				Hint: "stop Open WebUI everywhere, restart policies and controllers included, then run the same command: it goes on from here"}
		}
		before, first = now, time.Now()
	}
}

// asks reports whether there is a terminal to ask on.
func (a *app) asks() bool { return a.in != nil && term.IsTerminal(int(a.in.Fd())) }

// ask prints a question and waits for a line: empty, or a yes. Any other is a no.
func (a *app) ask(ctx context.Context, question string) error {
	_, _ = fmt.Fprint(a.err, question)
	answer := make(chan error, 1)
	var line string
	go func() {
		var err error
		line, err = bufio.NewReader(a.in).ReadString('\n')
		answer <- err
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case err := <-answer:
		if err != nil {
			return pipeline.Usage("asking", errors.New("the input ended without an answer"), "run the same command again: it goes on from here; --yes asks nothing")
		}
		switch line = strings.TrimSpace(line); strings.ToLower(line) {
		case "", "y", "yes":
			return nil
		}
		return pipeline.Usage("asking", fmt.Errorf("the answer is %.20q, so nothing more is done", line), "run the same command again when you are ready: it goes on from here")
	}
}

// shell runs a command of the operator's; what it prints goes to a file in the
// state folder, so that what it leaves running holds nothing of ours.
func (g *guide) shell(ctx context.Context, step, command string) error {
	path := filepath.Join(g.dir, "cutover-"+step+".log")
	f, err := createPrivate(path)
	if err != nil {
		return pipeline.Environment("writing what the command prints", err, "name a writable folder with --state")
	}
	defer func() { _ = f.Close() }()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Env = slices.DeleteFunc(slices.Clone(g.environ), func(v string) bool {
		return strings.HasPrefix(v, "OUTGROW_FROM_") || strings.HasPrefix(v, "OUTGROW_TO_")
	})
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		said, _ := os.ReadFile(path)
		return &pipeline.Error{Op: "running --" + step + "-cmd", Err: fmt.Errorf("%w: %s", err, tail(string(said), 3)), Exit: pipeline.ExitEnvironment,
			Hint: "its output is in " + path + "; put it right, then run the same command: it goes on from here"}
	}
	return nil
}
