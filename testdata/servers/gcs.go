package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// GCSServer is a running fake-gcs-server, an emulator of Google Cloud Storage.
type GCSServer struct {
	Endpoint string // http://127.0.0.1:PORT, what STORAGE_EMULATOR_HOST takes
	PID      int

	script, dir string
	hold        io.Closer
	cmd         *exec.Cmd
}

// GCS gives the emulator that all tests of a process share: give each test a
// [GCSServer.Bucket] of its own. It ends with the process.
func GCS(tb testing.TB) *GCSServer {
	tb.Helper()
	sharedGCS.once.Do(func() {
		s := &GCSServer{script: filepath.Join(testdata(tb), "servers", "gcs.sh")}
		//nolint:usetesting // it outlives the test that asks first
		if s.dir, sharedGCS.err = os.MkdirTemp("", "outgrow-gcs."); sharedGCS.err == nil {
			sharedGCS.err = s.run("serve")
		}
		sharedGCS.server = s
	})
	if sharedGCS.err != nil {
		Skip(tb, "no fake-gcs-server: %v", sharedGCS.err)
	}
	return sharedGCS.server
}

var sharedGCS struct {
	once   sync.Once
	server *GCSServer
	err    error
}

// StartGCS starts an emulator of the test's own, which ends with the test.
func StartGCS(tb testing.TB) *GCSServer {
	tb.Helper()
	s := &GCSServer{script: filepath.Join(testdata(tb), "servers", "gcs.sh"), dir: tb.TempDir()}
	if err := s.run("hold"); err != nil {
		Skip(tb, "no fake-gcs-server: %v", err)
	}
	tb.Cleanup(s.Stop)
	return s
}

// Bucket makes a new, empty bucket and returns its name.
func (s *GCSServer) Bucket(tb testing.TB) string {
	tb.Helper()
	name := "t-" + token()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, s.Endpoint+"/storage/v1/b?project=test",
		strings.NewReader(fmt.Sprintf(`{"name": %q}`, name)))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	reply, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatalf("making bucket %s: %v", name, err)
	}
	defer reply.Body.Close() //nolint:errcheck // only read
	if reply.StatusCode != http.StatusOK {
		tb.Fatalf("making bucket %s: %s", name, reply.Status)
	}
	return name
}

// Stop stops the server and keeps its objects. A second call is harmless.
func (s *GCSServer) Stop() {
	if s.cmd != nil {
		_ = s.hold.Close()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Kill ends the server as a crash would, with kill -9.
func (s *GCSServer) Kill() {
	_ = syscall.Kill(s.PID, syscall.SIGKILL)
	s.Stop()
}

// Restart starts a stopped server again, with its objects and on its port.
// Unfinished uploads are gone.
func (s *GCSServer) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.run("hold"); err != nil {
		tb.Fatalf("starting fake-gcs-server again: %v", err)
	}
}

func (s *GCSServer) run(how string) error {
	s.cmd = exec.Command("bash", s.script, how, s.dir)
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
	_, err = fmt.Sscan(line, &s.Endpoint, &s.PID)
	return err
}
