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
	"sync/atomic"
	"syscall"
	"testing"
)

// S3Server is a running versitygw: an S3 server over a folder.
type S3Server struct {
	Endpoint  string // S3_ENDPOINT_URL: http://127.0.0.1:PORT
	AccessKey string // the root's
	SecretKey string
	PID       int

	script, dir string
	hold        io.Closer
	cmd         *exec.Cmd
}

// S3 gives the S3 server that all tests of a process share: give each test a
// bucket of its own, by [S3Server.NewBucket]. It ends with the process.
func S3(tb testing.TB) *S3Server {
	tb.Helper()
	sharedS3.once.Do(func() {
		s := newS3(tb)
		//nolint:usetesting // it outlives the test that asks first
		if s.dir, sharedS3.err = os.MkdirTemp("", "outgrow-s3."); sharedS3.err == nil {
			sharedS3.err = s.run("serve")
		}
		sharedS3.server = s
	})
	if sharedS3.err != nil {
		Skip(tb, "no S3 server: %v", sharedS3.err)
	}
	return sharedS3.server
}

var sharedS3 struct {
	once   sync.Once
	server *S3Server
	err    error
}

// StartS3 starts an S3 server of the test's own, which ends with the test.
func StartS3(tb testing.TB) *S3Server {
	tb.Helper()
	s := newS3(tb)
	s.dir = tb.TempDir()
	if err := s.run("hold"); err != nil {
		Skip(tb, "no S3 server: %v", err)
	}
	tb.Cleanup(s.Stop)
	return s
}

func newS3(tb testing.TB) *S3Server {
	tb.Helper()
	return &S3Server{AccessKey: "testkey", SecretKey: "testsecret123", script: filepath.Join(testdata(tb), "servers", "s3.sh")}
}

var s3Buckets atomic.Int64

// NewBucket makes an empty bucket and gives its name, another one at each call.
func (s *S3Server) NewBucket(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("owui-%d-%d", os.Getpid(), s3Buckets.Add(1))
	if err := os.Mkdir(s.Folder(name), 0o755); err != nil {
		tb.Fatalf("making a bucket: %v", err)
	}
	return name
}

// Folder is where the server keeps a bucket: an object is a file below it, its
// ETag and checksums are extended attributes.
func (s *S3Server) Folder(bucket string) string { return filepath.Join(s.dir, "data", bucket) }

// Stop stops the server and keeps its data. A second call is harmless.
func (s *S3Server) Stop() {
	if s.cmd != nil {
		_ = s.hold.Close()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Kill ends the server as a crash would, with kill -9.
func (s *S3Server) Kill() {
	_ = syscall.Kill(s.PID, syscall.SIGKILL)
	s.Stop()
}

// Restart starts a stopped server again, with its data and on its port.
func (s *S3Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.run("hold"); err != nil {
		tb.Fatalf("starting the S3 server again: %v", err)
	}
}

func (s *S3Server) run(how string) error {
	s.cmd = exec.Command("bash", s.script, how, s.dir)
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
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
