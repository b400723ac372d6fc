package gcs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
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

func config(t testing.TB, s *servers.GCSServer) env.GCSConfig {
	t.Helper()
	return env.GCSConfig{Emulator: s.Endpoint, Bucket: s.Bucket(t)}
}

func open(t testing.TB, cfg env.GCSConfig, l pipeline.Limits) *objects.Source {
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
	server := servers.GCS(t)
	cfg := config(t, server)
	names := []string{"a b%20c+d&e#f?.md", "naïve café (1).txt", "年度报告.txt", "emoji 🚀.md", "tab\tnew\nline", `back\slash`, strings.Repeat("n", 230),
		"100%", "=", "trailing. ", "cafe\u0301", "caf\u00e9", "empty"}
	e := pipetest.Expected[*pipeline.Object]{Unit: uploads}
	for i, n := range names {
		body := random(i * 1000)
		if n == "empty" {
			body = nil
		}
		server.Put(t, cfg.Bucket, n, body, "")
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
	want := store.SumsOfBytes(store.CRC32C|store.MD5, random(3000))
	if o := got[e.Records[3].Name]; o == nil || store.SumsOf(o) != want || o.ModTime.IsZero() {
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

// The server is killed in the middle of a content, and comes back.
func TestRestartWhileReading(t *testing.T) {
	server := servers.StartGCS(t)
	cfg := config(t, server)
	body := random(24 << 20)
	server.Put(t, cfg.Bucket, "large", body, "")
	pipetest.Comeback(t, server, body, func(backoff pipeline.Backoff) io.ReadCloser {
		s, err := Open(t.Context(), cfg, objects.Config{Spool: t.TempDir(), Stable: "x", Backoff: backoff})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		r, err := first(t, s).Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r
	})
}

// What happens to a content on its way is found, or got past.
func TestFaults(t *testing.T) {
	server := servers.GCS(t)
	cfg := config(t, server)
	body := random(1 << 20)
	server.Put(t, cfg.Bucket, "large", body, "")
	proxy := servers.NewFaultProxy(t, cfg.Emulator)
	cfg.Emulator = proxy.URL
	o := first(t, open(t, cfg, pipeline.Limits{}))
	for _, do := range []servers.Action{servers.CutResponse, servers.FlipResponse} {
		proxy.Set(&servers.Fault{Do: do, Match: servers.Downloads("/o/large")})
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
				t.Errorf("cut: %d bytes, %v", len(got), err)
			}
		}
	}
}

// Open WebUI's objects have no folder: others are read, and told of.
func TestFolder(t *testing.T) {
	server := servers.GCS(t)
	cfg := config(t, server)
	server.Put(t, cfg.Bucket, "a", []byte("1"), "")
	server.Put(t, cfg.Bucket, "d/b", []byte("2"), "")
	findings, err := open(t, cfg, pipeline.Limits{}).Check(t.Context(), []pipeline.Unit{uploads})
	if err != nil || len(findings) != 1 {
		t.Errorf("%+v, %v", findings, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	server := servers.GCS(t)
	cfg := config(t, server)
	cfg.Bucket = "there-is-none"
	if _, err := Open(t.Context(), cfg, objects.Config{}); pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Error(err)
	}
}
