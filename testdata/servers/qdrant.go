package servers

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// QdrantServer is a running Qdrant.
type QdrantServer struct {
	process
	URI      string // http://127.0.0.1:PORT
	GRPCPort int
}

// Qdrant gives the Qdrant that all tests of a process share: give each test a
// QDRANT_COLLECTION_PREFIX of its own. It ends with the process.
func Qdrant(tb testing.TB) *QdrantServer {
	tb.Helper()
	sharedQdrant.once.Do(func() {
		s := &QdrantServer{process: newProcess(tb, "qdrant.sh")}
		sharedQdrant.err = s.share("qdrant", &s.URI, &s.GRPCPort)
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
	s := &QdrantServer{process: newProcess(tb, "qdrant.sh", env...)}
	s.dir = tb.TempDir()
	if err := s.run("hold", &s.URI, &s.GRPCPort); err != nil {
		Skip(tb, "no Qdrant: %v", err)
	}
	tb.Cleanup(s.Stop)
	return s
}

// Restart starts a stopped server again, with its data and on its ports.
func (s *QdrantServer) Restart(tb testing.TB) {
	tb.Helper()
	s.env = append(s.env, fmt.Sprintf("QDRANT_PORTS=%s %d", s.URI[strings.LastIndexByte(s.URI, ':')+1:], s.GRPCPort))
	if err := s.run("hold", &s.URI, &s.GRPCPort); err != nil {
		tb.Fatalf("starting Qdrant again: %v", err)
	}
}
