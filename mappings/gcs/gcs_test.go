package gcs_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/gcs"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

func config(t *testing.T, s *servers.GCSServer) env.GCSConfig {
	t.Helper()
	return env.GCSConfig{Emulator: s.Endpoint, Bucket: s.Bucket(t)}
}

func open(t *testing.T, cfg env.GCSConfig) *gcs.Bucket {
	t.Helper()
	b, err := gcs.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func list(t *testing.T, b *gcs.Bucket) map[string]objects.Info {
	t.Helper()
	all := map[string]objects.Info{}
	for info, err := range b.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[info.Key] = info
	}
	return all
}

func read(t *testing.T, b *gcs.Bucket, info objects.Info, from int64) ([]byte, error) {
	t.Helper()
	r, err := b.Open(t.Context(), info, from)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// oddNames are names of users' files as Open WebUI stores them, without the id.
func oddNames() []string {
	return []string{"plain.txt", "with space.pdf", "tab\there", "new\nline", "percent%20.txt", "50%.txt", "plus+plus.txt", "quest?ion.txt",
		"hash#tag.txt", "amp&ersand=1;x", `back\slash`, `quote".txt`, "apostrophe's", "emoji😀.png", "über.pdf" /* NFC */, "u\u0308ber.pdf" /* NFD */, "漢字.docx",
		"عربى.txt", "<angle>", "a:b|c*d", "dollar$`tick`", "trailing dot.", "trailing space ", "tilde~^{}[]", "#", "&upload_id=1", "\u2028sep", strings.Repeat("日", 60) /* with the id: fake-gcs-server makes a file of a longer name */}
}

const sums = objects.CRC32C | objects.MD5

func TestOddNames(t *testing.T) {
	s := servers.GCS(t)
	b := open(t, config(t, s))
	const id = "0b5e5f3c-6f0e-4c0e-9d5d-2f4c8b8f0a11_"
	for _, n := range oddNames() {
		s.Put(t, b.Config().Bucket, id+n, []byte(n), "")
	}
	all := list(t, b)
	if len(all) != len(oddNames()) {
		t.Errorf("%d of %d are listed", len(all), len(oddNames()))
	}
	for _, n := range oddNames() {
		info, ok := all[id+n]
		if !ok || info.Bytes != int64(len(n)) || info.Sums != objects.SumsOfBytes(sums, []byte(n)) || info.ModTime.IsZero() || info.Version == "" {
			t.Errorf("%q is listed as %+v", n, info)
			continue
		}
		if got, err := read(t, b, info, 0); string(got) != n || err != nil {
			t.Errorf("%q: %q, %v", n, got, err)
		}
		if head, err := b.Head(t.Context(), id+n); err != nil || head != info {
			t.Errorf("%q: %+v, %v", n, head, err)
		}
	}
}

func TestListPages(t *testing.T) {
	s := servers.GCS(t)
	b := open(t, config(t, s))
	for i := range 1100 { // more than a page
		s.Put(t, b.Config().Bucket, fmt.Sprintf("f%04d", i), []byte("x"), "")
	}
	if n := len(list(t, b)); n != 1100 {
		t.Errorf("%d", n)
	}
	n := 0
	for range b.List(t.Context()) {
		if n++; n == 3 {
			break
		}
	}
}

func TestRangesAndChanges(t *testing.T) {
	s := servers.GCS(t)
	b := open(t, config(t, s))
	text := bytes.Repeat([]byte("0123456789"), 100_000)
	s.Put(t, b.Config().Bucket, "a", text, "")
	s.Put(t, b.Config().Bucket, "empty", nil, "")
	all := list(t, b)
	info := all["a"]
	for _, from := range []int64{0, 1, 555_555, info.Bytes - 1, info.Bytes} {
		got, err := read(t, b, info, from)
		if err != nil || !bytes.Equal(got, text[from:]) {
			t.Errorf("from %d: %d bytes, %v", from, len(got), err)
		}
	}
	if got, err := read(t, b, all["empty"], 0); len(got) > 0 || err != nil {
		t.Errorf("empty: %q, %v", got, err)
	}
	if all["empty"].Sums != objects.SumsOfBytes(sums, nil) {
		t.Errorf("empty: %+v", all["empty"])
	}
	if _, err := read(t, b, info, info.Bytes+1); err == nil || pipeline.IsRetryable(err) {
		t.Errorf("beyond the end: %v", err)
	}
	s.Put(t, b.Config().Bucket, "a", text[1:], "")
	for _, from := range []int64{0, 5} {
		if _, err := read(t, b, info, from); !errors.Is(err, objects.ErrChanged) {
			t.Errorf("another one, from %d: %v", from, err)
		}
	}
	s.Remove(t, b.Config().Bucket, "a")
	if _, err := read(t, b, info, 0); !errors.Is(err, fs.ErrNotExist) || pipeline.IsRetryable(err) {
		t.Errorf("gone: %v", err)
	}
	if _, err := b.Head(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
}

// What is stored packed is read as it is stored: that is what size and digests
// are of.
func TestPacked(t *testing.T) {
	s := servers.GCS(t)
	b := open(t, config(t, s))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(bytes.Repeat([]byte("0123456789"), 1000))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	s.Put(t, b.Config().Bucket, "a", packed.Bytes(), "gzip")
	info := list(t, b)["a"]
	for _, from := range []int64{0, 7} {
		if got, err := read(t, b, info, from); !bytes.Equal(got, packed.Bytes()[from:]) || err != nil {
			t.Errorf("from %d: %d bytes, %v", from, len(got), err)
		}
	}
}

// The address comes from the configuration alone.
func TestEnvironmentOfTheProcess(t *testing.T) {
	t.Setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
	s := servers.GCS(t)
	b := open(t, config(t, s))
	s.Put(t, b.Config().Bucket, "a", []byte("1"), "")
	if got, err := read(t, b, list(t, b)["a"], 0); string(got) != "1" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	s := servers.GCS(t)
	good := config(t, s)
	closed := servers.StartGCS(t)
	closed.Stop()
	for name, tt := range map[string]struct {
		set   func(*env.GCSConfig)
		hint  string
		retry bool
	}{
		"bucket":      {func(c *env.GCSConfig) { c.Bucket = "there-is-none" }, "GCS_BUCKET_NAME", false},
		"refused":     {func(c *env.GCSConfig) { c.Emulator = closed.Endpoint }, "STORAGE_EMULATOR_HOST", true},
		"tls":         {func(c *env.GCSConfig) { c.Emulator = strings.Replace(s.Endpoint, "http:", "https:", 1) }, "STORAGE_EMULATOR_HOST", false},
		"credentials": {func(c *env.GCSConfig) { c.Credentials = `{"type": "authorized_user"}` }, "GOOGLE_APPLICATION_CREDENTIALS_JSON", false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			tt.set(&cfg)
			_, err := gcs.Open(t.Context(), cfg)
			if err == nil {
				t.Fatal("it opens")
			}
			t.Log(err)
			if pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), tt.hint) || pipeline.IsRetryable(err) != tt.retry {
				t.Errorf("exit %d, retryable %v, hint %q: %v", pipeline.ExitCode(err), pipeline.IsRetryable(err), pipeline.HintOf(err), err)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	s := servers.StartGCS(t)
	b := open(t, config(t, s))
	s.Put(t, b.Config().Bucket, "a", []byte("content"), "")
	info, err := b.Head(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if _, err := b.Head(t.Context(), "a"); !pipeline.IsRetryable(err) || pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("the server is down: %v", err)
	}
	s.Restart(t)
	if got, err := read(t, b, info, 0); string(got) != "content" || err != nil {
		t.Errorf("after the restart: %q, %v", got, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("stopped")
	cancel(reason)
	if _, err := b.Head(ctx, "a"); !errors.Is(err, reason) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestDescribe(t *testing.T) {
	cfg := env.GCSConfig{Emulator: "http://user:pass@gcs.internal:4443", Bucket: "owui", Credentials: "{}"}
	if got := gcs.Describe(cfg); got != "gs://owui at gcs.internal:4443" {
		t.Error(got)
	}
	if got := gcs.Describe(env.GCSConfig{Bucket: "owui"}); got != "gs://owui at Google" {
		t.Error(got)
	}
	if got := gcs.Fingerprint(cfg); got != "gcs:owui" {
		t.Error(got)
	}
}
