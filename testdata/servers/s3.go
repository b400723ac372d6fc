package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// S3Server is a running versitygw: an S3 server over a folder.
type S3Server struct {
	process
	Endpoint  string // S3_ENDPOINT_URL: http://127.0.0.1:PORT
	AccessKey string // the root's
	SecretKey string
}

// S3 gives the S3 server that all tests of a process share: give each test a
// bucket of its own, by [S3Server.NewBucket]. It ends with the process.
func S3(tb testing.TB) *S3Server {
	tb.Helper()
	sharedS3.once.Do(func() {
		s := newS3(tb)
		sharedS3.err = s.share("s3", &s.Endpoint)
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
	if err := s.run("hold", &s.Endpoint); err != nil {
		Skip(tb, "no S3 server: %v", err)
	}
	tb.Cleanup(s.Stop)
	return s
}

func newS3(tb testing.TB) *S3Server {
	tb.Helper()
	s := &S3Server{AccessKey: "testkey", SecretKey: "testsecret123"}
	s.process = newProcess(tb, "s3.sh", "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	return s
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

// Restart starts a stopped server again, with its data and on its port.
func (s *S3Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.run("hold", &s.Endpoint); err != nil {
		tb.Fatalf("starting the S3 server again: %v", err)
	}
}
