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
	"sync"
	"syscall"
	"testing"
)

// QdrantServer is a running Qdrant.
type QdrantServer struct {
	URI      string // http://127.0.0.1:PORT
	GRPCPort int
	PID      int

	script, dir string
	env         []string
	hold        io.Closer
	cmd         *exec.Cmd
}

// Qdrant gives the Qdrant that all tests of a process share: give each test a
// QDRANT_COLLECTION_PREFIX of its own. It ends with the process.
func Qdrant(tb testing.TB) *QdrantServer {
	tb.Helper()
	sharedQdrant.once.Do(func() {
		s := &QdrantServer{script: filepath.Join(testdata(tb), "servers", "qdrant.sh")}
		//nolint:usetesting // it outlives the test that asks first
		if s.dir, sharedQdrant.err = os.MkdirTemp("", "outgrow-qdrant."); sharedQdrant.err == nil {
			sharedQdrant.err = s.run("serve")
		}
		sharedQdrant.server = s
	})
	if sharedQdrant.err != nil {
		Skip(tb, "no Qdrant: %v", sharedQdrant.err)
	}
	return sharedQdrant.server
}

var sharedQdrant struct {
	once   sync.Once
	server *QdrantServer
	err    error
}

// StartQdrant starts a Qdrant of the test's own, which ends with the test. env
// is added to its environment ("QDRANT__SERVICE__API_KEY=key").
func StartQdrant(tb testing.TB, env ...string) *QdrantServer {
	tb.Helper()
	s := &QdrantServer{script: filepath.Join(testdata(tb), "servers", "qdrant.sh"), dir: tb.TempDir(), env: env}
	if err := s.run("hold"); err != nil {
		Skip(tb, "no Qdrant: %v", err)
	}
	tb.Cleanup(s.Stop)
	return s
}

// Stop stops the server and keeps its data. A second call is harmless.
func (s *QdrantServer) Stop() {
	if s.cmd != nil {
		_ = s.hold.Close()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Kill ends the server as a crash would, with kill -9.
func (s *QdrantServer) Kill() {
	_ = syscall.Kill(s.PID, syscall.SIGKILL)
	s.Stop()
}

// Restart starts a stopped server again, with its data and on its ports.
func (s *QdrantServer) Restart(tb testing.TB) {
	tb.Helper()
	s.env = append(s.env, fmt.Sprintf("QDRANT_PORTS=%s %d", s.URI[strings.LastIndexByte(s.URI, ':')+1:], s.GRPCPort))
	if err := s.run("hold"); err != nil {
		tb.Fatalf("starting Qdrant again: %v", err)
	}
}

func (s *QdrantServer) run(how string) error {
	s.cmd = exec.Command("bash", s.script, how, s.dir)
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said strings.Builder
	s.cmd.Stderr = &said
	hold, err := s.cmd.StdinPipe()
	if err != nil {
		return err
	}
	s.hold = hold
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", s.script, err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = s.cmd.Wait()
		s.cmd = nil
		return errors.New(strings.TrimSpace(said.String()))
	}
	_, err = fmt.Sscan(line, &s.URI, &s.GRPCPort, &s.PID)
	return err
}
