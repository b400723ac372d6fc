package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"outgrow/mappings/doctor"
	"outgrow/mappings/env"
)

// export is where one signal goes, as Open WebUI sends it (env.py,
// utils/telemetry).
type export struct {
	signal, service string // of the path and of gRPC
	name, address   string // the variable and its value
	http, insecure  bool
	basic           env.Secret // user:password, "" for none
}

// signals are the kinds of telemetry: the variable that turns one on, the infix
// of its other variables, the path and the gRPC method.
var signals = [...]struct{ on, infix, path, service string }{
	{"ENABLE_OTEL_TRACES", "", "traces", "trace.v1.TraceService"},
	{"ENABLE_OTEL_METRICS", "METRICS_", "metrics", "metrics.v1.MetricsService"},
	{"ENABLE_OTEL_LOGS", "LOGS_", "logs", "logs.v1.LogsService"},
}

// endpoints lists what is turned on. Variables of metrics and logs inherit those
// of traces.
func endpoints(d env.Deployment) []export {
	on := func(name string) bool { return strings.EqualFold(get(d, name, ""), "true") }
	if !on("ENABLE_OTEL") {
		return nil
	}
	var out []export
	for _, s := range signals {
		if !on(s.on) {
			continue
		}
		inherits := func(name, def string) (string, string) {
			own, base := "OTEL_"+s.infix+name, "OTEL_"+name
			if v, ok := d.Vars[own]; ok {
				return own, v.Reveal()
			}
			return base, get(d, base, def)
		}
		e := export{signal: s.path, service: s.service}
		e.name, e.address = inherits("EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")
		_, plain := inherits("EXPORTER_OTLP_INSECURE", "false")
		e.insecure = strings.EqualFold(plain, "true")
		_, protocol := inherits("OTLP_SPAN_EXPORTER", "grpc")
		e.http = strings.EqualFold(protocol, "http")
		_, user := inherits("BASIC_AUTH_USERNAME", "")
		_, password := inherits("BASIC_AUTH_PASSWORD", "")
		if user != "" && password != "" {
			e.basic = env.Secret(user + ":" + password)
		}
		out = append(out, e)
	}
	return out
}

// endpoint sends an empty export. What cannot be connected to is down; what
// answers otherwise is a problem of the variables.
func (p *prober) endpoint(ctx context.Context, e export) *doctor.Endpoint {
	out := &doctor.Endpoint{Server: doctor.Server{Name: e.name, Kind: "collector"}, Protocol: "grpc"}
	if e.http {
		out.Protocol = "http"
	}
	u, host, err := e.place()
	if err == nil {
		var c net.Conn
		if c, err = (&net.Dialer{}).DialContext(ctx, "tcp", host); err == nil {
			err = c.Close()
		}
	}
	if err != nil {
		out.Down = p.why(ctx, err)
		return out
	}
	send := e.grpc
	if e.http {
		send = e.post
	}
	if err := send(ctx, u, host); err != nil {
		out.Problem = p.why(ctx, err)
	}
	return out
}

var errEndpoint = errors.New("is no address")

// place takes the address apart: gRPC takes it without a scheme, too.
func (e export) place() (*url.URL, string, error) {
	raw := e.address
	if !e.http && !strings.Contains(raw, "://") {
		raw = "//" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return nil, "", errEndpoint
	}
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case e.http:
		port = "80"
	default:
		port = "4317"
	}
	return u, net.JoinHostPort(u.Hostname(), port), nil
}

func (e export) header() string {
	if e.basic == "" {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(e.basic.Reveal()))
}

// grpc calls the method with an empty message, which a collector takes. Whether
// it is encrypted is told by https:// and by OTEL_EXPORTER_OTLP_INSECURE alone.
func (e export) grpc(ctx context.Context, u *url.URL, host string) error {
	creds := insecure.NewCredentials()
	if u.Scheme == "https" || !e.insecure {
		creds = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	conn, err := grpc.NewClient("passthrough:///"+host, grpc.WithTransportCredentials(creds))
	if err != nil {
		return err
	}
	defer conn.Close()
	if h := e.header(); h != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", h)
	}
	return conn.Invoke(ctx, "/opentelemetry.proto.collector."+e.service+"/Export", &emptypb.Empty{}, &emptypb.Empty{})
}

// post sends an empty body to the address as it is: Open WebUI adds no path.
func (e export) post(ctx context.Context, u *url.URL, _ string) error {
	for _, s := range signals {
		if s.path != e.signal && strings.HasSuffix(u.Path, "/v1/"+s.path) {
			return fmt.Errorf("the path is that of %s, and %s are sent there, too", s.path, e.signal)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.address, bytes.NewReader(nil))
	if err != nil {
		return errEndpoint
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if h := e.header(); h != "" {
		req.Header.Set("Authorization", h)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16))
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %s", res.Status)
	}
	return nil
}
