package servers

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// GCSServer is a running fake-gcs-server, an emulator of Google Cloud Storage.
type GCSServer struct {
	process
	Endpoint string // http://127.0.0.1:PORT, what STORAGE_EMULATOR_HOST takes
}

// GCS gives the emulator that all tests of a process share: give each test a
// [GCSServer.Bucket] of its own. It ends with the process.
func GCS(tb testing.TB) *GCSServer {
	tb.Helper()
	sharedGCS.once.Do(func() {
		s := &GCSServer{process: newProcess(tb, "gcs.sh")}
		sharedGCS.err = s.share("gcs", &s.Endpoint)
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
	s := &GCSServer{process: newProcess(tb, "gcs.sh")}
	s.dir = tb.TempDir()
	if err := s.run("hold", &s.Endpoint); err != nil {
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
	s.do(tb, "making bucket "+name, req)
	return name
}

// Put stores an object, as text/plain and with this Content-Encoding, "" for
// none.
func (s *GCSServer) Put(tb testing.TB, bucket, key string, body []byte, encoding string) {
	tb.Helper()
	q := url.Values{"uploadType": {"media"}, "name": {key}}
	if encoding != "" {
		q.Set("contentEncoding", encoding)
	}
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, s.Endpoint+"/upload/storage/v1/b/"+bucket+"/o?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	s.do(tb, "storing "+key, req)
}

// Remove removes an object, or with the key "" the bucket.
func (s *GCSServer) Remove(tb testing.TB, bucket, key string) {
	tb.Helper()
	at := s.Endpoint + "/storage/v1/b/" + bucket
	if key != "" {
		at += "/o/" + url.PathEscape(key)
	}
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodDelete, at, nil)
	if err != nil {
		tb.Fatal(err)
	}
	s.do(tb, "removing "+bucket+"/"+key, req)
}

// do sends a request that has to succeed.
func (s *GCSServer) do(tb testing.TB, op string, req *http.Request) {
	tb.Helper()
	reply, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatalf("%s: %v", op, err)
	}
	defer reply.Body.Close() //nolint:errcheck // only read
	if _, err := io.Copy(io.Discard, reply.Body); err != nil || reply.StatusCode/100 != 2 {
		tb.Fatalf("%s: %s, %v", op, reply.Status, err)
	}
}

// Restart starts a stopped server again, with its objects and on its port.
// Unfinished uploads are gone.
func (s *GCSServer) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.run("hold", &s.Endpoint); err != nil {
		tb.Fatalf("starting fake-gcs-server again: %v", err)
	}
}
