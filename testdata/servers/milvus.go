package servers

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// Kinds of Milvus; milvus.sh tells what they are.
const (
	MilvusReal = "real" // Milvus 2.3.5
	MilvusLite = "lite" // Milvus Lite 3.2.2, which counts as a server before 2.5
	MilvusBM25 = "bm25" // the same, saying that it is 2.6.0
)

// Milvus returns the address (http://127.0.0.1:PORT) of a server of that kind and a new, empty database on it, which is
// dropped when the test ends. All tests of a process share one server of each kind. Where it cannot be had the test is
// skipped.
func Milvus(tb testing.TB, kind string) (uri, database string) {
	tb.Helper()
	s := milvuses[kind]
	if s == nil {
		tb.Fatalf("no Milvus is of kind %q", kind)
	}
	s.once.Do(func() {
		var dir string
		//nolint:usetesting // it outlives the test that asks first
		if dir, s.err = os.MkdirTemp("", "outgrow-milvus."); s.err == nil {
			s.uri, s.hold, s.err = milvusScript(testdata(tb), "serve", dir, kind)
		}
	})
	if s.err != nil {
		Skip(tb, "no Milvus of kind %s: %v", kind, s.err)
	}
	database = "t_" + token()
	milvusDatabase(tb, s.uri, database)
	return s.uri, database
}

var milvuses = map[string]*sharedMilvus{MilvusReal: {}, MilvusLite: {}, MilvusBM25: {}}

type sharedMilvus struct {
	once sync.Once
	uri  string
	err  error
	hold func() // kept for as long as the process runs: it owns the pipe that keeps the server alive
}

// MilvusServer is a server of a test's own, to be stopped and started again.
type MilvusServer struct {
	tb        testing.TB
	kind, dir string
	stop      func()
	// URI is the address, the same after a restart.
	URI string
}

// StartMilvus starts a server of the test's own.
func StartMilvus(tb testing.TB, kind string) *MilvusServer {
	tb.Helper()
	s := &MilvusServer{tb: tb, kind: kind, dir: tb.TempDir()}
	if err := s.start(); err != nil {
		Skip(tb, "no Milvus of kind %s: %v", kind, err)
	}
	tb.Cleanup(s.Stop)
	return s
}

func (s *MilvusServer) start() (err error) {
	s.URI, s.stop, err = milvusScript(testdata(s.tb), "hold", s.dir, s.kind)
	return err
}

// Stop ends the server, the real one by KILL; its data stay. A second call is harmless.
func (s *MilvusServer) Stop() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// Start starts the server again, with its data and its address.
func (s *MilvusServer) Start() {
	s.tb.Helper()
	if err := s.start(); err != nil {
		s.tb.Fatalf("starting Milvus again: %v", err)
	}
}

// milvusScript runs milvus.sh; see launch.
func milvusScript(testdata, command, dir, kind string) (uri string, stop func(), err error) {
	return launch(filepath.Join(testdata, "servers", "milvus.sh"), nil, command, dir, kind)
}

// milvusDatabase makes a database for a test and drops it afterwards.
func milvusDatabase(tb testing.TB, uri, name string) {
	tb.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(uri, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	service := milvuspb.NewMilvusServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	res, err := service.CreateDatabase(ctx, &milvuspb.CreateDatabaseRequest{DbName: name})
	if err != nil || res.GetCode() != 0 {
		tb.Fatalf("making a database in Milvus: %v, %s", err, res.GetReason())
	}
	tb.Cleanup(func() {
		defer conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		inside := metadata.AppendToOutgoingContext(ctx, "dbname", name)
		list, err := service.ShowCollections(inside, &milvuspb.ShowCollectionsRequest{})
		if err != nil {
			tb.Logf("emptying a database of Milvus: %v", err)
			return
		}
		for _, c := range list.GetCollectionNames() {
			_, _ = service.DropCollection(inside, &milvuspb.DropCollectionRequest{CollectionName: c})
		}
		if _, err := service.DropDatabase(ctx, &milvuspb.DropDatabaseRequest{DbName: name}); err != nil {
			tb.Logf("dropping a database of Milvus: %v", err)
		}
	})
}
