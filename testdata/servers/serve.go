package servers

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Settings describe a server that a test wants for itself.
type Settings struct {
	Version string // "16" (the default) or "18" with pgvector, "15" from Debian
	Fsync   bool   // keep what it acknowledged through a crash of the server; off, as tests kill clients, not servers
	Options string // more options of the postgres program, for example "-c max_connections=20"
}

// Start starts a server of the test's own and returns its superuser's DSN. It ends with the test. Give the DSN to
// [Database]. Where the server cannot be had the test is skipped.
func Start(tb testing.TB, settings Settings) string {
	tb.Helper()
	dsn, stop, err := serve(testdata(tb), settings)
	if err != nil {
		Skip(tb, "no PostgreSQL %s: %v", settings.Version, err)
	}
	tb.Cleanup(stop)
	return dsn
}

// serve runs postgres.sh serve. The server lives until stop is called or this process ends in any way: the script
// waits on a pipe that only this process holds open.
func serve(testdata string, settings Settings) (dsn string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "outgrow-pg.")
	if err != nil {
		return "", nil, err
	}
	script := filepath.Join(testdata, "servers", "postgres.sh")
	cmd := exec.Command("bash", script, "serve", dir)
	cmd.Env = append(os.Environ(), "OUTGROW_PG="+settings.Version, "OUTGROW_PG_OPTIONS="+settings.Options)
	if settings.Fsync {
		cmd.Env = append(cmd.Env, "OUTGROW_PG_FSYNC=1")
	}
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
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		if werr := cmd.Wait(); werr == nil {
			return "", nil, errors.New("the server's script ended without naming a server")
		}
		return "", nil, errors.New(strings.TrimSpace(said.String()))
	}
	stop = func() {
		_ = hold.Close() // the script stops the server when its input ends
		_ = cmd.Wait()
	}
	return strings.TrimSpace(line), stop, nil
}
