package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// launch runs a script of this folder that starts a server, and gives the line in which it names the server. The server
// lives until stop is called or this process ends in any way: the script waits on a pipe that only this process holds
// open. env is added to the script's environment.
func launch(script string, env []string, args ...string) (line string, stop func(), err error) {
	cmd := exec.Command("bash", append([]string{script}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	// A group of its own: an interrupt at the terminal ends the test, and thereby the server, in that order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said strings.Builder
	cmd.Stderr = &said
	hold, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("starting %s: %w", script, err)
	}
	line, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		if werr := cmd.Wait(); werr == nil {
			return "", nil, errors.New("the server's script ended without naming a server")
		}
		return "", nil, errors.New(strings.TrimSpace(said.String()))
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return strings.TrimSpace(line), func() {
		_ = hold.Close() // the script stops the server when its input ends
		_ = cmd.Wait()
	}, nil
}

// process is a server that a script of this folder runs in a folder.
type process struct {
	// PID is the server's, not its script's.
	PID int

	script, dir string
	env         []string
	stop        func()
}

func newProcess(tb testing.TB, script string, env ...string) process {
	tb.Helper()
	return process{script: filepath.Join(testdata(tb), "servers", script), env: env}
}

// share starts the server in a new folder that goes with this process.
func (p *process) share(name string, into ...any) (err error) {
	if p.dir, err = os.MkdirTemp("", "outgrow-"+name+"."); err != nil {
		return err
	}
	return p.run("serve", into...)
}

// run starts the server. What its script prints, but for the process id at the end, goes into into.
func (p *process) run(how string, into ...any) error {
	line, stop, err := launch(p.script, p.env, how, p.dir)
	if err != nil {
		return err
	}
	p.stop = stop
	if _, err := fmt.Sscan(line, append(into, &p.PID)...); err != nil {
		return fmt.Errorf("reading %q: %w", line, err)
	}
	return nil
}

// Stop stops the server and keeps its data. A second call is harmless.
func (p *process) Stop() {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// Kill ends the server as a crash would, with kill -9. What it has not written yet is lost: Azurite saves its index of
// blobs every few seconds only.
func (p *process) Kill() {
	_ = syscall.Kill(p.PID, syscall.SIGKILL)
	p.Stop()
}
