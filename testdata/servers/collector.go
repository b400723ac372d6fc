package servers

import "testing"

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
