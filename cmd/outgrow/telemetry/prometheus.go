package telemetry

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"

	"outgrow/pipeline"
)

// Address is the address that --metrics-addr means: a port of this machine's
// loopback. Another is refused: the page asks for no password and is not
// encrypted, and what watches from elsewhere is served by OpenTelemetry.
func Address(given string) (string, error) {
	usage := func(err error) error {
		return pipeline.Usage("reading --metrics-addr", err, "write a port, 9464, for 127.0.0.1:9464; to watch from another machine set OTEL_EXPORTER_OTLP_ENDPOINT, or forward the port (ssh -L, kubectl port-forward)")
	}
	if !strings.Contains(given, ":") {
		given = ":" + given
	}
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		return "", usage(err)
	}
	if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
		return "", usage(errors.Join(errors.New("that is no port"), err))
	}
	switch ip := net.ParseIP(host); {
	case host == "" || strings.EqualFold(host, "localhost"):
		host = "127.0.0.1" // not what a resolver makes of the name
	case ip == nil || !ip.IsLoopback():
		return "", usage(errors.New("metrics are served on loopback only: they have no password"))
	}
	return net.JoinHostPort(host, port), nil
}

// server serves the figures as Prometheus text at /metrics, for as long as the
// command takes.
type server struct {
	url  string
	http *http.Server
	done chan struct{}
}

func listen(given string, h *Hub) (*server, error) {
	address, err := Address(given)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, pipeline.Environment("serving metrics at "+address, err, "name another port with --metrics-addr; port 0 takes any that is free")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", h.serve)
	s := &server{url: "http://" + l.Addr().String() + "/metrics", done: make(chan struct{}),
		http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // until close
	}()
	return s, nil
}

func (s *server) close() {
	_ = s.http.Close()
	<-s.done
}

func (h *Hub) serve(w http.ResponseWriter, _ *http.Request) {
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	w.Header().Set("Content-Type", string(format))
	enc := expfmt.NewEncoder(w, format)
	for _, f := range h.families() {
		if err := enc.Encode(f); err != nil {
			return // whoever asked is gone
		}
	}
}

// families are the figures in Prometheus' terms.
func (h *Hub) families() []*dto.MetricFamily {
	all := h.figures()
	out := []*dto.MetricFamily{{Name: proto.String("outgrow_info"), Help: proto.String("The command that runs."), Type: dto.MetricType_GAUGE.Enum(),
		Metric: []*dto.Metric{{Label: []*dto.LabelPair{label("command", h.cfg.Command), label("version", h.cfg.Version)}, Gauge: &dto.Gauge{Value: proto.Float64(1)}}}}}
	if len(all) == 0 {
		return out
	}
	for _, m := range every() {
		f := &dto.MetricFamily{Name: proto.String(m.prometheus), Help: proto.String(m.help), Type: dto.MetricType_GAUGE.Enum()}
		if m.counter {
			f.Type = dto.MetricType_COUNTER.Enum()
		}
		for _, l := range all {
			v := proto.Float64(float64(m.of(l.figures)))
			one := &dto.Metric{Label: l.labels()}
			if m.counter {
				one.Counter = &dto.Counter{Value: v}
			} else {
				one.Gauge = &dto.Gauge{Value: v}
			}
			f.Metric = append(f.Metric, one)
		}
		out = append(out, f)
	}
	durations := &dto.MetricFamily{Name: proto.String(durationPrometheus), Help: proto.String(durationHelp), Type: dto.MetricType_HISTOGRAM.Enum()}
	for _, l := range all {
		durations.Metric = append(durations.Metric, &dto.Metric{Label: l.labels(), Histogram: l.histogram()})
	}
	return append(out, durations)
}

func label(name, value string) *dto.LabelPair {
	return &dto.LabelPair{Name: proto.String(name), Value: proto.String(value)}
}

func (l line) labels() []*dto.LabelPair {
	return []*dto.LabelPair{label("step", l.step), label("lane", string(l.lane))}
}

// histogram has cumulative buckets, as Prometheus wants them.
func (l line) histogram() *dto.Histogram {
	h, sum := &dto.Histogram{SampleSum: proto.Float64(l.took.Seconds())}, uint64(0)
	for i, bound := range pipeline.DurationBounds() {
		sum += uint64(l.batches[i])
		h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: proto.Float64(bound), CumulativeCount: proto.Uint64(sum)})
	}
	h.SampleCount = proto.Uint64(sum + uint64(l.batches[len(l.batches)-1]))
	return h
}
