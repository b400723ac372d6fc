package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
)

func TestProtocol(t *testing.T) {
	t.Parallel()
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"
	for environ, want := range map[string][2]string{
		"": {},
		"OTEL_SERVICE_NAME=x OTEL_EXPORTER_OTLP_HEADERS=a=b": {},
		endpoint:                                                               {protocolHTTP, protocolHTTP},
		endpoint + " OTEL_SDK_DISABLED=TRUE":                                   {},
		endpoint + " OTEL_TRACES_EXPORTER=none":                                {"", protocolHTTP},
		endpoint + " OTEL_METRICS_EXPORTER=prometheus":                         {protocolHTTP, "note: OTEL_METRICS_EXPORTER"},
		endpoint + " OTEL_EXPORTER_OTLP_PROTOCOL=grpc":                         {protocolGRPC, protocolGRPC},
		endpoint + " OTEL_EXPORTER_OTLP_PROTOCOL=http/json":                    {"note: OTEL_EXPORTER_OTLP_PROTOCOL", "note: OTEL_EXPORTER_OTLP_PROTOCOL"},
		"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc":    {protocolGRPC, ""},
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://127.0.0.1:4318/v1/metrics": {"", protocolHTTP},
		"OTEL_EXPORTER_OTLP_ENDPOINT= OTEL_TRACES_EXPORTER=":                   {},
		"OTEL_EXPORTER_OTLP_ENDPOINT=127.0.0.1:4317":                           {"note: OTEL_EXPORTER_OTLP_ENDPOINT", "note: OTEL_EXPORTER_OTLP_ENDPOINT"},
		endpoint + " OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=collector:4317":        {"note: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", protocolHTTP},
		"OTEL_EXPORTER_OTLP_ENDPOINT=https://[::1]:4318/a":                     {protocolHTTP, protocolHTTP},
	} {
		vars := variables(strings.Fields(environ))
		for i, signal := range []string{"TRACES", "METRICS"} {
			got, note := vars.protocol(signal)
			if note != "" {
				name, _, _ := strings.Cut(note, " ")
				got = "note: " + name
			}
			if got != want[i] {
				t.Errorf("%q, %s: %q, want %q", environ, signal, got, want[i])
			}
		}
	}
}

// Without a word from the operator there is nothing, and nothing of it fails.
func TestOff(t *testing.T) {
	t.Parallel()
	h, err := Start(Config{Command: "migrate", Environ: []string{"PATH=/bin"}})
	if h != nil || err != nil {
		t.Fatalf("%v, %v", h, err)
	}
	s, ran := h.Section("migrate", &pipeline.Meter{}, nil), false
	s.Run("7f3a", false)
	if err := s.Lane(pipeline.Rows, func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("%v, ran %t", err, ran)
	}
	s.End(nil)
	h.Span("stop", time.Now())
	if h.URL() != "" || h.Close(0) != nil {
		t.Error("a hub that is off says something")
	}
}

func TestHide(t *testing.T) {
	t.Parallel()
	vars := variables([]string{"OTEL_EXPORTER_OTLP_HEADERS=api-key=k3y%20value,x=plain, alone", "OTEL_EXPORTER_OTLP_ENDPOINT=http://h",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://me:p%40ss@traces/v1?token=t0ken", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=me:p4ss@address"})
	for text, want := range map[string]string{
		"k3y%20value, k3y value, plain and alone to http://h": "***, ***, *** and *** to http://h",
		"to https://me:p%40ss@traces/v1?token=t0ken: refused": "to https://***@traces/v1?***: refused",
		"p@ss for me, p4ss for another":                       "*** for me, *** for another",
		"\x1b[2Jgone\nand on":                                 " [2Jgone and on",
		strings.Repeat("ü", 1000):                             strings.Repeat("ü", longestNote) + "…",
	} {
		if got := vars.hide(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestPatience(t *testing.T) {
	t.Parallel()
	for environ, want := range map[string]time.Duration{
		"": closing, "OTEL_EXPORTER_OTLP_TIMEOUT=20000": 20 * time.Second, "OTEL_EXPORTER_OTLP_TIMEOUT=10": closing, "OTEL_EXPORTER_OTLP_TIMEOUT=soon": closing,
		"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT=5000 OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=4000": 5 * time.Second, "OTEL_EXPORTER_OTLP_TIMEOUT=2000000000": longest,
	} {
		if got := variables(strings.Fields(environ)).patience(); got != want {
			t.Errorf("%q: %v, want %v", environ, got, want)
		}
	}
}

// A command that moves nothing opens no exporter and says nothing of a setting
// that is not understood.
func TestNothingToTell(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"OTEL_TRACES_EXPORTER=console", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"} {
		h, err := Start(Config{Command: "version", Environ: []string{v}})
		if err != nil {
			t.Fatal(err)
		}
		if notes := h.Close(0); notes != nil || h.send != nil {
			t.Errorf("%s: %q, exporters open: %t", v, notes, h.send != nil)
		}
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"9464": "127.0.0.1:9464", ":9464": "127.0.0.1:9464", "0": "127.0.0.1:0", "localhost:9464": "127.0.0.1:9464", "127.0.0.2:9464": "127.0.0.2:9464", "[::1]:9464": "[::1]:9464",
		"0.0.0.0:9464": "", "[::]:9464": "", "10.0.0.5:9464": "", "some-host:9464": "", "10.0.0.5": "", "10.0.0.5:": "", "::1": "", "99999": "", "http://x:1": "",
	} {
		got, err := Address(given)
		if got != want || (err == nil) != (want != "") || want == "" && pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("%q: %q, %v; want %q", given, got, err, want)
		}
	}
}

// copied moves n rows and tells a section of it.
func copied(t *testing.T, h *Hub, n int) {
	t.Helper()
	table := &pipeline.Table{Name: "t", Columns: []string{"id"}, Key: []int{0}}
	e := pipetest.Expected[*pipeline.Row]{Unit: pipeline.Unit{Lane: pipeline.Rows, Name: "t", Label: "HR handbook", Records: int64(n)}}
	for i := range n {
		e.Records = append(e.Records, &pipeline.Row{Table: table, Values: []any{fmt.Sprintf("%03d", i)}})
	}
	journal, meter := (&pipetest.MemoryState{}).Open(), &pipeline.Meter{}
	if _, err := journal.Begin(t.Context(), pipeline.Run{ID: "r"}); err != nil {
		t.Fatal(err)
	}
	s := h.Section("migrate", meter, nil)
	s.Run("7f3a", false)
	err := s.Lane(pipeline.Rows, func() error {
		return pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Row]{Source: pipetest.NewMemory(pipeline.Limits{Records: 9}, e),
			Sink: pipetest.NewMemory[*pipeline.Row](pipeline.Limits{}), Journal: journal, Meter: meter})
	})
	if err != nil {
		t.Fatal(err)
	}
	s.End(nil)
}

// scrape reads a page of metrics by Prometheus' own parser.
func scrape(t *testing.T, url string) map[string]*dto.MetricFamily {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%s, %s", r.Status, r.Header.Get("Content-Type"))
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func labelsOf(m *dto.Metric) map[string]string {
	out := map[string]string{}
	for _, l := range m.GetLabel() {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

func TestPrometheus(t *testing.T) {
	t.Parallel()
	h, err := Start(Config{Command: "cutover", Version: "1.2", Metrics: "0"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(h.URL(), "http://127.0.0.1:") {
		t.Fatal(h.URL())
	}
	all := scrape(t, h.URL())
	if info := all["outgrow_info"]; len(all) != 1 || !maps.Equal(labelsOf(info.GetMetric()[0]), map[string]string{"command": "cutover", "version": "1.2"}) {
		t.Errorf("%v", all)
	}
	copied(t, h, 40)
	copied(t, h, 10) // counters grow on, progress is that of the last
	all = scrape(t, h.URL())
	want := map[string]string{"step": "migrate", "lane": "rows"}
	for name, value := range map[string]float64{
		"outgrow_records_read_total": 50, "outgrow_records_written_total": 50, "outgrow_records_refused_total": 0, "outgrow_retries_total": 0,
		"outgrow_progress_records": 10, "outgrow_progress_records_expected": 10, "outgrow_progress_units": 1, "outgrow_progress_units_expected": 1,
	} {
		f := all[name]
		if len(f.GetMetric()) != 1 || f.GetHelp() == "" || !maps.Equal(labelsOf(f.GetMetric()[0]), want) {
			t.Errorf("%s: %v", name, f)
			continue
		}
		got, kind := f.GetMetric()[0].GetGauge().GetValue(), dto.MetricType_GAUGE
		if strings.HasSuffix(name, "_total") {
			got, kind = f.GetMetric()[0].GetCounter().GetValue(), dto.MetricType_COUNTER
		}
		if got != value || f.GetType() != kind {
			t.Errorf("%s: %v %v, want %v", name, f.GetType(), got, value)
		}
	}
	if b := all["outgrow_read_bytes_total"].GetMetric()[0].GetCounter().GetValue(); b <= 0 {
		t.Errorf("%v bytes", b)
	}
	d := all["outgrow_batch_duration_seconds"].GetMetric()[0].GetHistogram()
	if d.GetSampleCount() != 7 || d.GetSampleSum() <= 0 || len(d.GetBucket()) != len(pipeline.DurationBounds())+1 { // with +Inf
		t.Errorf("%v", d)
	}
	r, err := http.Get(strings.TrimSuffix(h.URL(), "metrics"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	if r.StatusCode != http.StatusNotFound {
		t.Errorf("beside /metrics: %s", r.Status)
	}
	if notes := h.Close(0); notes != nil {
		t.Errorf("%q", notes)
	}
	if r, err := http.Get(h.URL()); err == nil {
		_ = r.Body.Close()
		t.Error("it is still served after the end")
	}
}

// kept keeps spans beyond the end of the exporter.
type kept struct{ *tracetest.InMemoryExporter }

func (kept) Shutdown(context.Context) error { return nil }

// sent is a hub whose spans a test can read.
func sent(t *testing.T) (*Hub, kept) {
	t.Helper()
	h := &Hub{cfg: Config{Command: "migrate", Version: "1.2"}, began: time.Now(), past: map[series]*figures{}, done: make(chan struct{})}
	spans := kept{tracetest.NewInMemoryExporter()}
	h.start(t.Context(), outlets{traces: spans})
	return h, spans
}

func attributes(s tracetest.SpanStub) map[string]string {
	out := map[string]string{}
	for _, a := range s.Attributes {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}

func TestSpans(t *testing.T) {
	t.Parallel()
	h, spans := sent(t)
	copied(t, h, 40)
	h.Span("stop", time.Now().Add(-time.Second))
	if notes := h.Close(pipeline.ExitDiffers); notes != nil {
		t.Errorf("%q", notes)
	}
	byName, names := map[string]tracetest.SpanStub{}, map[string]string{}
	for _, s := range spans.GetSpans() {
		byName[s.Name], names[s.SpanContext.SpanID().String()] = s, s.Name
	}
	for name, parent := range map[string]string{"outgrow migrate": "", "migrate": "outgrow migrate", "rows": "migrate", "unit": "rows", "stop": "outgrow migrate"} {
		s, ok := byName[name]
		if !ok || names[s.Parent.SpanID().String()] != parent || s.EndTime.Before(s.StartTime) {
			t.Errorf("%s: %t, below %q, want %q; %v to %v", name, ok, names[s.Parent.SpanID().String()], parent, s.StartTime, s.EndTime)
		}
	}
	unit := attributes(byName["unit"])
	for name, want := range map[string]string{"outgrow.unit": "t", "outgrow.lane": "rows", "outgrow.records.read": "40", "outgrow.records.written": "40", "outgrow.complete": "true"} {
		if unit[name] != want {
			t.Errorf("%s: %q, want %q", name, unit[name], want)
		}
	}
	root := byName["outgrow migrate"]
	if a := attributes(root); root.Status.Code != codes.Error || a["error.type"] != "differs" || a["outgrow.exit_code"] != "4" || a["outgrow.command"] != "migrate" {
		t.Errorf("%v %v", root.Status, a)
	}
	if a := attributes(byName["migrate"]); a["outgrow.run"] != "7f3a" || byName["migrate"].Status.Code == codes.Error {
		t.Errorf("%v %v", a, byName["migrate"].Status)
	}
	if got := fmt.Sprint(spans.GetSpans()); strings.Contains(got, "handbook") {
		t.Error("a label left the machine")
	}
}

// Names that people gave, secrets and texts of errors stay here; and however
// many units there are, the spans are few.
func TestSpansTellNoSecret(t *testing.T) {
	t.Parallel()
	h, spans := sent(t)
	meter := &pipeline.Meter{}
	s := h.Section("migrate", meter, func(text string) string { return strings.ReplaceAll(text, "geheim", "***") })
	const own = "file-0a6b8e1c-1111-4222-8333-444455556666"
	err := s.Lane(pipeline.Vectors, func() error {
		for _, name := range []string{own, "Kündigung Meier"} {
			c := meter.Unit(pipeline.Unit{Lane: pipeline.Vectors, Name: name})
			c.Begin()
			c.End()
		}
		meter.Step(pipeline.Vectors, "building the vector index of Kündigung Meier: 3 %")
		for i := range 700 {
			meter.Unit(pipeline.Unit{Lane: pipeline.Vectors, Name: fmt.Sprintf("user-memory-%08d-0000-4000-8000-000000000000", i)}).Begin()
		}
		return pipeline.Environment("connecting to db-host", errors.New("password geheim refused"), "see /srv/data")
	})
	if pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Fatal(err)
	}
	err = s.Lane(pipeline.Files, func() error {
		c := meter.Unit(pipeline.Unit{Lane: pipeline.Files, Name: "cache/geheim"})
		c.Begin()
		c.End()
		return nil
	})
	s.End(err)
	h.Close(pipeline.ExitEnvironment)
	units, names, lane := 0, map[string]bool{}, tracetest.SpanStub{}
	for _, span := range spans.GetSpans() {
		a := attributes(span)
		switch span.Name {
		case "unit":
			units++
			names[a["outgrow.unit"]] = true
		case "vectors":
			lane = span
		case "finish":
			names[a["outgrow.stage"]] = true
		}
		for _, word := range []string{"geheim", "Meier", "db-host", "/srv"} {
			if strings.Contains(fmt.Sprint(span.Name, a, span.Status, span.Events), word) {
				t.Errorf("%s holds %s: %v %v", span.Name, word, a, span.Status)
			}
		}
	}
	if a := attributes(lane); units != mostUnits+1 || a["outgrow.units.without_span"] != "202" || lane.Status.Description != "environment" {
		t.Errorf("%d spans of units, %v, %v", units, a, lane.Status)
	}
	for _, name := range []string{own, "building the vector index", "cache/***"} {
		if !names[name] {
			t.Errorf("nothing of %s", name)
		}
	}
}

// A collector that does not answer costs a run a few seconds at its end, and a
// line.
func TestNobodyListens(t *testing.T) {
	h, err := Start(Config{Command: "plan", Environ: []string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_HEADERS=k=headerkey"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	s := h.Section("plan", &pipeline.Meter{}, nil)
	s.End(nil)
	began := time.Now()
	notes := h.Close(0)
	if len(notes) != 1 || !strings.Contains(notes[0], "could not all be sent") || strings.Contains(notes[0], "headerkey") {
		t.Errorf("%q", notes)
	}
	if took := time.Since(began); took > 10*closing {
		t.Errorf("it took %v", took)
	}
}
