package doctor

import "strings"

func telemetryChecks() []check {
	return []check{
		{"D57", Must, "OTEL_EXPORTER_OTLP_INSECURE", "true for an endpoint without TLS: http:// alone does not say so to the gRPC exporter", "nothing arrives at the collector: it is spoken to in TLS",
			func(f Facts) verdict {
				endpoint, given := f.Vars["OTEL_EXPORTER_OTLP_ENDPOINT"]
				plain := !given || strings.HasPrefix(endpoint.Reveal(), "http://")
				traces := f.is("ENABLE_OTEL", false) && f.is("ENABLE_OTEL_TRACES", false)
				return when(traces && plain && !strings.EqualFold(f.get("OTEL_OTLP_SPAN_EXPORTER"), "http") && !f.is("OTEL_EXPORTER_OTLP_INSECURE", false), "not true", "OTEL_EXPORTER_OTLP_INSECURE=true")
			}, false},
		{"D57", Should, "ENABLE_OTEL_TRACES, ENABLE_OTEL_METRICS, ENABLE_OTEL_LOGS", "at least one of them true: ENABLE_OTEL alone sends nothing", "no traces, metrics or logs",
			func(f Facts) verdict {
				return when(f.is("ENABLE_OTEL", false) && !f.is("ENABLE_OTEL_TRACES", false) && !f.is("ENABLE_OTEL_METRICS", false) && !f.is("ENABLE_OTEL_LOGS", false), "none is true", "ENABLE_OTEL_TRACES=true")
			}, false},
	}
}
