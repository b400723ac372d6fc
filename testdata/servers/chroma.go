package servers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// ChromaServer is a real Chroma server.
type ChromaServer struct {
	Host string
	Port int
	// Database is one of the test's own, in the default tenant.
	Database string

	testdata, dir string
	throwaway     bool
	mu            sync.Mutex
	pid           int
	stop          func()
}

// Chroma returns a new, empty database on the server that the tests of a process share. Where chromadb 1.5.9 is not
// installed and may not be (OUTGROW_INSTALL=1) the test is skipped.
func Chroma(tb testing.TB) *ChromaServer {
	tb.Helper()
	s, err := sharedChroma(testdata(tb))
	if err != nil {
		Skip(tb, "no Chroma server: %v", err)
	}
	return &ChromaServer{Host: s.Host, Port: s.Port, Database: s.database(tb)}
}

// StartChroma starts a server of the test's own, with a database, which it may kill and start again.
func StartChroma(tb testing.TB) *ChromaServer {
	tb.Helper()
	s := &ChromaServer{testdata: testdata(tb), dir: tb.TempDir()}
	if err := s.start(); err != nil {
		Skip(tb, "no Chroma server: %v", err)
	}
	tb.Cleanup(func() { s.stop() })
	s.Database = s.database(tb)
	return s
}

// Kill ends the server with SIGKILL.
func (s *ChromaServer) Kill(tb testing.TB) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := syscall.Kill(s.pid, syscall.SIGKILL); err != nil {
		tb.Fatal(err)
	}
	s.stop()
}

// Restart starts it again at the same address with the same data.
func (s *ChromaServer) Restart(tb testing.TB) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
}

var sharedChroma = func() func(string) (*ChromaServer, error) {
	var once sync.Once
	s := &ChromaServer{}
	var err error
	return func(testdata string) (*ChromaServer, error) {
		once.Do(func() {
			s.testdata, s.throwaway = testdata, true
			if s.dir, err = os.MkdirTemp("", "outgrow-chroma."); err == nil {
				err = s.start()
			}
		})
		return s, err
	}
}()

func (s *ChromaServer) start() error {
	script := filepath.Join(s.testdata, "servers", "chroma.sh")
	args := []string{"serve", s.dir}
	if s.Port != 0 {
		args = append(args, strconv.Itoa(s.Port))
	}
	var env []string
	if s.throwaway {
		env = append(env, "OUTGROW_THROWAWAY=1")
	}
	line, stop, err := launch(script, env, args...)
	if err != nil {
		return err
	}
	s.stop = stop
	if _, err := fmt.Sscanf(strings.Replace(line, ":", " ", 1), "%s %d %d", &s.Host, &s.Port, &s.pid); err != nil {
		return fmt.Errorf("reading %q: %w", line, err)
	}
	return nil
}

func (s *ChromaServer) database(tb testing.TB) string {
	tb.Helper()
	name := "outgrow_" + token()
	body, _ := json.Marshal(map[string]string{"name": name})
	res, err := http.Post(fmt.Sprintf("http://%s:%d/api/v2/tenants/default_tenant/databases", s.Host, s.Port), "application/json", bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		tb.Fatalf("creating a database: %s %s", res.Status, text)
	}
	return name
}
