package azure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"outgrow/mappings/azure"
	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

const sums = objects.CRC32C | objects.MD5

func config(t testing.TB, s *servers.AzureServer) env.AzureConfig {
	t.Helper()
	return env.AzureConfig{Endpoint: s.Endpoint, Container: s.Container(t), Key: env.Secret(s.Key)}
}

func uploader(t testing.TB, cfg env.AzureConfig) *Uploader {
	t.Helper()
	b, err := azure.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return NewUploader(b)
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
	if info.Sums != objects.SumsOfBytes(objects.MD5, body) {
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

// properties fails when an object has other properties than Open WebUI's.
func properties(t *testing.T, u *Uploader, key string) {
	t.Helper()
	p, err := u.b.Blob(key).GetProperties(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *p.ContentType != "application/octet-stream" || *p.BlobType != "BlockBlob" || len(p.Metadata) > 0 || p.ContentEncoding != nil {
		t.Errorf("%q: %s, %s, %v", key, *p.ContentType, *p.BlobType, p.Metadata)
	}
}

func TestPut(t *testing.T) {
	u, ctx := uploader(t, config(t, servers.Azure(t))), t.Context()
	for _, name := range []string{"plain.txt", "with space.pdf", "tab\there", "new\nline", "percent%20.txt", "plus+plus.txt", "quest?ion.txt", "hash#tag.txt", "amp&ersand=1;x",
		`back\slash`, `quote".txt`, "emoji😀.png", "u\u0308ber.pdf", "漢字.docx", "&comp=block", "trailing space ", "trailing.", "\u2028sep", strings.Repeat("日", 85)} {
		body := []byte(name)
		if err := u.Put(ctx, uploadOf(name, body), body); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if got := content(t, u, name); !bytes.Equal(got, body) {
			t.Errorf("%q: %q", name, got)
		}
		properties(t, u, name)
	}
	if err := u.Put(ctx, uploadOf("empty", nil), nil); err != nil {
		t.Error(err)
	}
	content(t, u, "empty")
	for range 2 {
		if err := u.Delete(ctx, "empty"); err != nil {
			t.Error(err)
		}
	}
	absent(t, u, "empty")
}

func TestPutRefused(t *testing.T) {
	server := servers.StartAzure(t)
	u, ctx := uploader(t, config(t, server)), t.Context()
	body := []byte("123456789")
	up := uploadOf("md5", body)
	up.Sums.MD5 = strings.Repeat("0", 32)
	if err := u.Put(ctx, up, body); !errors.Is(err, objects.ErrDigest) || !pipeline.IsRetryable(err) {
		t.Error(err)
	}
	absent(t, u, "md5")
	up.Sums.MD5 = "no digest"
	if err := u.Put(ctx, up, body); err == nil || pipeline.IsRetryable(err) {
		t.Error(err)
	}
	up = uploadOf("a", body)
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
	// A container that is removed after it was opened.
	if _, err := server.Client(t).DeleteContainer(ctx, u.b.Config().Container, nil); err != nil {
		t.Fatal(err)
	}
	_, begun := u.Begin(ctx, up)
	for _, err := range []error{u.Put(ctx, up, body), begun} {
		if pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), "AZURE_STORAGE_CONTAINER_NAME") {
			t.Errorf("no container: %v", err)
		}
	}
}

// A small object whose bytes are damaged on their way, or whose answer is lost.
func TestPutFaults(t *testing.T) {
	cfg := config(t, servers.Azure(t))
	proxy := servers.NewFaultProxy(t, cfg.Endpoint)
	cfg.Endpoint = proxy.URL
	u, body := uploader(t, cfg), random(20<<10)
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

func TestPartSize(t *testing.T) {
	u := NewUploader(nil)
	for bytes, want := range map[int64]int64{0: 16 << 20, 1: 16 << 20, 781 << 30: 16 << 20, 800 << 30: 17 << 20, 190 << 40: 3985 << 20} {
		got := u.PartSize(bytes)
		if got != want || (bytes+got-1)/got > maxBlocks {
			t.Errorf("%d bytes: parts of %d MiB", bytes, got>>20)
		}
	}
}

func TestRefuse(t *testing.T) {
	for name, want := range map[string]bool{"a.txt": false, "a.b..": true, "a ": false, `a\b`: false, "a\tb": true, "\u0081": true, "漢字": false, "a\u2028": false} {
		if reason, detail := refuse(name); reason != "" != want || (detail != "") != want {
			t.Errorf("%q: %s, %s", name, reason, detail)
		}
	}
}

func TestIDs(t *testing.T) {
	s, other := newIDs(1<<40, 21<<20), newIDs(1<<40+1, 21<<20)
	b := block{n: 49_999, bytes: 4000 << 20, crc32c: 0xfedcba98}
	for _, length := range []int{idBytes, 46, 64} {
		s.length = length
		if got, ok := s.block(s.id(b)); !ok || got != b {
			t.Errorf("%+v, %v", got, ok)
		}
		if _, ok := other.block(s.id(b)); ok {
			t.Error("it is taken for one of another upload")
		}
	}
	for _, id := range []string{"", "!", "AAAA", "AAAAAAAAAAAAAAAAAAAAAA==", fmt.Sprintf("%064d", 0)} {
		if b, ok := s.block(id); ok {
			t.Errorf("%q: %+v", id, b)
		}
	}
}
