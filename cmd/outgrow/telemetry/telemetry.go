// Package telemetry lets others watch a run: OpenTelemetry traces and metrics
// where the standard OTEL_* variables ask for them, and Prometheus text at an
// address. Everything is read from the meters that a run fills anyway, so the
// engine knows nothing of it and a run costs the same.
//
// What leaves the machine has no host, path, label, key or text of an error in
// it: only names of tables, of folders and of collections that Open WebUI names
// itself, and figures.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"outgrow/pipeline"
)

// Config says what is watched, and how.
type Config struct {
	Command string // its words, without arguments
	Version string
	// Environ is the process's environment. The exporters read the real one, by
	// themselves; of this only what switches them on is read.
	Environ []string
	// Metrics is where Prometheus text is served, "" for nowhere: see Address.
	Metrics string
}

// Hub is what a process tells of itself. All methods of a nil Hub and of a nil
// Section do nothing.
type Hub struct {
	cfg             Config
	began           time.Time
	traces, metrics string // protocols; "" for none
	server          *server
	send            *sender // nil before the first section or span, and where nothing is sent
	told            bool    // there was a section or a span

	mu      sync.Mutex
	open    []*Section
	past    map[series]*figures // of sections that have ended
	notes   []string
	failure error // the first of the exporters

	done chan struct{}
	wg   sync.WaitGroup
}

// Start begins to watch. It gives nil where nobody has asked for it. What cannot
// be sent never stands in the way of a run; an address that cannot be listened
// on is an error, before anything else is done.
func Start(cfg Config) (*Hub, error) {
	h := &Hub{cfg: cfg, began: time.Now(), past: map[series]*figures{}, done: make(chan struct{})}
	vars := variables(cfg.Environ)
	var traces, metrics string
	h.traces, traces = vars.protocol("TRACES")
	h.metrics, metrics = vars.protocol("METRICS")
	for _, note := range []string{traces, metrics} {
		if note != "" && !slices.Contains(h.notes, note) {
			h.notes = append(h.notes, note)
		}
	}
	if h.traces == "" && h.metrics == "" && cfg.Metrics == "" && len(h.notes) == 0 {
		return nil, nil
	}
	if cfg.Metrics != "" {
		var err error
		if h.server, err = listen(cfg.Metrics, h); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// URL is where the Prometheus text is, "" for nowhere.
func (h *Hub) URL() string {
	if h == nil || h.server == nil {
		return ""
	}
	return h.server.url
}

// Section begins a step of the command: what the meter counts from now on is
// told under its name. redact hides secrets; it is called by other goroutines
// until the section ends.
func (h *Hub) Section(step string, meter *pipeline.Meter, redact func(string) string) *Section {
	if h == nil {
		return nil
	}
	if redact == nil {
		redact = func(s string) string { return s }
	}
	s := &Section{hub: h, step: step, meter: meter, redact: redact, lanes: map[pipeline.Lane]*laneSpan{}}
	h.begin(context.Background())
	s.span = h.send.child(nil, step, time.Now())
	h.mu.Lock()
	h.open = append(h.open, s)
	h.mu.Unlock()
	return s
}

// begin opens the exporters for the first section or span: a command that moves
// and reads nothing sends nothing.
func (h *Hub) begin(ctx context.Context) {
	h.told = true
	if h.send != nil || h.traces == "" && h.metrics == "" {
		return
	}
	out, err := exporters(ctx, h.traces, h.metrics, h.failed)
	if err != nil {
		h.failed(err)
	}
	h.start(ctx, out)
}

// start begins to send by the given exporters.
func (h *Hub) start(ctx context.Context, out outlets) {
	h.send = newSender(ctx, h, out)
	h.wg.Add(1)
	go h.follow()
}

// follow tells of units while a run goes on, so that a trace of hours is not
// empty until its end.
func (h *Hub) follow() {
	defer h.wg.Done()
	t := time.NewTicker(2 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-h.done:
			return
		case <-t.C:
			h.mu.Lock()
			open := append([]*Section(nil), h.open...)
			h.mu.Unlock()
			for _, s := range open {
				s.tell()
			}
		}
	}
}

// Span tells of something that took from then until now and moves nothing.
func (h *Hub) Span(name string, from time.Time) {
	if h == nil {
		return
	}
	h.begin(context.Background())
	h.send.child(nil, name, from).End()
}

// Close ends all with the command's exit code. It gives what the operator should
// hear of it: nothing where there was nothing to be told.
func (h *Hub) Close(exit int) []string {
	if h == nil {
		return nil
	}
	close(h.done)
	h.wg.Wait()
	if h.send != nil {
		ctx, cancel := context.WithTimeout(context.Background(), variables(h.cfg.Environ).patience())
		defer cancel()
		h.send.close(ctx, exit)
	}
	if h.server != nil {
		h.server.close()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.told {
		return nil
	}
	if h.failure != nil {
		h.notes = append(h.notes, fmt.Sprintf("traces or metrics could not all be sent as OTEL_* says; nothing else depends on them: %s", variables(h.cfg.Environ).hide(h.failure.Error())))
	}
	return h.notes
}

// failed keeps the first error of an exporter.
func (h *Hub) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failure == nil && err != nil && !errors.Is(err, context.Canceled) {
		h.failure = err
	}
}
