package servers

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Action is what a [Fault] does to a request that it meets.
type Action int

const (
	FlipRequest  Action = iota + 1 // the server gets the body with one byte changed
	CutRequest                     // the server gets half of the body, then the connection ends on both sides
	FlipResponse                   // the client gets the body with one byte changed
	CutResponse                    // the client gets half of the body, then its connection ends
	ServerError                    // the client gets 500, the server nothing
	Reset                          // the client's connection is reset, the server gets nothing
	LostAnswer                     // the server gets the request, the client's connection is reset instead of the answer
	Delay                          // the request waits for Fault.Wait
)

// Fault is one thing that goes wrong on the way.
type Fault struct {
	Do    Action
	Match func(*http.Request) bool // nil for any request
	After int                      // how many matching requests pass before
	Times int                      // how many are met, 0 for one, -1 for all
	Wait  time.Duration            // of Delay

	seen, met int
}

// Large matches uploads of at least so many bytes, and those that do not tell their size.
func Large(n int64) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return (r.Method == http.MethodPut || r.Method == http.MethodPost || r.Method == http.MethodPatch) && (r.ContentLength < 0 || r.ContentLength >= n)
	}
}

// Downloads matches reads of an object whose path holds the text.
func Downloads(text string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, text)
	}
}

// FaultProxy hands HTTP requests on to an object store and does harm on the way. It ends with the test.
type FaultProxy struct {
	URL string // http://127.0.0.1:PORT with the path of the target

	tb     testing.TB
	target *url.URL
	client *http.Transport
	sent   atomic.Int64
	stored atomic.Int64
	rate   atomic.Int64
	ctx    func() context.Context // ends with the test

	mu     sync.Mutex
	conns  map[string]bool // addresses of connected clients
	watch  func(*http.Request) bool
	faults []*Fault
}

// NewFaultProxy starts a proxy in front of a server, such as http://127.0.0.1:9000/account.
func NewFaultProxy(tb testing.TB, target string) *FaultProxy {
	tb.Helper()
	u, err := url.Parse(target)
	if err != nil {
		tb.Fatal(err)
	}
	p := &FaultProxy{tb: tb, target: u, conns: map[string]bool{}, client: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64,
		// Servers end connections that rest (Azurite's after 5 s): one that is just being ended must not be used.
		IdleConnTimeout: time.Second}}
	ctx, cancel := context.WithCancel(context.Background())
	p.ctx = func() context.Context { return ctx }
	s := httptest.NewUnstartedServer(p)
	s.Config.ConnState = p.connected
	s.Start()
	tb.Cleanup(func() { cancel(); s.CloseClientConnections(); s.Close(); p.client.CloseIdleConnections() })
	p.URL = s.URL + u.Path
	return p
}

// Set replaces the faults: each is met by its own count of requests, the first that matches wins.
func (p *FaultProxy) Set(faults ...*Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = faults
}

// Met gives how often all faults together have struck.
func (p *FaultProxy) Met() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		n += f.met
	}
	return n
}

// Unmet gives how many faults have not struck at all.
func (p *FaultProxy) Unmet() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		if f.met == 0 {
			n++
		}
	}
	return n
}

// Count begins to count the bytes of the bodies of matching requests (nil for all) anew.
func (p *FaultProxy) Count(match func(*http.Request) bool) {
	p.mu.Lock()
	p.watch = match
	p.mu.Unlock()
	p.sent.Store(0)
	p.stored.Store(0)
}

// Sent gives how many such bytes have been read from clients.
func (p *FaultProxy) Sent() int64 { return p.sent.Load() }

// Stored gives how many of them the server has said to have, whether or not its answer found the client.
func (p *FaultProxy) Stored() int64 { return p.stored.Load() }

// Throttle lets each upload send so many bytes a second at most; 0 for no limit.
func (p *FaultProxy) Throttle(bytes int64) { p.rate.Store(bytes) }

// Settle waits until all clients, which are dead, are known to be, and the server has answered all that they have sent.
func (p *FaultProxy) Settle() {
	p.tb.Helper()
	// Connections are taken in the order in which they were made: once this one is, theirs are.
	last, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimSuffix(p.URL, p.target.Path), "http://"))
	if err != nil {
		p.tb.Fatal(err)
	}
	wait := func(what string, holds func() bool) {
		for deadline := time.Now().Add(5 * time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				p.tb.Fatal("the proxy has not ", what)
			}
		}
	}
	wait("taken a connection", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.conns[last.LocalAddr().String()]
	})
	_ = last.Close()
	wait("seen the end of all clients", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.conns) == 0
	})
}

// connected keeps account of the clients.
func (p *FaultProxy) connected(c net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch state {
	case http.StateClosed, http.StateHijacked:
		delete(p.conns, c.RemoteAddr().String())
	default:
		p.conns[c.RemoteAddr().String()] = true
	}
}

// strikes finds what happens to a request, nil for nothing.
func (p *FaultProxy) strikes(r *http.Request) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		if f.Match != nil && !f.Match(r) {
			continue
		}
		f.seen++
		if f.seen > f.After && (f.Times < 0 || f.met < max(1, f.Times)) {
			f.met++
			return f
		}
	}
	return nil
}

func (p *FaultProxy) counts(r *http.Request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watch == nil || p.watch(r)
}

// ServeHTTP hands one request on.
func (p *FaultProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	action := Action(0)
	if f := p.strikes(r); f != nil {
		if action = f.Do; action == Delay {
			time.Sleep(f.Wait)
		}
	}
	switch action {
	case ServerError:
		_, _ = io.Copy(io.Discard, r.Body)
		http.Error(w, "InternalError: made by the test", http.StatusInternalServerError)
		return
	case Reset:
		reset(w)
		return
	}
	out, body := p.request(r, action)
	answer, err := p.client.RoundTrip(out)
	if err == nil && body != nil && (answer.StatusCode < http.StatusMultipleChoices || answer.StatusCode == http.StatusPermanentRedirect) {
		p.stored.Add(body.n.Load())
	}
	if err != nil {
		if action != CutRequest && !errors.Is(err, context.Canceled) {
			p.tb.Logf("%s %s through the proxy: %v", r.Method, r.URL.Path, err)
		}
		reset(w)
		return
	}
	defer answer.Body.Close()
	if action == LostAnswer {
		reset(w)
		return
	}
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	// A session of an upload is named by its server.
	if at, err := url.Parse(answer.Header.Get("Location")); err == nil && at.Host == p.target.Host {
		at.Host = r.Host
		w.Header().Set("Location", at.String())
	}
	if answer.ContentLength >= 0 && r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.FormatInt(answer.ContentLength, 10))
	}
	w.WriteHeader(answer.StatusCode)
	var back io.Reader = answer.Body
	switch action {
	case FlipResponse:
		back = &flipped{r: back, at: middle(answer.ContentLength)}
	case CutResponse:
		back = io.LimitReader(back, middle(answer.ContentLength))
	}
	_, _ = io.Copy(w, back)
	if action == CutResponse {
		_ = http.NewResponseController(w).Flush()
		reset(w)
	}
}

// request is what goes on to the server, and its body where that is counted.
func (p *FaultProxy) request(r *http.Request, action Action) (*http.Request, *counted) {
	out := r.Clone(p.ctx()) // a server does not know that who has sent it all is dead
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = p.target.Scheme, p.target.Host
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-") {
		out.Host = p.target.Host // what is signed with the host has to keep it
	}
	if r.ContentLength == 0 {
		out.Body = http.NoBody
		return out, nil
	}
	var body io.Reader = r.Body
	var counter *counted
	if p.counts(r) {
		counter = &counted{Reader: body, p: p}
		body = counter
	}
	switch action {
	case FlipRequest:
		body = &flipped{r: body, at: middle(r.ContentLength)}
	case CutRequest:
		body = io.MultiReader(io.LimitReader(body, middle(r.ContentLength)), broken{})
	}
	out.Body = io.NopCloser(body)
	return out, counter
}

// middle is where a body of that length is damaged; one that does not tell its length has its metadata in front.
func middle(length int64) int64 {
	if length < 0 {
		return 8 << 10
	}
	return length / 2
}

// reset ends a client's connection without an answer.
func reset(w http.ResponseWriter) {
	h, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	c, _, err := h.Hijack()
	if err != nil {
		return
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// counted counts what is read, and slows it down.
type counted struct {
	io.Reader
	p *FaultProxy
	n atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	rate := c.p.rate.Load()
	if rate > 0 {
		b = b[:min(len(b), 16<<10)]
	}
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	c.p.sent.Add(int64(n))
	if rate > 0 {
		time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
	}
	return n, err
}

// flipped changes a bit of the byte at an offset.
type flipped struct {
	r  io.Reader
	at int64
}

func (f *flipped) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if f.at >= 0 && f.at < int64(n) {
		b[f.at] ^= 1
	}
	f.at -= int64(n)
	return n, err
}

// broken is a body that ends in the middle.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
