package servers

import (
	"os"
	"path/filepath"
	"testing"
)

// CollectorServer is a running OpenTelemetry collector. It takes traces and
// metrics, without TLS.
type CollectorServer struct {
	process
	GRPC, HTTP int // ports on 127.0.0.1
}

// StartCollector starts a collector, which ends with the test.
func StartCollector(tb testing.TB) *CollectorServer {
	tb.Helper()
	s := &CollectorServer{process: newProcess(tb, "collector.sh")}
	s.begin(tb, &s.GRPC, &s.HTTP)
	return s
}

// Log is what the collector has taken so far, in words (its debug exporter's),
// between lines of its own. What an exporter was told to be taken is in it.
func (s *CollectorServer) Log(tb testing.TB) string {
	tb.Helper()
	body, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		tb.Fatal(err)
	}
	return string(body)
}
