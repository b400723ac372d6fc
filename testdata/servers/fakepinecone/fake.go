// Package fakepinecone is a fake of Pinecone for tests, as the real service
// cannot be had: the control plane (REST: list, create, describe, delete an
// index) and, for each index, the data plane (gRPC VectorService). It serves
// outgrow's Go SDK and Open WebUI's Python client alike, keeps everything in
// memory and listens on 127.0.0.1 only.
//
// It enforces what Pinecone documents (docs.pinecone.io, "Database limits"): a
// key is needed; 1000 records and 2 MB an upsert, 40,960 bytes of metadata a
// record, its values strings, numbers, booleans or lists of strings, no zero
// vectors, the index's dimension; 100 ids a page of a listing, 1000 a fetch or
// delete, 10,000 hits. Numbers in metadata are doubles. What it does not do:
// approximate search, sparse vectors, pods, more than one project.
package fakepinecone

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// WrongKey is an API key that the fake refuses.
const WrongKey = "wrong-key"

// Server is one fake project.
type Server struct {
	// Controller is the address of the control plane: PINECONE_CONTROLLER_HOST.
	Controller string

	mu      sync.Mutex
	http    *http.Server
	indexes map[string]*index
	faults  faults
	calls   map[string]int
}

// faults are what is to go wrong.
type faults struct {
	storm, lost, control int
	after                time.Duration
	lag, slow            time.Duration
}

// index is one index with its own address, as Pinecone gives each one.
type index struct {
	name    string
	body    map[string]any // as it was created
	dim     int
	metric  string
	address string
	rpc     *grpc.Server
	spaces  map[string]map[string]*record
}

// Start starts a fake.
func Start() (*Server, error) {
	s := &Server{indexes: map[string]*index{}, calls: map[string]int{}}
	return s, s.listen("127.0.0.1:0")
}

// listen waits for an address that was ours and has gone to a connection
// meanwhile.
func listen(address string) (l net.Listener, err error) {
	for range 3000 {
		if l, err = net.Listen("tcp", address); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return l, err
}

func (s *Server) listen(address string) error {
	l, err := listen(address)
	if err != nil {
		return err
	}
	s.Controller = "http://" + l.Addr().String()
	s.http = &http.Server{Handler: http.HandlerFunc(s.control), ReadHeaderTimeout: time.Minute}
	go s.http.Serve(l) //nolint:errcheck // it ends with Stop
	return nil
}

// Stop cuts every connection; what was acknowledged is kept.
func (s *Server) Stop() {
	s.mu.Lock()
	list := []*index{}
	for _, x := range s.indexes {
		list = append(list, x)
	}
	web := s.http
	s.mu.Unlock()
	_ = web.Close()
	for _, x := range list {
		x.rpc.Stop()
	}
}

// Restart goes on after Stop, at the same addresses.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.indexes {
		if err := s.open(x); err != nil {
			return err
		}
	}
	return s.listen(strings.TrimPrefix(s.Controller, "http://"))
}

// Storm refuses the next n requests to the data plane with 429 (gRPC's
// RESOURCE_EXHAUSTED) and the given Retry-After.
func (s *Server) Storm(n int, after time.Duration) {
	s.set(func(f *faults) { f.storm, f.after = n, after })
}

// StormControl is Storm for the control plane.
func (s *Server) StormControl(n int, after time.Duration) {
	s.set(func(f *faults) { f.control, f.after = n, after })
}

// Lose does the next n upserts and loses their answers.
func (s *Server) Lose(n int) { s.set(func(f *faults) { f.lost = n }) }

// Lag lets reads see a write only after d.
func (s *Server) Lag(d time.Duration) { s.set(func(f *faults) { f.lag = d }) }

// Slow holds every request to the data plane for d.
func (s *Server) Slow(d time.Duration) { s.set(func(f *faults) { f.slow = d }) }

func (s *Server) set(f func(*faults)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.faults)
}

// Calls says how often a method of the data plane was called ("Fetch"), and for
// "Fetch ids" how many ids were asked for.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// Created gives the request that made an index, nil when there is none.
func (s *Server) Created(name string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.indexes[name]; x != nil {
		return x.body
	}
	return nil
}

func (s *Server) control(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.control > 0 {
		s.faults.control--
		w.Header().Set("Retry-After", seconds(s.faults.after))
		fail(w, http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "too many requests")
		return
	}
	if key := r.Header.Get("Api-Key"); key == "" || key == WrongKey {
		fail(w, http.StatusUnauthorized, "UNAUTHENTICATED", "Invalid API Key")
		return
	}
	name, one := strings.CutPrefix(r.URL.Path, "/indexes/")
	switch x := s.indexes[name]; {
	case r.URL.Path == "/indexes" && r.Method == http.MethodGet:
		list := []any{}
		for _, x := range s.indexes {
			list = append(list, x.describe())
		}
		reply(w, http.StatusOK, map[string]any{"indexes": list})
	case r.URL.Path == "/indexes" && r.Method == http.MethodPost:
		s.create(w, r)
	case !one || x == nil:
		fail(w, http.StatusNotFound, "NOT_FOUND", "Resource "+name+" not found")
	case r.Method == http.MethodDelete:
		x.rpc.Stop()
		delete(s.indexes, name)
		reply(w, http.StatusAccepted, map[string]any{})
	default:
		reply(w, http.StatusOK, x.describe())
	}
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	x := &index{spaces: map[string]map[string]*record{}}
	if err := json.NewDecoder(r.Body).Decode(&x.body); err != nil {
		fail(w, http.StatusBadRequest, "INVALID_ARGUMENT", err.Error())
		return
	}
	x.name, _ = x.body["name"].(string)
	dim, _ := x.body["dimension"].(float64)
	if x.dim = int(dim); x.dim < 1 || x.dim > 20_000 || x.name == "" {
		fail(w, http.StatusBadRequest, "INVALID_ARGUMENT", "no name or dimension")
		return
	}
	if x.metric, _ = x.body["metric"].(string); x.metric == "" {
		x.metric = "cosine"
	}
	if spec, _ := x.body["spec"].(map[string]any); spec["serverless"] == nil {
		fail(w, http.StatusBadRequest, "INVALID_ARGUMENT", "the fake has serverless indexes only")
		return
	}
	if s.indexes[x.name] != nil {
		fail(w, http.StatusConflict, "ALREADY_EXISTS", "Resource already exists")
		return
	}
	if err := s.open(x); err != nil {
		fail(w, http.StatusInternalServerError, "INTERNAL", err.Error())
		return
	}
	s.indexes[x.name] = x
	reply(w, http.StatusCreated, x.describe())
}

// describe answers as API 2025-10, with read_capacity, does; clients of earlier
// versions pass over what they do not know.
func (x *index) describe() map[string]any {
	serverless := map[string]any{"read_capacity": map[string]any{"mode": "OnDemand", "status": map[string]any{"state": "Ready"}}}
	spec, _ := x.body["spec"].(map[string]any)
	given, _ := spec["serverless"].(map[string]any)
	for k, v := range given {
		serverless[k] = v
	}
	return map[string]any{"name": x.name, "dimension": x.dim, "metric": x.metric, "host": "http://" + x.address, "vector_type": "dense",
		"spec": map[string]any{"serverless": serverless}, "status": map[string]any{"ready": true, "state": "Ready"},
		"deletion_protection": "disabled", "tags": nil}
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, code int, name, message string) {
	reply(w, code, map[string]any{"status": code, "error": map[string]any{"code": name, "message": message}})
}

func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
