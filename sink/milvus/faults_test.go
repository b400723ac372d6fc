package milvus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	layout "outgrow/mappings/milvus"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/milvus"
	"outgrow/testdata/servers"
)

// patient retries for as long as a server takes to start.
var patient = pipeline.Backoff{Attempts: 2000, Base: 50 * time.Millisecond, Max: 500 * time.Millisecond}

// lane copies content into a target with the engine.
func lane(ctx context.Context, s pipeline.Sink[*pipeline.Vector], state *pipetest.MemoryState, content []pipetest.Expected[*pipeline.Vector], b pipeline.Backoff) error {
	src := pipetest.NewMemory(pipeline.Limits{Records: 10}, content...)
	j := state.Open()
	defer j.Close()
	id, err := src.Identity(ctx)
	if err != nil {
		return err
	}
	if _, err := j.Begin(ctx, pipeline.Run{ID: "t", Source: id, Target: "t"}); err != nil {
		return err
	}
	return pipeline.Copy(ctx, pipeline.Job[*pipeline.Vector]{Source: src, Sink: s, Journal: j, Workers: 3, PartBytes: 20_000, Backoff: b})
}

// arrived compares the target with the content, by reading all of it and by
// counting rows.
func arrived(t *testing.T, cfg Config, content []pipetest.Expected[*pipeline.Vector]) {
	t.Helper()
	src := pipetest.NewMemory(pipeline.Limits{}, content...)
	target := openReader(t, reader.Config{Store: cfg.Store})
	sums, err := pipeline.Diff(t.Context(), pipeline.Comparison[*pipeline.Vector]{Source: src, Target: target, Equal: layout.Compare(cfg.Store),
		Report: func(d pipeline.Difference) { t.Errorf("%+v", d) }})
	if err != nil {
		t.Fatal(err)
	}
	want, rows := 0, int64(0)
	for i, s := range sums {
		if s.Equal != s.Source || s.Source != int64(len(content[i].Records)) {
			t.Errorf("%+v", s)
		}
		want += len(content[i].Records)
	}
	store := src2store(t, cfg.Store)
	own, _, err := store.Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range own {
		n, err := counted(t, store, c.Name)
		if err != nil {
			t.Fatal(err)
		}
		rows += n
	}
	if rows != int64(want) {
		t.Errorf("%d rows for %d records", rows, want)
	}
}

// The server is killed in the middle of a copy and started again.
func TestServerRestarts(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %v", shared), func(t *testing.T) {
			t.Parallel()
			server := servers.StartMilvus(t, servers.MilvusReal)
			cfg := Config{Store: at(server.URI, "default", shared)}
			content := corpus(1200, 8)
			s := open(t, cfg)
			counting := &countingSink{Sink: s, some: 15, reached: make(chan struct{}), on: make(chan struct{})}
			done := make(chan error, 1)
			go func() { done <- lane(t.Context(), counting, &pipetest.MemoryState{}, content, patient) }()
			select {
			case <-counting.reached:
			case err := <-done:
				t.Fatalf("the copy ended too soon: %v", err)
			}
			server.Stop()
			close(counting.on)
			time.Sleep(300 * time.Millisecond) // some calls fail
			server.Start()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			arrived(t, cfg, content)

			// And for good: exit 3, nothing is lost, the same command goes on.
			server.Stop()
			_, err := s.Write(t.Context(), pipeline.Batch[*pipeline.Vector]{Part: pipeline.Part{Unit: content[0].Unit}, Records: content[0].Records[:1]})
			if pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" || !pipeline.IsRetryable(err) {
				t.Errorf("a server that is gone: %v", err)
			}
			if _, err := Open(t.Context(), cfg); pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" {
				t.Errorf("opening a server that is gone: %v", err)
			}
			server.Start()
			arrived(t, cfg, content)
		})
	}
}

// countingSink tells when some batches are durable, and writes no more then
// until it may go on.
type countingSink struct {
	*Sink
	written, some int64
	mu            sync.Mutex
	reached, on   chan struct{}
}

func (c *countingSink) Write(ctx context.Context, b pipeline.Batch[*pipeline.Vector]) (pipeline.Outcome, error) {
	c.mu.Lock()
	wait := c.written >= c.some
	c.mu.Unlock()
	if wait {
		<-c.on
	}
	out, err := c.Sink.Write(ctx, b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		if c.written++; c.written == c.some {
			close(c.reached)
		}
	}
	return out, err
}

// cutter passes bytes on and resets its connections when told.
type cutter struct {
	net.Listener
	to    string
	mu    sync.Mutex
	conns map[*net.TCPConn]bool
}

func cut(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, to: to, conns: map[*net.TCPConn]bool{}}
	t.Cleanup(func() { _ = l.Close(); c.reset() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to) //nolint:noctx // it is closed with the listener
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				c.mu.Lock()
				c.conns[pair[0].(*net.TCPConn)] = true
				c.mu.Unlock()
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				}()
			}
		}
	}()
	return c
}

func (c *cutter) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.SetLinger(0) // closing sends a reset
		_ = conn.Close()
	}
	clear(c.conns)
}

// Connections are reset all the while.
func TestConnectionsAreReset(t *testing.T) {
	for _, k := range kinds[1:4] {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			direct := store(t, k.server, k.shared)
			c := cut(t, direct.Address)
			through := direct
			through.Address = c.Addr().String()
			content := corpus(600, 8)
			s := &resettingSink{Sink: open(t, Config{Store: through}), reset: c.reset}
			if err := lane(t.Context(), s, &pipetest.MemoryState{}, content, patient); err != nil {
				t.Fatal(err)
			}
			if n := s.batches.Load(); n < 80 {
				t.Errorf("%d batches: nothing was tested", n)
			}
			arrived(t, Config{Store: direct}, content)
		})
	}
}

// resettingSink has the connections reset while every fourth batch is on its way:
// soon after it has begun, or whenever it comes to an end. So what was begun
// again is let through, however slow the machine is.
type resettingSink struct {
	*Sink
	batches atomic.Int64
	reset   func()
}

func (s *resettingSink) Write(ctx context.Context, b pipeline.Batch[*pipeline.Vector]) (pipeline.Outcome, error) {
	if n := s.batches.Add(1); n%4 == 0 {
		cut := time.AfterFunc(time.Duration(n%8)*time.Millisecond, s.reset)
		defer func() {
			if cut.Stop() {
				s.reset()
			}
		}()
	}
	return s.Sink.Write(ctx, b)
}

// limiter is a proxy on the level of requests that refuses some of them.
type limiter struct {
	to      *grpc.ClientConn
	refuse  func(method string) (metadata.MD, error)
	refused atomic.Int64
}

func (l *limiter) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	// An empty message keeps what it does not know, so it carries any other.
	req, res := &emptypb.Empty{}, &emptypb.Empty{}
	if err := stream.RecvMsg(req); err != nil {
		return err
	}
	if md, err := l.refuse(method); err != nil {
		l.refused.Add(1)
		stream.SetTrailer(md)
		return err
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	ctx := metadata.NewOutgoingContext(stream.Context(), metadata.MD{"dbname": md.Get("dbname")})
	if err := l.to.Invoke(ctx, method, req, res); err != nil {
		return err
	}
	return stream.SendMsg(res)
}

func limited(t *testing.T, to string, refuse func(method string) (metadata.MD, error)) (string, *limiter) {
	t.Helper()
	conn, err := grpc.NewClient(to, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	l := &limiter{to: conn, refuse: refuse}
	server := grpc.NewServer(grpc.UnknownServiceHandler(l.handle))
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(at) }()
	t.Cleanup(func() { server.Stop(); _ = conn.Close() })
	return at.Addr().String(), l
}

// Two of three writes are throttled, each with the time to come back after.
func TestThrottled(t *testing.T) {
	direct := store(t, servers.MilvusLite, false)
	var n atomic.Int64
	address, l := limited(t, direct.Address, func(method string) (metadata.MD, error) {
		if strings.HasSuffix(method, "/Upsert") && n.Add(1)%3 != 0 {
			return metadata.Pairs("retry-after", "7"), status.Error(codes.ResourceExhausted, "429")
		}
		return nil, nil
	})
	through := direct
	through.Address = address
	content := corpus(120, 8)
	var mu sync.Mutex
	var waits []time.Duration
	b := pipeline.Backoff{Attempts: 50, Wait: func(ctx context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		waits = append(waits, d)
		return ctx.Err()
	}}
	if err := lane(t.Context(), open(t, Config{Store: through}), &pipetest.MemoryState{}, content, b); err != nil {
		t.Fatal(err)
	}
	if l.refused.Load() < 10 || len(waits) < 10 {
		t.Errorf("%d refused, %d waits", l.refused.Load(), len(waits))
	}
	for _, d := range waits {
		if d < 7*time.Second {
			t.Errorf("waited %v, the server asked for 7 s", d)
		}
	}
	arrived(t, Config{Store: direct}, content)
}

// A process that is killed after a collection was made, and before its index was,
// leaves one that the server does not load. The next one goes on; a reader says
// what to do.
func TestStoppedBeforeTheIndex(t *testing.T) {
	for _, k := range kinds[:2] {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			cfg := store(t, k.server, k.shared)
			content := corpus(30, 8)
			raw := src2store(t, cfg)
			name := layout.Physical(cfg, content[0].Unit.Name)
			schema, err := proto.Marshal(raw.Schema(name, 8))
			if err != nil {
				t.Fatal(err)
			}
			made, err := raw.Service.CreateCollection(t.Context(), &milvuspb.CreateCollectionRequest{CollectionName: name, Schema: schema})
			if err != nil || made.GetCode() != 0 {
				t.Fatal(made, err)
			}
			if _, err := openReader(t, reader.Config{Store: cfg}).Units(t.Context()); pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" {
				t.Errorf("reading it: %v", err)
			}
			s := open(t, Config{Store: cfg})
			got, _ := found(t, s, content[0].Unit)
			expect(t, "a collection without its index", got)
			fill(t, s, content)
			arrived(t, Config{Store: cfg}, content)
		})
	}
}

// What is no Milvus, or one without the database, ends with a clear error.
func TestWrongServers(t *testing.T) {
	direct := store(t, servers.MilvusLite, false)
	gone := direct
	gone.Database = "no_such_database"
	if _, err := Open(t.Context(), Config{Store: gone}); pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(err.Error(), "no_such_database") {
		t.Errorf("no database: %v", err)
	}
	address, _ := limited(t, direct.Address, func(string) (metadata.MD, error) {
		return nil, status.Error(codes.Unauthenticated, "auth check failure")
	})
	denied := direct
	denied.Address, denied.Token = address, "root:s3cretpw"
	_, err := Open(t.Context(), Config{Store: denied})
	if pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), "MILVUS_TOKEN") || strings.Contains(err.Error(), "s3cretpw") {
		t.Errorf("no access: %v", err)
	}
	denied.TLS = true
	if _, err := Open(t.Context(), Config{Store: denied}); pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("no TLS there: %v", err)
	}
	denied.ServerPEM = "/no/such/file"
	if _, err := Open(t.Context(), Config{Store: denied}); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("no certificate: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Config{Store: direct}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
