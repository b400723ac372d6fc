package chromahttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/chromahttp"
	"outgrow/testdata/servers"
)

// The server merges metadata on an upsert; what Write leaves is the new record.
func TestWriteReplaces(t *testing.T) {
	cfg := store(servers.Chroma(t))
	s, r := open(t, Config{Store: cfg}), openReader(t, reader.Config{Store: cfg})
	u := unit("file-a", 2)
	if err := s.Prepare(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*pipeline.Vector{vector("i", "one", `{"a":1,"b":2}`, 1, 2), vector("i", "two", `{"a":3}`, 2, 1), vector("i", "", "", 1, 1), vector("i", "x", `{"c":0.5}`, 1, 1)} {
		if out, err := s.Write(t.Context(), batch(u, v, vector("k", "stays", `{"z":1}`, 3, 4))); err != nil || out.Written != 2 || len(out.Changed)+len(out.Refused) > 0 {
			t.Fatalf("%+v, %v", out, err)
		}
		got := read(t, r, u, "i", "k")
		if !same(v, got["i"]) || !same(vector("k", "stays", `{"z":1}`, 3, 4), got["k"]) {
			t.Errorf("wrote %s, got %+v %s", v.Metadata, got["i"], got["i"].Metadata)
		}
	}
	text := &pipeline.Vector{ID: "n", Embedding: []float32{1, 2}}
	if out, err := s.Write(t.Context(), batch(u, text)); err != nil || out.Written != 1 || len(out.Changed) != 1 || *read(t, r, u, "n")["n"].Text != "" {
		t.Errorf("a null document: %+v, %v", out, err)
	}
}

func TestPrepareRefusesConflicts(t *testing.T) {
	cfg := store(servers.Chroma(t))
	j := (&pipetest.MemoryState{}).Open()
	if _, err := j.Begin(t.Context(), pipeline.Run{ID: "t"}); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Store: cfg, Journal: j})
	client, err := chromahttp.Dial(t.Context(), cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	post(t, cfg, `{"name":"euclid","get_or_create":true}`)
	u := unit("filled", 2)
	if err := s.Prepare(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(t.Context(), batch(u, vector("i", "", "", 1, 2))); err != nil {
		t.Fatal(err)
	}
	for name, dim := range map[string]int{"euclid": 2, "filled": 3} {
		if err := s.Prepare(t.Context(), unit(name, dim)); pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Prepare(t.Context(), unit("a b", 2)); err != nil {
		t.Errorf("a name that cannot be: %v", err)
	}
	if out, err := s.Write(t.Context(), batch(unit("a b", 2), vector("i", "", "", 1, 2))); err != nil || len(out.Refused) != 1 || out.Refused[0].Reason != chromahttp.CollectionName {
		t.Errorf("%+v, %v", out, err)
	}
	part := pipeline.Part{Unit: unit("gone", 2)}
	if err := j.Fix(t.Context(), part.Unit, []pipeline.Part{part}); err != nil {
		t.Fatal(err)
	}
	if err := s.Prepare(t.Context(), part.Unit); err != nil {
		t.Fatal(err)
	}
	if err := j.Advance(t.Context(), pipeline.Step{Part: part, Next: "n", Written: 1}); err != nil {
		t.Fatal(err)
	}
	if err := client.Drop(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(t.Context(), batch(part.Unit, vector("i", "", "", 1, 2))); err == nil || pipeline.IsRetryable(err) {
		t.Errorf("writing to a collection that was deleted: %v", err)
	}
	if err := s.Prepare(t.Context(), part.Unit); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("a collection that the journal knows is gone: %v", err)
	}
	if a, err := s.Fingerprint(t.Context()); err != nil || strings.Contains(a, cfg.Database) || !strings.HasPrefix(a, "chroma:") {
		t.Errorf("fingerprint %q, %v", a, err)
	}
}

func post(t *testing.T, cfg env.ChromaConfig, body string) {
	t.Helper()
	res, err := http.Post(chromahttp.APIURL(cfg)+"/tenants/"+cfg.Tenant+"/databases/"+cfg.Database+"/collections", "application/json", strings.NewReader(body))
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	res.Body.Close()
}

func TestCheckAndEmpty(t *testing.T) {
	cfg := store(servers.Chroma(t))
	s, r := open(t, Config{Store: cfg}), openReader(t, reader.Config{Store: cfg})
	units := []pipeline.Unit{unit("docs", 2), unit("x y", 2), unit("knowledge-bases", 2)}
	reasons := func() string {
		found, err := s.Check(t.Context(), units)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range found {
			out = append(out, string(f.Severity)+" "+string(f.Reason)+" "+fmt.Sprint(f.Count))
		}
		return strings.Join(out, ", ")
	}
	if got := reasons(); got != "accept collection-name 0" {
		t.Errorf("an empty target: %s", got)
	}
	for _, name := range []string{"docs", "knowledge-bases", "another-app"} {
		if err := s.Prepare(t.Context(), unit(name, 2)); err != nil {
			t.Fatal(err)
		}
	}
	if got := reasons(); got != "accept collection-name 0" {
		t.Errorf("empty collections: %s", got)
	}
	for _, name := range []string{"docs", "knowledge-bases", "another-app"} {
		if _, err := s.Write(t.Context(), batch(unit(name, 2), vector("i", "", "", 1, 2), vector("k", "", "", 1, 2))); err != nil {
			t.Fatal(err)
		}
	}
	units[0].Dim = 5
	if got := reasons(); got != "accept collection-name 0, refuse vector-dimension 0, refuse in-use 4" {
		t.Errorf("a target in use: %s", got)
	}
	for range 2 {
		if err := s.Empty(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	left, err := r.Units(t.Context())
	if err != nil || len(left) != 1 || left[0].Name != "another-app" || left[0].Records != 2 || left[0].Dim != 2 {
		t.Errorf("left: %+v, %v", left, err)
	}
	post(t, cfg, `{"name":"euclid","get_or_create":true}`)
	found, err := r.Check(t.Context(), nil)
	if err != nil || len(found) != 1 || found[0].Unit != "vectors/euclid" || found[0].Severity != pipeline.Warn {
		t.Errorf("%+v, %v", found, err)
	}
}

// copyAll moves a corpus through cfg's address, which may fail, and compares it
// through the server's own.
func copyAll(t *testing.T, cfg env.ChromaConfig, direct env.ChromaConfig, all []pipetest.Expected[*pipeline.Vector], backoff pipeline.Backoff) {
	t.Helper()
	copyFrom(t, cfg, direct, pipetest.NewMemory(pipeline.Limits{Records: 7}, all...), len(all), backoff)
}

func copyFrom(t *testing.T, cfg env.ChromaConfig, direct env.ChromaConfig, src pipeline.Source[*pipeline.Vector], collections int, backoff pipeline.Backoff) {
	t.Helper()
	journal := (&pipetest.MemoryState{}).Open()
	if _, err := journal.Begin(t.Context(), pipeline.Run{ID: "t"}); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Store: cfg, Writers: 2})
	if err := pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Vector]{Source: src, Sink: s, Journal: journal, Workers: 2, Backoff: backoff,
		Transforms: []pipeline.Transform[*pipeline.Vector]{chromahttp.Transform(cfg)}}); err != nil {
		t.Fatalf("%v, worth a retry: %v", err, pipeline.IsRetryable(err))
	}
	units, err := pipeline.Diff(t.Context(), pipeline.Comparison[*pipeline.Vector]{Source: src, Target: openReader(t, reader.Config{Store: direct}), Equal: chromahttp.Compare(cfg),
		Journal: journal, Report: func(d pipeline.Difference) { t.Errorf("%+v", d) }})
	if err != nil || len(units) != collections {
		t.Errorf("%+v, %v", units, err)
	}
}

// Of the requests a quarter are refused with 429, and of a sixth the answer is
// lost after the server has done what it was asked for.
func TestBusyServerAndLostAnswers(t *testing.T) {
	direct := store(servers.Chroma(t))
	var n, busy, lost atomic.Int64
	var mu sync.Mutex
	chance := rand.New(rand.NewPCG(5, 0))
	to, err := url.Parse(fmt.Sprintf("http://%s:%d", direct.Host, direct.Port))
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(to)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/upsert") && n.Load() == 0 {
			forward.ServeHTTP(w, r)
			return
		}
		n.Add(1)
		mu.Lock()
		k := chance.IntN(12)
		mu.Unlock()
		switch {
		case k < 3:
			busy.Add(1)
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(http.StatusTooManyRequests)
		case k < 5:
			lost.Add(1)
			forward.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		default:
			forward.ServeHTTP(w, r)
		}
	}))
	defer proxy.Close()
	cfg := direct
	cfg.Host = proxy.URL
	waits := map[bool]int{}
	copyAll(t, cfg, direct, corpus(120, 4, 3), pipeline.Backoff{Attempts: 20, Base: time.Millisecond, Max: time.Second, Wait: func(_ context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		waits[d >= 3*time.Second]++
		return nil
	}})
	if busy.Load() < 5 || lost.Load() < 3 || int64(waits[true]) != busy.Load() || waits[false] == 0 {
		t.Errorf("%d refused, %d answers lost, waited %v", busy.Load(), lost.Load(), waits)
	}
}

// The server is killed again and again while it is written to: what it has
// acknowledged is there.
func TestKilledServer(t *testing.T) {
	server := servers.StartChroma(t)
	cfg := store(server)
	all := corpus(1500, 32, 4)
	src := &tripping{Memory: pipetest.NewMemory(pipeline.Limits{Records: 7}, all...), at: map[int64]bool{20: true, 80: true}, trips: make(chan struct{}, 2)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2 {
			<-src.trips
			server.Kill(t)
			server.Restart(t)
		}
	}()
	copyFrom(t, cfg, cfg, src, len(all), pipeline.Backoff{Attempts: 2000, Base: 50 * time.Millisecond, Max: 200 * time.Millisecond})
	<-done
}

// tripping is a source that tells when so many batches have been read.
type tripping struct {
	*pipetest.Memory[*pipeline.Vector]
	n     atomic.Int64
	at    map[int64]bool
	trips chan struct{}
}

func (s *tripping) Read(ctx context.Context, p pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Vector], error] {
	return func(yield func(pipeline.Batch[*pipeline.Vector], error) bool) {
		for b, err := range s.Memory.Read(ctx, p, after) {
			if s.at[s.n.Add(1)] {
				s.trips <- struct{}{}
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// A record that is more than the server takes at once is refused alone; many
// large ones are read in smaller pages.
func TestLargeRecords(t *testing.T) {
	cfg := store(servers.Chroma(t))
	s, r := open(t, Config{Store: cfg}), openReader(t, reader.Config{Store: cfg, Limits: pipeline.Limits{Bytes: 1 << 20}})
	u := unit("large", 2)
	if err := s.Prepare(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	var all []*pipeline.Vector
	for i := range 30 {
		all = append(all, vector(fmt.Sprint("id", i), strings.Repeat("x", 700<<10), `{"a":1}`, 1, float32(i)))
	}
	out, err := s.Write(t.Context(), batch(u, append(all, vector("too large", strings.Repeat("x", 45<<20), "", 1, 2))...))
	if err != nil || out.Written != 30 || len(out.Refused) != 1 || out.Refused[0].Reason != pipeline.TooLong || out.Refused[0].Key != "too large" {
		t.Fatalf("%d written, %d refused, %v", out.Written, len(out.Refused), err)
	}
	n := 0
	for b, err := range r.Read(t.Context(), pipeline.Part{Unit: u}, "") {
		if err != nil || len(b.Records) > 2 {
			t.Fatalf("%d records, %v", len(b.Records), err)
		}
		n += len(b.Records)
	}
	if n != 30 {
		t.Errorf("%d of 30 read", n)
	}
}

func TestSearchAndIdentity(t *testing.T) {
	cfg := store(servers.Chroma(t))
	s, r := open(t, Config{Store: cfg}), openReader(t, reader.Config{Store: cfg})
	u := unit("search", 2)
	before, err := r.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Prepare(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if hits, err := r.Search(t.Context(), u, [][]float32{{1, 0}}, 2, false); err != nil || len(hits) != 1 || len(hits[0]) != 0 {
		t.Errorf("in an empty collection: %+v, %v", hits, err)
	}
	if _, err := s.Write(t.Context(), batch(u, vector("a", "", "", 2, 0), vector("b", "", "", 0, 3), vector("c", "", "", -1, 0))); err != nil {
		t.Fatal(err)
	}
	hits, err := r.Search(t.Context(), u, [][]float32{{1, 0}, {0, 5}}, 2, false)
	text, _ := json.Marshal(hits)
	if err != nil || !bytes.HasPrefix(text, []byte(`[[{"ID":"a","Score":1},{"ID":"b","Score":0.5}],[{"ID":"b","Score":1},`)) {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := r.Search(t.Context(), u, [][]float32{{1, 0}}, 2, true); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an exact search: %v", err)
	}
	after, err := r.Identity(t.Context())
	if err != nil || before.Stable != after.Stable || before.State == after.State {
		t.Errorf("%+v, then %+v, %v", before, after, err)
	}
	cfg.Database = "nothing"
	if _, err := Open(t.Context(), Config{Store: cfg}); pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(err.Error(), "database nothing") {
		t.Errorf("a missing database: %v", err)
	}
}
