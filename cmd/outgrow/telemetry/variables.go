package telemetry

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
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
	if name := s.name(signal, "ENDPOINT"); !address(s[name]) {
		return "", name + " is no address such as http://collector:4318: nothing is sent"
	}
	name := s.name(signal, "PROTOCOL")
	switch p := strings.ToLower(strings.TrimSpace(s[name])); p {
	case "", protocolHTTP:
		return protocolHTTP, ""
	case protocolGRPC:
		return p, ""
	}
	return "", name + " is neither grpc nor http/protobuf: nothing is sent"
}

// name is the variable that counts for a signal: its own, or that of all.
func (s settings) name(signal, what string) string {
	if own := "OTEL_EXPORTER_OTLP_" + signal + "_" + what; s[own] != "" {
		return own
	}
	return "OTEL_EXPORTER_OTLP_" + what
}

// address reports whether the exporters understand an endpoint. What they do not
// they replace by https://localhost, without a word.
func address(endpoint string) bool {
	if endpoint == "" {
		return true // localhost is the specification's default
	}
	u, err := url.Parse(endpoint)
	return err == nil && (u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") || u.Scheme == "unix")
}

// The last figures may take closing to be sent, or what the operator allows the
// exporters, up to longest.
const (
	closing = 3 * time.Second
	longest = time.Minute
)

// patience is how long the last figures may take to be sent.
func (s settings) patience() time.Duration {
	out := closing
	for _, signal := range []string{"", "TRACES_", "METRICS_"} {
		if ms, err := strconv.ParseUint(strings.TrimSpace(s["OTEL_EXPORTER_OTLP_"+signal+"TIMEOUT"]), 10, 31); err == nil {
			out = max(out, time.Duration(ms)*time.Millisecond)
		}
	}
	return min(out, longest)
}

// longestNote bounds what a collector's answer may add to the operator's screen.
const longestNote = 400

// hide makes the text of an exporter's error fit for the operator's screen: what
// headers and addresses hold of keys is taken out, and so is what would move the
// cursor, as some of it comes from the other side.
func (s settings) hide(text string) string {
	var secrets []string
	for name, value := range s {
		switch {
		case strings.HasSuffix(name, "HEADERS"):
			for _, pair := range strings.Split(value, ",") {
				if _, v, ok := strings.Cut(pair, "="); ok {
					pair = v
				}
				secrets = append(secrets, strings.TrimSpace(pair))
			}
		case strings.HasSuffix(name, "ENDPOINT"):
			secrets = append(secrets, ofAddress(value)...)
		}
	}
	for _, v := range slices.Clone(secrets) {
		if plain, err := url.PathUnescape(v); err == nil {
			secrets = append(secrets, plain)
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, v := range secrets {
		if v != "" {
			text = strings.ReplaceAll(text, v, "***")
		}
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if r := []rune(text); len(r) > longestNote {
		text = string(r[:longestNote]) + "…"
	}
	return text
}

// ofAddress gives what an address may hold of secrets, as it is written: its
// user and password, and its query.
func ofAddress(address string) []string {
	rest, query, _ := strings.Cut(address, "?")
	if _, after, ok := strings.Cut(rest, "://"); ok {
		rest = after
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return []string{query}
	}
	_, password, _ := strings.Cut(rest[:at], ":")
	return []string{query, rest[:at], password}
}
