package telemetry

import (
	"net/url"
	"slices"
	"strings"
)

// settings are the OTEL_* variables of an environment.
type settings map[string]string

func variables(environ []string) settings {
	s := settings{}
	for _, line := range environ {
		if name, value, ok := strings.Cut(line, "="); ok && strings.HasPrefix(name, "OTEL_") {
			s[name] = value
		}
	}
	return s
}

// The protocols of OTLP that are spoken. The specification's default is the
// second.
const (
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
)

// protocol decides whether a signal (TRACES, METRICS) is sent, and how: "" for
// not at all. note says which setting is not understood; a run does not end for
// that. The names are those of the OpenTelemetry specification; unlike there,
// nothing is sent unless an endpoint or an exporter is named.
func (s settings) protocol(signal string) (protocol, note string) {
	if strings.EqualFold(strings.TrimSpace(s["OTEL_SDK_DISABLED"]), "true") {
		return "", ""
	}
	exporter := "OTEL_" + signal + "_EXPORTER"
	switch strings.ToLower(strings.TrimSpace(s[exporter])) {
	case "none":
		return "", ""
	case "otlp":
	case "":
		if s["OTEL_EXPORTER_OTLP_ENDPOINT"] == "" && s["OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT"] == "" {
			return "", ""
		}
	default:
		note = exporter + " is neither otlp nor none: nothing is sent"
		if signal == "METRICS" {
			note += "; for Prometheus there is --metrics-addr"
		}
		return "", note
	}
	name := "OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL"
	if s[name] == "" {
		name = "OTEL_EXPORTER_OTLP_PROTOCOL"
	}
	switch p := strings.ToLower(strings.TrimSpace(s[name])); p {
	case "", protocolHTTP:
		return protocolHTTP, ""
	case protocolGRPC:
		return p, ""
	}
	return "", name + " is neither grpc nor http/protobuf: nothing is sent"
}

// hide takes the values of headers out of a text: they hold keys.
func (s settings) hide(text string) string {
	var secrets []string
	for name, value := range s {
		if !strings.HasSuffix(name, "HEADERS") {
			continue
		}
		for _, pair := range strings.Split(value, ",") {
			_, v, _ := strings.Cut(pair, "=")
			v = strings.TrimSpace(v)
			secrets = append(secrets, v)
			if plain, err := url.PathUnescape(v); err == nil {
				secrets = append(secrets, plain)
			}
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, v := range secrets {
		if v != "" {
			text = strings.ReplaceAll(text, v, "***")
		}
	}
	return text
}
