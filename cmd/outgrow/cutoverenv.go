package main

import (
	"bytes"
	"context"
	"os"
	"strings"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// writeEnv writes the variables that the new app is to be started with, and says
// which file that is: the target's own, and the source's keys where the target
// names none.
func (g *guide) writeEnv(ctx context.Context) (string, error) {
	with := "with the variables of " + g.cmd.To
	if g.cmd.EnvOut == "" {
		return with + ", as docker run --env-file or env_file: of compose take them", nil
	}
	body, err := g.targetEnv()
	if err != nil {
		return "", err
	}
	keys, plain, err := g.carried(ctx)
	if err != nil {
		return "", err
	}
	if len(keys) > 0 {
		if len(body) > 0 && !bytes.HasSuffix(body, []byte("\n")) {
			body = append(body, '\n')
		}
		body = append(body, strings.Join(keys, "\n")+"\n"...)
	}
	if err := writeFile(g.cmd.EnvOut, body); err != nil { // made with mode 0600
		return "", pipeline.Environment("writing --env-out", err, "name a file in a folder that exists and may be written to")
	}
	if missing := g.overridden(); len(missing) > 0 {
		g.say("note    not in %s, as they came from the environment (OUTGROW_TO_…): %s", g.cmd.EnvOut, strings.Join(missing, ", "))
	}
	if len(keys) > 0 {
		g.say("key     the source's WEBUI_SECRET_KEY stands in %s, byte for byte: keep that file as secret as a password", g.cmd.EnvOut)
		if !plain {
			g.say("        It holds a line break or a quote: docker run --env-file reads it wrong, python-dotenv reads it right.")
		}
	}
	return "with the variables of " + g.cmd.EnvOut, nil
}

// targetEnv is what the target is described by, as an env file.
func (g *guide) targetEnv() ([]byte, error) {
	if info, err := os.Stat(g.cmd.To); err == nil && info.IsDir() {
		to, err := env.Load("to", g.cmd.To, g.cmd.ToMount, nil)
		if err != nil {
			return nil, err
		}
		line, _, err := env.Assign("DATA_DIR", to.DataDir)
		return []byte(line + "\n"), err
	}
	body, err := os.ReadFile(g.cmd.To)
	if err != nil {
		return nil, pipeline.Environment("reading the target's env file", err, "make it readable")
	}
	return body, nil
}

// carried are the lines of the source's keys that the target does not name.
func (g *guide) carried(ctx context.Context) (lines []string, plain bool, err error) {
	if !g.cmd.pick(pipeline.Rows) {
		return nil, true, nil
	}
	if g.key == nil { // an earlier run has made the last pass
		flags := g.cmd.laneFlags
		flags.Only = []string{string(pipeline.Rows)}
		s, err := g.open(g.cmd.pair, flags, openOptions{})
		if err != nil {
			return nil, false, err
		}
		g.key = &s.src.key
		s.close()
	}
	return g.key.keyLines(g.from)
}
