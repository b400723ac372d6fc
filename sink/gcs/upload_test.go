package gcs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/gcs"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

const sums = objects.CRC32C | objects.MD5

func config(t testing.TB, s *servers.GCSServer) env.GCSConfig {
	t.Helper()
	return env.GCSConfig{Emulator: s.Endpoint, Bucket: s.Bucket(t)}
}

func uploader(t testing.TB, cfg env.GCSConfig, state string) *Uploader {
	t.Helper()
	b, err := gcs.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	u, err := NewUploader(b, state)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func random(bytes int) []byte {
	body := make([]byte, bytes)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(body)
	return body
}

func uploadOf(key string, body []byte) objects.Upload {
	return objects.Upload{Key: key, Bytes: int64(len(body)), Sums: objects.SumsOfBytes(sums, body)}
}

func content(t *testing.T, u *Uploader, key string) []byte {
	t.Helper()
	info, err := u.b.Head(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := u.b.Open(t.Context(), info, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if info.Sums != objects.SumsOfBytes(sums, body) {
		t.Errorf("%s is kept with %+v", key, info.Sums)
	}
	return body
}

// absent fails when the key has an object.
func absent(t *testing.T, u *Uploader, key string) {
	t.Helper()
	if info, err := u.b.Head(t.Context(), key); err == nil {
		t.Errorf("%s is there: %+v", key, info)
	}
}

// metadataOf is what the server keeps of an object.
func metadataOf(t *testing.T, u *Uploader, key string) (o gcs.Object) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.b.Address(key, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := u.b.Do(req, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestPut(t *testing.T) {
	u, ctx := uploader(t, config(t, servers.GCS(t)), ""), t.Context()
	for _, name := range []string{"plain.txt", "with space.pdf", "tab\there", "new\nline", "percent%20.txt", "plus+plus.txt", "quest?ion.txt", "hash#tag.txt", "amp&ersand=1;x",
		`back\slash`, `quote".txt`, "emoji😀.png", "u\u0308ber.pdf", "漢字.docx", "&upload_id=1", "trailing space ", "\u2028sep", strings.Repeat("日", 70)} {
		body := []byte(name)
		if err := u.Put(ctx, uploadOf(name, body), body); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if got := content(t, u, name); !bytes.Equal(got, body) {
			t.Errorf("%q: %q", name, got)
		}
		if o := metadataOf(t, u, name); o.ContentType != contentType(name) || len(o.Metadata) > 0 || o.ContentEncoding != "" {
			t.Errorf("%q: %+v", name, o)
		}
	}
	if err := u.Put(ctx, uploadOf("empty", nil), nil); err != nil {
		t.Error(err)
	}
	content(t, u, "empty")
}

func TestPutRefused(t *testing.T) {
	u, ctx := uploader(t, config(t, servers.GCS(t)), ""), t.Context()
	body := []byte("123456789")
	for name, spoil := range map[string]func(*objects.Sums){
		"crc32c": func(s *objects.Sums) { s.CRC32C = "00000001" },
		"md5":    func(s *objects.Sums) { s.MD5 = strings.Repeat("0", 32) },
	} {
		up := uploadOf(name, body)
		spoil(&up.Sums)
		if err := u.Put(ctx, up, body); !errors.Is(err, objects.ErrDigest) || !pipeline.IsRetryable(err) {
			t.Errorf("%s: %v", name, err)
		}
		absent(t, u, name)
	}
	up := uploadOf("a", body)
	if err := u.Put(ctx, up, body); err != nil {
		t.Fatal(err)
	}
	if err := u.Put(ctx, up, body); !errors.Is(err, objects.ErrTaken) || pipeline.IsRetryable(err) {
		t.Errorf("taken: %v", err)
	}
	other := uploadOf("a", body[1:])
	if other.Replace = true; u.Put(ctx, other, body[1:]) != nil || !bytes.Equal(content(t, u, "a"), body[1:]) {
		t.Error("it is not replaced")
	}
	// A bucket that is removed after it was opened.
	server := servers.StartGCS(t)
	gone := uploader(t, config(t, server), "")
	server.Remove(t, gone.b.Config().Bucket, "")
	if err := gone.Put(ctx, up, body); pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), "GCS_BUCKET_NAME") {
		t.Errorf("no bucket: %v", err)
	}
}

// A small object whose bytes are damaged on their way, or whose answer is lost.
func TestPutFaults(t *testing.T) {
	cfg := config(t, servers.GCS(t))
	proxy := servers.NewFaultProxy(t, cfg.Emulator)
	cfg.Emulator = proxy.URL
	u, body := uploader(t, cfg, ""), random(20<<10)
	up := uploadOf("a", body)
	for _, f := range []struct {
		do servers.Action
		is error
	}{{servers.FlipRequest, objects.ErrDigest}, {servers.CutRequest, nil}, {servers.ServerError, nil}, {servers.Reset, nil}, {servers.LostAnswer, nil}} {
		proxy.Set(&servers.Fault{Do: f.do, Match: servers.Large(20 << 10)})
		err := u.Put(t.Context(), up, body)
		if !pipeline.IsRetryable(err) || f.is != nil && !errors.Is(err, f.is) || strings.Contains(err.Error(), proxy.URL) {
			t.Errorf("fault %d: %v", f.do, err)
		}
		if f.do != servers.LostAnswer {
			absent(t, u, "a")
		}
	}
	if err := u.Put(t.Context(), up, body); !errors.Is(err, objects.ErrTaken) {
		t.Errorf("after the lost answer: %v", err)
	}
}

// Python's own guess, where Python is.
func TestContentType(t *testing.T) {
	for name, want := range map[string]string{"0_a.PDF": "application/pdf", "a.b.txt": "text/plain", "x": unknownType, ".txt": unknownType, "x.unknown": unknownType, "x.": unknownType, "": unknownType} {
		if got := contentType(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
	out, err := exec.CommandContext(t.Context(), "python3", "-c", `
import mimetypes
m = mimetypes.MimeTypes()
print(*(e + " " + t for e, t in m.types_map[True].items()), sep="\n")`).Output()
	if err != nil {
		servers.Skip(t, "no Python: %v", err)
	}
	same := 0
	for line := range strings.Lines(string(out)) {
		ext, kind, _ := strings.Cut(strings.TrimSpace(line), " ")
		got := contentType("a" + ext)
		if _, _, err := mime.ParseMediaType(got); err != nil {
			t.Errorf("%s: %v", ext, err)
		}
		if got == kind {
			same++
		}
	}
	if same < 20 {
		t.Errorf("%d are Python's", same)
	}
}
