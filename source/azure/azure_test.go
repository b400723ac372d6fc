package azure

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/env"
	layout "outgrow/mappings/files"
	store "outgrow/mappings/objects"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	"outgrow/source/objects"
	"outgrow/testdata/servers"
)

var uploads = pipeline.Unit{Lane: pipeline.Files, Name: layout.Uploads}

// container makes a container, with a function that stores objects in it.
func container(t testing.TB, s *servers.AzureServer) (env.AzureConfig, func(key string, body []byte)) {
	t.Helper()
	cfg := env.AzureConfig{Endpoint: s.Endpoint, Container: s.Container(t), Key: env.Secret(s.Key)}
	client := s.Client(t)
	return cfg, func(key string, body []byte) {
		if _, err := client.UploadBuffer(context.Background(), cfg.Container, key, body, nil); err != nil {
			t.Fatalf("storing %q: %v", key, err)
		}
	}
}

func open(t testing.TB, cfg env.AzureConfig, l pipeline.Limits) *objects.Source {
	t.Helper()
	s, err := Open(context.Background(), cfg, objects.Config{Limits: l, Spool: t.TempDir(), Stable: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func random(bytes int) []byte {
	body := make([]byte, bytes)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(body)
	return body
}

func TestConformance(t *testing.T) {
	cfg, put := container(t, servers.Azure(t))
	names := []string{"a b%20c+d&e#f?.md", "naïve café (1).txt", "年度报告.txt", "emoji 🚀.md", "tab\tnew\nline", `back\slash`, strings.Repeat("n", 255),
		"100%", "=", "trailing. ", "trailing.", "cafe\u0301", "caf\u00e9", "empty"}
	e := pipetest.Expected[*pipeline.Object]{Unit: uploads}
	for i, n := range names {
		body := random(i * 1000)
		if n == "empty" {
			body = nil
		}
		put(n, body)
		e.Records = append(e.Records, &pipeline.Object{Name: "uploads/" + n, Bytes: int64(len(body)), Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(body)), nil
		}})
	}
	pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Object]{
		Open: func(t testing.TB, l pipeline.Limits) pipeline.Source[*pipeline.Object] { return open(t, cfg, l) },
		Want: func(testing.TB) []pipetest.Expected[*pipeline.Object] {
			return []pipetest.Expected[*pipeline.Object]{e}
		},
	})
	got, err := open(t, cfg, pipeline.Limits{}).Get(t.Context(), uploads, []string{e.Records[3].Name})
	if err != nil {
		t.Fatal(err)
	}
	if o := got[e.Records[3].Name]; o == nil || store.SumsOf(o) != store.SumsOfBytes(store.MD5, random(3000)) || o.ModTime.IsZero() {
		t.Errorf("%+v", o)
	}
}

func first(t *testing.T, s *objects.Source) *pipeline.Object {
	t.Helper()
	for b, err := range s.Read(t.Context(), pipeline.Part{Unit: uploads}, "") {
		if err != nil {
			t.Fatal(err)
		}
		return b.Records[0]
	}
	t.Fatal("there is none")
	return nil
}

// The server ends in the middle of a content, and comes back.
func TestRestartWhileReading(t *testing.T) {
	server := servers.StartAzure(t)
	cfg, put := container(t, server)
	body := random(24 << 20)
	put("large", body)
	o := first(t, open(t, cfg, pipeline.Limits{}))
	server.Stop() // by which it saves what it knows
	server.Restart(t)
	r, err := o.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make([]byte, 1<<20)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Restart(t)
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(slices.Concat(got, rest), body) {
		t.Errorf("%d bytes, %v", len(got)+len(rest), err)
	}
}

// What happens to a content on its way is found, or got past.
func TestFaults(t *testing.T) {
	cfg, put := container(t, servers.Azure(t))
	body := random(1 << 20)
	put("large", body)
	proxy := servers.NewFaultProxy(t, cfg.Endpoint)
	cfg.Endpoint = proxy.URL
	o := first(t, open(t, cfg, pipeline.Limits{}))
	for _, do := range []servers.Action{servers.CutResponse, servers.FlipResponse, servers.ServerError, servers.Reset} {
		proxy.Set(&servers.Fault{Do: do, Match: servers.Downloads("/large")})
		r, err := o.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		_ = r.Close()
		switch do {
		case servers.FlipResponse:
			if !errors.Is(err, store.ErrDigest) || !pipeline.IsRetryable(err) {
				t.Errorf("flipped: %v", err)
			}
		default:
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("fault %d: %d bytes, %v", do, len(got), err)
			}
		}
		if proxy.Met() != 1 {
			t.Errorf("fault %d was met %d times", do, proxy.Met())
		}
	}
}

// A container with folders is read flat, as Open WebUI could read it.
func TestFolder(t *testing.T) {
	cfg, put := container(t, servers.Azure(t))
	put("d/b", []byte("2"))
	s := open(t, cfg, pipeline.Limits{})
	if o := first(t, s); o.Name != `uploads/d\b` {
		t.Errorf("%+v", o)
	}
	findings, err := s.Check(t.Context(), []pipeline.Unit{uploads})
	if err != nil || len(findings) != 0 {
		t.Errorf("%+v, %v", findings, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	cfg, _ := container(t, servers.Azure(t))
	cfg.Container = "there-is-none"
	if _, err := Open(t.Context(), cfg, objects.Config{}); pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Error(err)
	}
}
