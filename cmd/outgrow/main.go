// Command outgrow moves an Open WebUI deployment off its embedded defaults and
// proves that nothing was lost.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"outgrow/cmd/outgrow/telemetry"
	"outgrow/mappings/fstype"
	"outgrow/pipeline"
)

// version is set by the linker (see the Makefile).
var version = ""

func buildVersion() string {
	if version != "" {
		return version
	}
	if bi, ok := debug.ReadBuildInfo(); ok && bi.Main.Version != "" {
		return bi.Main.Version
	}
	return "(devel)"
}

func main() {
	// Never given back: a signal that comes at the very end would hide the exit code.
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	steadyHeap(heapFloor)
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run is the whole program, so that tests can call it in their own process. It
// returns the exit code.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	return (&app{ctx: ctx, environ: environ, in: os.Stdin, out: stdout, err: stderr}).command(args)
}

// command runs the command that the arguments name.
func (a *app) command(args []string) int {
	var cli CLI
	ended, code := false, 0
	parser, err := newParser(&cli, a.out, a.err, func(c int) { ended, code = true, c })
	if err != nil {
		_, _ = fmt.Fprintln(a.err, err)
		return pipeline.ExitFailed
	}
	kctx, err := parser.Parse(args)
	if ended {
		return code
	}
	if err != nil {
		_, _ = fmt.Fprintf(a.err, "outgrow: %v\nTry: outgrow --help\n", err)
		return pipeline.ExitUsage
	}
	if a.hub, err = telemetry.Start(watched(kctx, a.environ)); err != nil {
		return a.exit(err)
	}
	if at := a.hub.URL(); at != "" {
		_, _ = fmt.Fprintf(a.err, "metrics %s\n", at)
	}
	code = a.exit(kctx.Run(a))
	for _, note := range a.hub.Close(code) {
		_, _ = fmt.Fprintf(a.err, "note    %s\n", a.clean(note))
	}
	return code
}

// watched says what others may see of the command.
func watched(kctx *kong.Context, environ []string) telemetry.Config {
	cmd := kctx.Selected()
	out := telemetry.Config{Command: cmd.Path(), Version: buildVersion(), Environ: environ}
	if c, ok := cmd.Target.Interface().(interface{ metricsAddr() string }); ok {
		out.Metrics = c.metricsAddr()
	}
	return out
}

// newParser gives the parser of the command line, which fills in cli. exit is
// called where it has answered itself, by help.
func newParser(cli *CLI, out, err io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(cli, kong.Name("outgrow"), kong.Description(description), kong.UsageOnError(), kong.Writers(out, err), kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}), kong.Help(helpPrinter))
}

// app is what every command needs of its surroundings.
type app struct {
	ctx      context.Context //nolint:containedctx // kong's Run methods take bound values, so the root context travels in one.
	environ  []string
	in       *os.File // nil: there is nobody to ask
	out, err io.Writer
	json     bool
	guided   bool                // one command leads through several: none says what to call next
	carries  bool                // what the target does not name of the source's keys is carried over by the command
	redact   func(string) string // hides secrets in error texts; nil before a deployment was read
	failure  func(error)         // prints the failure screen of a run that had begun
	hub      *telemetry.Hub      // nil where nobody watches
	// fs finds the type of a file system; nil is fstype.Of. Tests have others.
	fs fstype.Detect
}

// exit prints the error, if any, and gives the exit code.
func (a *app) exit(err error) int {
	if err == nil {
		return pipeline.ExitOK
	}
	if a.ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(a.ctx))) {
		err = &pipeline.Error{Op: "interrupted by a signal", Exit: pipeline.ExitStopped, Hint: "run the same command again: it goes on where it stopped"}
	}
	if pipeline.ExitCode(err) == pipeline.ExitFailed {
		err = surroundings(err)
	}
	var quiet *verdict
	switch {
	case errors.As(err, &quiet):
	case a.failure != nil:
		a.failure(err)
	default:
		a.printError(err)
	}
	return pipeline.ExitCode(err)
}

// surroundings marks what the system refused as the environment's where a
// backend did not.
func surroundings(err error) error {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = "run as a user that may read the source's DATA_DIR and write the target's"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "free space on that disk, then run the same command"
	case errors.Is(err, syscall.EFBIG):
		hint = "raise the limit of a file's size (ulimit -f), or name a file system that takes files so large, then run the same command"
	case errors.Is(err, syscall.EROFS):
		hint = "mount that folder for writing, or name another one"
	default:
		return err
	}
	if given := pipeline.HintOf(err); given != "" {
		hint = given
	}
	return &pipeline.Error{Op: "asking the system", Err: err, Exit: pipeline.ExitEnvironment, Hint: hint}
}

// printError prints an error and its hint, without secrets.
func (a *app) printError(err error) {
	text, hint := err.Error(), pipeline.HintOf(err)
	if a.redact != nil {
		text, hint = a.redact(text), a.redact(hint)
	}
	if a.json {
		emit(a.out, event{Event: "error", Text: text, Fix: hint, Exit: pipeline.ExitCode(err)})
	}
	word := "failed "
	if pipeline.ExitCode(err) == pipeline.ExitStopped {
		word = "stopped"
	}
	_, _ = fmt.Fprintf(a.err, "%s %s\n", word, indent(text))
	if hint != "" {
		_, _ = fmt.Fprintf(a.err, "fix     %s\n", indent(hint))
	}
}

// verdict is an exit code whose reasons were printed already.
type verdict struct{ code int }

func (v *verdict) Error() string { return fmt.Sprintf("exit code %d", v.code) }

// judged gives the error for an exit code whose reasons were printed; nil for 0.
func judged(code int) error {
	if code == pipeline.ExitOK {
		return nil
	}
	return &pipeline.Error{Op: "judging", Err: &verdict{code}, Exit: code}
}
