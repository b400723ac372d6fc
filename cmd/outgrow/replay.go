package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"outgrow/pipeline"
)

type replayCmd struct {
	target
	File string `arg:"" optional:"" help:"Lines as status --quarantine prints them, repaired ('-' for standard input). Without it the quarantine is tried as it is."`
}

func (c *replayCmd) Run(a *app) error {
	s, err := a.openTarget(c.target)
	if err != nil {
		return err
	}
	defer s.close()
	if err := notAccepted(s.state); err != nil {
		return err
	}
	lines, err := s.replayLines(a, c.File)
	if err != nil {
		return err
	}
	put, again := 0, 0
	for _, l := range s.lanes {
		var own []pipeline.Refusal
		for _, r := range lines {
			if pipeline.UnitOf(r.Unit).Lane == l.Kind() {
				own = append(own, r)
			}
		}
		if len(own) == 0 {
			continue
		}
		if _, err := l.Resume(a.ctx); err != nil {
			return err
		}
		out, err := l.Replay(a.ctx, own)
		if err != nil {
			return err
		}
		put, again = put+out.Written, again+len(out.Refused)
		for _, r := range out.Refused {
			if a.json {
				emit(a.out, event{Event: "refused", Detail: r})
			}
			a.say("refused %s %s %s: %s", r.Unit, printable(r.Key), r.Reason, indent(a.clean(r.Detail)))
		}
	}
	code := pipeline.ExitOK
	if again > 0 {
		code = pipeline.ExitDiffers
	}
	if a.json {
		emit(a.out, event{Event: "replay", Exit: code, Detail: map[string]int{"put": put, "refused": again}})
	}
	a.say("replay: %s put in, %s still in the quarantine", plural(int64(put), "record"), number(int64(again)))
	return judged(code)
}

// replayLines reads the operator's lines, or the quarantine as it is.
func (s *session) replayLines(a *app, name string) ([]pipeline.Refusal, error) {
	var lines []pipeline.Refusal
	if name == "" {
		for _, l := range s.lanes {
			if l.Journal() == nil {
				continue
			}
			for r, err := range l.Journal().Refusals(a.ctx, "") {
				if err != nil {
					return nil, err
				}
				lines = append(lines, r)
			}
		}
		return lines, nil
	}
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, pipeline.Usage("reading the repaired lines", err, "name a file made by: outgrow status "+s.target()+" --quarantine")
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	r := bufio.NewReaderSize(in, 1<<20)
	for n := 1; ; n++ {
		text, err := r.ReadString('\n')
		if strings.TrimSpace(text) != "" {
			var line pipeline.Refusal
			if jerr := json.Unmarshal([]byte(text), &line); jerr != nil {
				return nil, pipeline.Usage(fmt.Sprintf("reading line %d of %s", n, name), jerr, "each line is one JSON object as status --quarantine prints it")
			}
			lines = append(lines, line)
		}
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
}
