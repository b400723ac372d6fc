package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"outgrow/mappings/capture"
	"outgrow/mappings/env"
	"outgrow/pipeline"
)

type captureCmd struct {
	File  string `arg:"" optional:"" default:"-" help:"Saved output of docker inspect or kubectl get -o json, or a compose file; - reads standard input."`
	Name  string `help:"Which container, workload or service, where there are several." placeholder:"NAME"`
	Out   string `help:"The env file to write; only you may read it." default:"from.env" placeholder:"FILE"`
	Force bool   `help:"Overwrite an env file that says something else."`
	JSON  bool   `help:"JSON lines on standard output."`
}

// maxCapture bounds what is read, in bytes: a cluster's objects are some
// megabytes.
const maxCapture = 256 << 20

// captured is what is told, as JSON.
type captured struct {
	capture.App
	Variables int            `json:"variables"`
	DataDir   string         `json:"data_dir"`
	Mount     string         `json:"from_mount,omitempty"`
	DataOn    *capture.Mount `json:"data_on,omitempty"` // absent: in the container's own layer
	Key       capture.Key    `json:"key"`
	Unequal   []string       `json:"docker_env_file_differs,omitempty"`
	Unfit     []string       `json:"left_out,omitempty"`
	File      string         `json:"file"`
	Next      string         `json:"next"`
}

func (c *captureCmd) Run(a *app) error {
	a.json = c.JSON
	in, err := c.input(a)
	if err != nil {
		return err
	}
	got, err := capture.Read(in)
	if err != nil {
		return err
	}
	// Whatever is said further on, no value is.
	a.redact = env.Deployment{Vars: got.Vars}.Redact
	out := captured{App: got, Variables: len(got.Vars), DataDir: got.DataDir(), Key: got.Key(), File: c.Out}
	lines, unequal, unfit := got.Lines()
	out.Unequal, out.Unfit = unequal, unfit
	if m, host, ok := got.At(out.DataDir); ok {
		out.DataOn, out.Mount = &m, host
	}
	head := fmt.Sprintf("# Written by outgrow capture: %s %s, image %s. It holds secrets.\n", got.From, got.Name, oneLine(got.Image))
	if err := keepFile(c.Out, []byte(head+strings.Join(lines, "\n")+"\n"), c.Force); err != nil {
		return err
	}
	out.Next = "outgrow plan --from " + quoteArg(c.Out) + fromMount(out) + " --to scaled.env"
	if a.json {
		emit(a.out, event{Event: "capture", Detail: out})
		return nil
	}
	a.sayCaptured(out)
	return nil
}

func fromMount(c captured) string {
	switch {
	case c.Mount != "":
		return " --from-mount " + quoteArg(c.Mount)
	case c.DataOn == nil:
		return " --from-mount ./data"
	}
	return " --from-mount DIR"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// input reads the file or standard input.
func (c *captureCmd) input(a *app) (capture.Input, error) {
	in := capture.Input{Name: c.Name, Environ: a.environ}
	f := a.in
	if c.File != "-" {
		in.Dir = filepath.Dir(c.File)
		opened, err := os.Open(c.File)
		if err != nil {
			return in, pipeline.Usage("reading the input", err, "name a file, or - for standard input")
		}
		defer opened.Close()
		f = opened
	}
	if f == nil {
		return in, pipeline.Usage("reading the input", errors.New("there is no standard input"), "name a file")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxCapture+1))
	if err == nil && len(text) > maxCapture {
		err = errors.New("it is larger than any of these can be")
	}
	if err != nil {
		return in, pipeline.Usage("reading the input", err, "name a file, or - for standard input")
	}
	in.Text = text
	return in, nil
}

// keepFile writes a file that only its owner may read. What somebody wrote there
// stays, unless it is the same or force is set.
func keepFile(path string, body []byte, force bool) error {
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writeFile(path, body)
	case err != nil:
		return fmt.Errorf("looking at %s: %w", path, err)
	case bytes.Equal(old, body):
		return os.Chmod(path, 0o600)
	case !force:
		return pipeline.Usage("writing "+path, errors.New("it exists, and says something else"), "name another file with --out, or say --force")
	}
	return writeFile(path, body)
}

func (a *app) sayCaptured(c captured) {
	a.say("outgrow capture · %s %s", c.From, a.clean(c.Name))
	image := "image   " + c.Image
	if c.Version != "" {
		image += ", version " + c.Version
	}
	a.say("%s", a.clean(image))
	a.say("wrote   %s: %s and DATA_DIR, for your eyes alone", c.File, plural(int64(c.Variables), "variable"))
	a.say("data    %s", a.clean(c.describeData()))
	for _, m := range c.Inside(c.DataDir) {
		a.say("        %s", a.clean(fmt.Sprintf("%s lies elsewhere: %s %s. --from-mount must show both in one folder", m.Path, m.Kind, cmp.Or(m.Host, m.Name))))
	}
	switch {
	case c.User != "":
		a.say("user    %s: files on the target are given to it by --chown %s", c.User, c.User)
	default:
		a.say("user    the image's own, which is root unless it was built otherwise")
	}
	if c.Restart != "" {
		a.say("restart %s brings the old app back. For the last pass: %s", c.Restart, a.clean(c.Stop))
	} else {
		a.say("restart nothing brings the old app back. For the last pass: %s", a.clean(c.Stop))
	}
	a.sayKey(c)
	for _, n := range c.Notes {
		a.say("note    %s", a.clean(n))
	}
	if len(c.Unequal) > 0 {
		a.say("warning docker --env-file reads these otherwise than Open WebUI and outgrow do: %s. Start the app with another of outgrow env's forms", strings.Join(c.Unequal, ", "))
	}
	if len(c.Unfit) > 0 {
		a.say("warning left out, as no env file can hold them: %q", c.Unfit)
	}
	if c.DataOn == nil {
		a.say("first   %s", c.FetchData("./data"))
	}
	a.say("next    %s", c.Next)
}

func (c captured) describeData() string {
	m := c.DataOn
	if m == nil {
		return c.DataDir + " is in the container's own layer, and goes with the container: copy it out first"
	}
	text := c.DataDir + " is " + m.Kind
	if m.Name != "" {
		text += " " + m.Name
	}
	if c.Mount != "" {
		text += ", " + c.Mount + " on the host"
	}
	if m.ReadOnly {
		text += ", read-only"
	}
	if m.Note != "" {
		text += " (" + m.Note + ")"
	}
	return text
}

func (a *app) sayKey(c captured) {
	k := c.Key
	if k.Variable != "" {
		a.say("key     %s, in %s", k.Variable, c.File)
		return
	}
	lost := ""
	if k.Lost {
		lost = ", outside the data: it goes with the container"
	}
	a.say("key     not among the variables: %s of the container%s", a.clean(k.File), lost)
	if k.Host != "" {
		a.say("        on the host: %s", a.clean(k.Host))
	}
	a.say("        (umask 077; %s)", a.clean(k.Fetch))
	a.say("        (umask 077; printf 'WEBUI_SECRET_KEY=%%s\\n' \"$(cat %s)\" >> %s)", capture.KeyFile, quoteArg(c.File))
}
