package telemetry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"outgrow/pipeline"
)

// scope names this program as the one that made the spans and figures.
const scope = "outgrow"

// outlets are the exporters of a hub; nil for what is not sent.
type outlets struct {
	traces  sdktrace.SpanExporter
	metrics metric.Exporter
}

// exporters opens those of OTLP. They read their other variables (endpoint,
// headers, certificates, timeouts, compression) themselves, and connect when
// there is something to be sent.
func exporters(ctx context.Context, traces, metrics string, failed func(error)) (out outlets, err error) {
	// The SDK would log variables that it cannot read, with their values, and
	// print errors into the display of the run.
	otel.SetLogger(logr.Discard())
	otel.SetErrorHandler(otel.ErrorHandlerFunc(failed))
	var terr, merr error
	switch traces {
	case protocolGRPC:
		out.traces, terr = otlptracegrpc.New(ctx)
	case protocolHTTP:
		out.traces, terr = otlptracehttp.New(ctx)
	}
	switch metrics {
	case protocolGRPC:
		out.metrics, merr = otlpmetricgrpc.New(ctx)
	case protocolHTTP:
		out.metrics, merr = otlpmetrichttp.New(ctx)
	}
	// A failed constructor gives a nil pointer, which is no nil interface.
	if terr != nil {
		out.traces = nil
	}
	if merr != nil {
		out.metrics = nil
	}
	return out, errors.Join(terr, merr)
}

// quietSpans and quietMetrics hand errors to the hub; the SDK would print them
// into the display of the run.
type quietSpans struct {
	sdktrace.SpanExporter
	failed func(error)
}

func (q quietSpans) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	q.failed(q.SpanExporter.ExportSpans(ctx, spans))
	return nil
}

type quietMetrics struct {
	metric.Exporter
	failed func(error)
}

func (q quietMetrics) Export(ctx context.Context, m *metricdata.ResourceMetrics) error {
	q.failed(q.Exporter.Export(ctx, m))
	return nil
}

// sender sends the spans and the figures of a hub. A nil sender makes spans that
// go nowhere.
type sender struct {
	hub    *Hub
	traces *sdktrace.TracerProvider // nil where none are sent
	meters *metric.MeterProvider    // nil where none are sent
	root   trace.Span
}

func newSender(ctx context.Context, h *Hub, out outlets) *sender {
	res, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "outgrow"), attribute.String("service.version", h.cfg.Version)),
		resource.WithFromEnv()) // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word
	if err != nil {
		h.failed(err)
	}
	s := &sender{hub: h}
	if out.traces != nil {
		s.traces = sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(quietSpans{out.traces, h.failed}))
	}
	if out.metrics != nil {
		s.meters = metric.NewMeterProvider(metric.WithResource(res),
			metric.WithReader(metric.NewPeriodicReader(quietMetrics{out.metrics, h.failed}, metric.WithProducer(h))))
	}
	s.root = s.span(context.Background(), "outgrow "+h.cfg.Command, h.began)
	s.root.SetAttributes(attribute.String("outgrow.command", h.cfg.Command))
	return s
}

func (s *sender) tracing() bool { return s != nil && s.traces != nil }

func (s *sender) span(ctx context.Context, name string, from time.Time) trace.Span {
	if !s.tracing() {
		_, span := noop.NewTracerProvider().Tracer(scope).Start(ctx, name)
		return span
	}
	_, span := s.traces.Tracer(scope).Start(ctx, name, trace.WithTimestamp(from))
	return span
}

// child is a span below another; nil for below the command.
func (s *sender) child(of trace.Span, name string, from time.Time) trace.Span {
	if of == nil && s != nil {
		of = s.root
	}
	return s.span(trace.ContextWithSpan(context.Background(), of), name, from)
}

// close ends the command's span and sends what is left, until ctx is done.
func (s *sender) close(ctx context.Context, exit int) {
	s.root.SetAttributes(attribute.Int("outgrow.exit_code", exit))
	fail(s.root, exit)
	s.root.End()
	var wg sync.WaitGroup
	if s.traces != nil {
		wg.Go(func() { s.hub.failed(s.traces.Shutdown(ctx)) })
	}
	if s.meters != nil {
		wg.Go(func() { s.hub.failed(s.meters.Shutdown(ctx)) })
	}
	wg.Wait()
}

// fail marks a span of what did not end well, in a word: texts of errors may
// hold names and addresses.
func fail(span trace.Span, exit int) {
	word := ""
	switch exit {
	case pipeline.ExitOK:
		return
	case pipeline.ExitUsage:
		word = "refused"
	case pipeline.ExitEnvironment:
		word = "environment"
	case pipeline.ExitDiffers:
		word = "differs"
	case pipeline.ExitStopped:
		word = "stopped"
	default:
		word = "failed"
	}
	span.SetAttributes(attribute.String("error.type", word))
	span.SetStatus(codes.Error, word)
}

// Produce gives the figures to the periodic reader.
func (h *Hub) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	all, now := h.figures(), time.Now()
	if len(all) == 0 {
		return nil, nil
	}
	out := metricdata.ScopeMetrics{Scope: instrumentation.Scope{Name: scope, Version: h.cfg.Version}}
	for _, m := range every() {
		points := make([]metricdata.DataPoint[int64], len(all))
		for i, l := range all {
			points[i] = metricdata.DataPoint[int64]{Attributes: l.set(), StartTime: h.began, Time: now, Value: m.of(l.figures)}
		}
		var data metricdata.Aggregation = metricdata.Gauge[int64]{DataPoints: points}
		if m.counter {
			data = metricdata.Sum[int64]{DataPoints: points, Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
		}
		out.Metrics = append(out.Metrics, metricdata.Metrics{Name: m.name, Description: m.help, Unit: m.unit, Data: data})
	}
	points := make([]metricdata.HistogramDataPoint[float64], len(all))
	for i, l := range all {
		p := metricdata.HistogramDataPoint[float64]{Attributes: l.set(), StartTime: h.began, Time: now, Bounds: pipeline.DurationBounds(), Sum: l.took.Seconds()}
		for _, n := range l.batches {
			p.BucketCounts = append(p.BucketCounts, uint64(n))
			p.Count += uint64(n)
		}
		points[i] = p
	}
	out.Metrics = append(out.Metrics, metricdata.Metrics{Name: durationName, Description: durationHelp, Unit: "s",
		Data: metricdata.Histogram[float64]{DataPoints: points, Temporality: metricdata.CumulativeTemporality}})
	return []metricdata.ScopeMetrics{out}, nil
}

func (l line) set() attribute.Set {
	return attribute.NewSet(attribute.String(attrStep, l.step), attribute.String(attrLane, string(l.lane)))
}
