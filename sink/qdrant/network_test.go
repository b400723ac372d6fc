package qdrant

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"iter"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/qdrant/go-client/qdrant"

	"outgrow/mappings/env"
	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/qdrant"
	"outgrow/testdata/servers"
)

// tripped is a source that does something once, in the middle.
type tripped struct {
	*pipetest.Memory[*pipeline.Vector]
	left atomic.Int64
	trip func()
}

func (s *tripped) Read(ctx context.Context, p pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Vector], error] {
	return func(yield func(pipeline.Batch[*pipeline.Vector], error) bool) {
		for b, err := range s.Memory.Read(ctx, p, after) {
			if s.left.Add(-1) == 0 {
				s.trip()
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

func copyTo(t *testing.T, cfg env.QdrantConfig, src pipeline.Source[*pipeline.Vector], j pipeline.Journal, b pipeline.Backoff) error {
	t.Helper()
	s, err := Open(t.Context(), Config{Store: cfg, Journal: j})
	if err != nil {
		return err
	}
	defer s.Close()
	return pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Vector]{Source: src, Sink: s, Journal: j, Transforms: transforms(cfg), Workers: 2, Backoff: b})
}

// The server is killed in the middle and started again: the run goes on. It is
// killed and stays away: the run ends with exit code 3, and goes on later.
func TestServerGoesAway(t *testing.T) {
	server := servers.StartQdrant(t)
	content := corpus(2000, 16, 5)
	for _, back := range []bool{true, false} {
		cfg, j := on(t, server, back), begun(t)
		src := &tripped{Memory: pipetest.NewMemory(pipeline.Limits{Records: 30}, content...)}
		src.left.Store(25)
		again := make(chan struct{})
		src.trip = func() {
			server.Kill()
			if !back {
				return
			}
			go func() {
				server.Restart(t)
				close(again)
			}()
		}
		patient := pipeline.Backoff{Attempts: 2000, Base: 50 * time.Millisecond, Max: 200 * time.Millisecond} // for as long as a server takes to start
		b := patient
		if !back {
			b = pipeline.Backoff{Attempts: 3, Max: 50 * time.Millisecond}
		}
		err := copyTo(t, cfg, src, j, b)
		if back {
			if <-again; err != nil {
				t.Fatal(err)
			}
		} else {
			if pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.HintOf(err) == "" {
				t.Errorf("exit code %d, hint %q: %v", pipeline.ExitCode(err), pipeline.HintOf(err), err)
			}
			if _, err := Open(t.Context(), Config{Store: cfg}); pipeline.ExitCode(err) != pipeline.ExitEnvironment {
				t.Errorf("opening: %v", err)
			}
			server.Restart(t)
			if err := copyTo(t, cfg, src, j, patient); err != nil {
				t.Fatal(err)
			}
		}
		verify(t, src.Memory, cfg, j)
	}
}

// Connections are reset again and again: the run goes on.
func TestConnectionReset(t *testing.T) {
	cfg := store(t, false)
	real := net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.GRPCPort))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var cut atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				d, err := net.Dial("tcp", real)
				if err != nil {
					return
				}
				defer d.Close()
				go func() { _, _ = io.Copy(c, d) }()
				if _, err := io.CopyN(d, c, 150_000); err == nil {
					cut.Add(1)
					_ = c.(*net.TCPConn).SetLinger(0) // a reset, not an end
				}
			}()
		}
	}()
	through := cfg
	_, port, _ := net.SplitHostPort(l.Addr().String())
	through.GRPCPort, _ = strconv.Atoi(port)
	src := pipetest.NewMemory(pipeline.Limits{Records: 100}, corpus(3000, 64, 5)...)
	j := begun(t)
	if err := copyTo(t, through, src, j, pipeline.Backoff{Max: 20 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if cut.Load() < 3 {
		t.Errorf("only %d resets", cut.Load())
	}
	verify(t, src, cfg, j)
}

// A proxy that answers calls with 429 or 503, in storms of fifteen, and lets as
// many pass between them: the run goes on.
func TestStormOf429(t *testing.T) {
	cfg := store(t, true)
	target, _ := url.Parse("http://" + net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.GRPCPort)))
	h2c := new(http.Protocols)
	h2c.SetUnencryptedHTTP2(true)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.FlushInterval = &http.Transport{Protocols: h2c}, -1
	var calls, refused atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Protocols: h2c, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := calls.Add(1); n > 2 && n%30 < 15 {
			refused.Add(1)
			w.Header().Set("Retry-After", "1")
			w.WriteHeader([]int{http.StatusTooManyRequests, http.StatusServiceUnavailable}[n%2])
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	through := cfg
	_, port, _ := net.SplitHostPort(l.Addr().String())
	through.GRPCPort, _ = strconv.Atoi(port)
	src := pipetest.NewMemory(pipeline.Limits{Records: 100}, corpus(1000, 8, 5)...)
	j := begun(t)
	waited := atomic.Int64{}
	b := pipeline.Backoff{Attempts: 60, Wait: func(ctx context.Context, d time.Duration) error { waited.Add(1); return ctx.Err() }}
	if err := copyTo(t, through, src, j, b); err != nil {
		t.Fatal(err)
	}
	if refused.Load() < 10 || waited.Load() < 10 {
		t.Errorf("%d calls refused, %d waits", refused.Load(), waited.Load())
	}
	verify(t, src, cfg, j)
}

// Qdrant's own limit of the rate: worth a retry, after the time it says.
func TestRateLimit(t *testing.T) {
	cfg := store(t, false)
	e := corpus(40, 4, 1)[0]
	s := open(t, Config{Store: cfg})
	if err := s.Prepare(t.Context(), e.Unit); err != nil {
		t.Fatal(err)
	}
	if _, err := s.conn.Collections.Update(t.Context(), &pb.UpdateCollection{CollectionName: qdrant.Collection(cfg, e.Unit.Name),
		StrictModeConfig: &pb.StrictModeConfig{Enabled: new(true), WriteRateLimit: new(uint32(15))}}); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 5 {
		if _, err = s.write(t.Context(), e.Unit, e.Records); err != nil {
			break
		}
	}
	var later pipeline.Delayed
	if !pipeline.IsRetryable(err) || !errors.As(err, &later) || later.RetryAfter() <= 0 || pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("%v", err)
	}
}

// With strict mode's limits of points a request, requests are that small.
func TestStrictMode(t *testing.T) {
	cfg := store(t, false)
	e := corpus(400, 4, 1)[0]
	j := begun(t)
	if err := open(t, Config{Store: cfg}).Prepare(t.Context(), e.Unit); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Store: cfg, Journal: j})
	if _, err := s.conn.Collections.Update(t.Context(), &pb.UpdateCollection{CollectionName: qdrant.Collection(cfg, e.Unit.Name),
		StrictModeConfig: &pb.StrictModeConfig{Enabled: new(true), UpsertMaxBatchsize: new(uint64(7)), SearchAllowExact: new(false)}}); err != nil {
		t.Fatal(err)
	}
	if out, err := s.write(t.Context(), e.Unit, e.Records); err != nil || out.Written != 100 {
		t.Errorf("%+v, %v", out, err)
	}
}

// What the server says no to for every record is no fault of the records: none
// is refused. Here somebody has made the collection anew, of another size.
func TestAllDenied(t *testing.T) {
	cfg := store(t, false)
	e := corpus(80, 4, 1)[0]
	s := open(t, Config{Store: cfg})
	if err := s.Prepare(t.Context(), e.Unit); err != nil {
		t.Fatal(err)
	}
	name := qdrant.Collection(cfg, e.Unit.Name)
	if _, err := s.conn.Collections.Delete(t.Context(), &pb.DeleteCollection{CollectionName: name}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.conn.Collections.Create(t.Context(), qdrant.Create(cfg, name, 7)); err != nil {
		t.Fatal(err)
	}
	out, err := s.write(t.Context(), e.Unit, e.Records)
	if pipeline.ExitCode(err) != pipeline.ExitEnvironment || out.Written+len(out.Refused) > 0 {
		t.Errorf("%+v, %v", out, err)
	}
}

// With strict mode's limit of hits a question, at the 1000 that Open WebUI itself
// asks for, everything is read.
func TestStrictModeOfASource(t *testing.T) {
	both(t, func(t *testing.T, multitenancy bool) {
		cfg := store(t, multitenancy)
		content := corpus(5000, 4, 3)
		fill(t, cfg, content)
		conn, err := qdrant.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		before := names(t, cfg)
		for _, name := range physical(t, cfg) {
			if _, err := conn.Collections.Update(t.Context(), &pb.UpdateCollection{CollectionName: name, StrictModeConfig: &pb.StrictModeConfig{Enabled: new(true),
				MaxQueryLimit: new(uint32(1000)), SearchAllowExact: new(false), UnindexedFilteringRetrieve: new(false)}}); err != nil {
				t.Fatal(err)
			}
		}
		if got := names(t, cfg); !slices.Equal(got, before) || len(got) != 4 {
			t.Errorf("%q, not %q", got, before)
		}
		verify(t, pipetest.NewMemory(pipeline.Limits{Records: 700}, content...), cfg, nil)
		r := openReader(t, reader.Config{Store: cfg})
		seen := 0
		for b, err := range r.Read(t.Context(), pipeline.Part{Unit: content[0].Unit}, "") {
			if err != nil {
				t.Fatal(err)
			}
			seen += len(b.Records)
		}
		if seen != len(content[0].Records) {
			t.Errorf("%d records of %d", seen, len(content[0].Records))
		}
		query := [][]float32{content[0].Records[0].Embedding}
		if _, err := r.Search(t.Context(), content[0].Unit, query, 10, true); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("an exact search: %v", err)
		}
		if hits, err := r.Search(t.Context(), content[0].Unit, query, 10, false); err != nil || len(hits[0]) != 10 || hits[0][0].ID != content[0].Records[0].ID {
			t.Errorf("%v, %v", hits, err)
		}
	})
}

// A wrong key ends with exit code 3 and is never shown; the right one works,
// also over TLS.
func TestKeyAndTLS(t *testing.T) {
	const key, wrong = "the-right-api-key", "a-wrong-api-key"
	cert, secret := certificate(t)
	t.Setenv("SSL_CERT_FILE", cert)
	for _, tls := range []bool{false, true} {
		set := []string{"QDRANT__SERVICE__API_KEY=" + key}
		if tls {
			set = append(set, "QDRANT__SERVICE__ENABLE_TLS=true", "QDRANT__TLS__CERT="+cert, "QDRANT__TLS__KEY="+secret)
		}
		cfg := on(t, servers.StartQdrant(t, set...), false)
		cfg.TLS = tls
		for _, k := range []string{"", wrong} {
			cfg.APIKey = env.Secret(k)
			_, err := Open(t.Context(), Config{Store: cfg})
			if pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.IsRetryable(err) || strings.Contains(err.Error(), wrong) {
				t.Errorf("TLS %t, key %q: %v", tls, k, err)
			}
		}
		cfg.APIKey = key
		e := corpus(20, 4, 1)[:1]
		fill(t, cfg, e)
		verify(t, pipetest.NewMemory(pipeline.Limits{}, e...), cfg, nil)
		if cfg.TLS = !tls; tls {
			if _, err := Open(t.Context(), Config{Store: cfg}); pipeline.ExitCode(err) != pipeline.ExitEnvironment || strings.Contains(err.Error(), key) {
				t.Errorf("without TLS: %v", err)
			}
		}
	}
}

func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "outgrow test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
