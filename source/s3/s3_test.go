package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"outgrow/mappings/env"
	layout "outgrow/mappings/files"
	store "outgrow/mappings/objects"
	"outgrow/mappings/s3"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	"outgrow/source/objects"
	"outgrow/testdata/servers"
)

var uploads = pipeline.Unit{Lane: pipeline.Files, Name: layout.Uploads}

func config(t testing.TB, s *servers.S3Server, prefix string) env.S3Config {
	t.Helper()
	return env.S3Config{Endpoint: s.Endpoint, AccessKey: env.Secret(s.AccessKey), SecretKey: env.Secret(s.SecretKey),
		Bucket: s.NewBucket(t), Prefix: prefix}
}

// put stores an object as boto3 does for Open WebUI.
func put(t testing.TB, cfg env.S3Config, key string, body []byte) {
	t.Helper()
	b, err := s3.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Client().PutObject(context.Background(), &sdk.PutObjectInput{Bucket: &cfg.Bucket, Key: aws.String(b.Key(key)), Body: bytes.NewReader(body)}); err != nil {
		t.Fatalf("storing %q: %v", key, err)
	}
}

func open(t testing.TB, cfg env.S3Config, l pipeline.Limits) *objects.Source {
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
	cfg := config(t, servers.S3(t), "pre/")
	names := []string{"a b%20c+d&e#f?.md", "naïve café (1).txt", "年度报告.txt", "emoji 🚀.md", "sub.txt", "sub/x", "tab\tnew\nline", `back\slash`,
		strings.Repeat("n", 255), "100%", "=", "trailing. ", "cafe\u0301", "caf\u00e9", "empty"}
	e := pipetest.Expected[*pipeline.Object]{Unit: uploads}
	for i, n := range names {
		body := random(i * 1000)
		if n == "empty" {
			body = nil
		}
		put(t, cfg, n, body)
		o := &pipeline.Object{Name: "uploads/" + n, Bytes: int64(len(body)), Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(body)), nil
		}}
		e.Records = append(e.Records, o)
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
	if o := got[e.Records[3].Name]; o == nil || o.MD5 != store.SumsOfBytes(store.MD5, random(3000)).MD5 || o.ModTime.IsZero() {
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
	server := servers.StartS3(t)
	cfg := config(t, server, "")
	body := random(24 << 20)
	put(t, cfg, "large", body)
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

// A content that was damaged in the store does not pass, though the store lists
// no digest of it.
func TestDamaged(t *testing.T) {
	server := servers.S3(t)
	cfg := config(t, server, "")
	put(t, cfg, "a", []byte("123456789"))
	if err := os.WriteFile(filepath.Join(server.Folder(cfg.Bucket), "a"), []byte("123456780"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := first(t, open(t, cfg, pipeline.Limits{})).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); !errors.Is(err, store.ErrDigest) || !pipeline.IsRetryable(err) {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	cfg := config(t, servers.S3(t), "")
	cfg.SecretKey = "wrong"
	if _, err := Open(t.Context(), cfg, objects.Config{}); pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Error(err)
	}
}
