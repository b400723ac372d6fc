package telemetry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"outgrow/mappings/chromahttp"
	"outgrow/pipeline"
)

// Section is one step of a command: a plan, a migration, a pass, a comparison.
type Section struct {
	hub    *Hub
	step   string
	meter  *pipeline.Meter
	redact func(string) string

	mu    sync.Mutex
	span  trace.Span
	lanes map[pipeline.Lane]*laneSpan
}

// laneSpan is a lane that is under way, and what was told of it.
type laneSpan struct {
	kind   pipeline.Lane
	span   trace.Span
	units  map[*pipeline.Count]bool
	stages map[int]bool // by their place in the meter's list
	more   int64        // units that have no span of their own
}

// mostUnits bounds the spans of a lane: there may be a collection for each file.
const mostUnits = 500

// Run tells which run this is a part of.
func (s *Section) Run(id string, resumed bool) {
	if s == nil {
		return
	}
	s.span.SetAttributes(attribute.String("outgrow.run", id), attribute.Bool("outgrow.resumed", resumed))
}

// Lane moves or reads a lane by run, and tells of it.
func (s *Section) Lane(kind pipeline.Lane, run func() error) error {
	if s == nil {
		return run()
	}
	l := s.lane(kind)
	err := run()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish(l, err)
	return err
}

func (s *Section) lane(kind pipeline.Lane) *laneSpan {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &laneSpan{kind: kind, span: s.hub.send.child(s.span, string(kind), time.Now()), units: map[*pipeline.Count]bool{}, stages: map[int]bool{}}
	l.span.SetAttributes(attribute.String(attrLane, string(kind)))
	s.lanes[kind] = l
	return l
}

// End ends the section with what came of it.
func (s *Section) End(err error) {
	if s == nil {
		return
	}
	s.hub.mu.Lock()
	for lane, f := range measure(s.meter) {
		s.hub.keep(series{s.step, lane}, f)
	}
	s.hub.open = slices.DeleteFunc(s.hub.open, func(o *Section) bool { return o == s })
	s.hub.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes { // none, but for a panic
		s.finish(l, err)
	}
	fail(s.span, exitCode(err))
	s.span.End()
}

// tell sends what has come to its end since it was last called.
func (s *Section) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		s.told(l, false)
	}
}

func (s *Section) finish(l *laneSpan, err error) {
	s.told(l, true)
	delete(s.lanes, l.kind)
	if l.more > 0 {
		l.span.SetAttributes(attribute.Int64("outgrow.units.without_span", l.more))
	}
	if f := measure(s.meter)[l.kind]; f != nil {
		l.span.SetAttributes(f.attributes()...)
	}
	fail(l.span, exitCode(err))
	l.span.End()
}

// told makes spans of units and of stages that have ended; at the last call also
// of those that were begun.
func (s *Section) told(l *laneSpan, last bool) {
	if !s.hub.send.tracing() {
		return
	}
	now := time.Now()
	for _, c := range s.meter.Units() {
		from, to := c.Times()
		if c.Unit.Lane != l.kind || from.IsZero() || l.units[c] || to.IsZero() && !last {
			continue
		}
		l.units[c] = true
		if len(l.units) > mostUnits {
			l.more++
			continue
		}
		span := s.hub.send.child(l.span, "unit", from)
		span.SetAttributes(attribute.String(attrLane, string(l.kind)), attribute.String("outgrow.unit", s.name(c.Unit)),
			attribute.Bool("outgrow.complete", !to.IsZero()))
		span.SetAttributes(figuresOf(c).attributes()...)
		span.End(trace.WithTimestamp(orNow(to, now)))
	}
	for i, st := range s.meter.Stages() {
		if st.Lane != l.kind || l.stages[i] || st.To.IsZero() && !last {
			continue
		}
		l.stages[i] = true
		span := s.hub.send.child(l.span, "finish", st.From)
		span.SetAttributes(attribute.String(attrLane, string(l.kind)), attribute.String("outgrow.stage", s.stage(st)))
		span.End(trace.WithTimestamp(orNow(st.To, now)))
	}
}

// exitCode is that of the command, or stopped for what was cancelled: by a
// signal, or as another lane has failed.
func exitCode(err error) int {
	if errors.Is(err, context.Canceled) {
		return pipeline.ExitStopped
	}
	return pipeline.ExitCode(err)
}

func orNow(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t
}

// name is a unit's name for others. A collection that Open WebUI has not named
// itself has the name that a person gave it: a digest tells one from another.
func (s *Section) name(u pipeline.Unit) string {
	name := u.Name
	if u.Lane == pipeline.Vectors && !chromahttp.IsOpenWebUI(name) {
		sum := sha256.Sum256([]byte(name))
		name = "sha256:" + hex.EncodeToString(sum[:8])
	}
	return s.redact(name)
}

// stage is what a lane did, for others: what a vector store tells of may end in
// the name of a collection.
func (s *Section) stage(st pipeline.Stage) string {
	text := st.What
	if st.Lane == pipeline.Vectors {
		text, _, _ = strings.Cut(text, " of ")
	}
	return s.redact(text)
}
