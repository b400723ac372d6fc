package azure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

func config(t *testing.T, s *servers.AzureServer) env.AzureConfig {
	t.Helper()
	return env.AzureConfig{Endpoint: s.Endpoint, Container: s.Container(t), Key: env.Secret(s.Key)}
}

func open(t *testing.T, cfg env.AzureConfig) *Bucket {
	t.Helper()
	b, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put stores an object as Open WebUI's client does.
func put(t *testing.T, b *Bucket, key string, body []byte, more ...func(*blockblob.UploadOptions)) {
	t.Helper()
	opts := &blockblob.UploadOptions{}
	for _, f := range more {
		f(opts)
	}
	if _, err := b.Blob(key).Upload(t.Context(), streaming.NopCloser(bytes.NewReader(body)), opts); err != nil {
		t.Fatalf("storing %q: %v", key, err)
	}
}

func list(t *testing.T, b *Bucket) map[string]objects.Info {
	t.Helper()
	all := map[string]objects.Info{}
	for info, err := range b.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := all[info.Key]; twice {
			t.Errorf("%q is listed twice", info.Key)
		}
		all[info.Key] = info
	}
	return all
}

func read(t *testing.T, b *Bucket, info objects.Info, from int64) ([]byte, error) {
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
		"عربى.txt", "<angle>", "a:b|c*d", "dollar$`tick`", "trailing dot.", "trailing space ", "tilde~^{}[]", "#", "&comp=list", "\u2028sep", strings.Repeat("日", 70)}
}

func TestOddNames(t *testing.T) {
	b := open(t, config(t, servers.Azure(t)))
	const id = "0b5e5f3c-6f0e-4c0e-9d5d-2f4c8b8f0a11_"
	for _, n := range oddNames() {
		put(t, b, id+n, []byte(n))
	}
	all := list(t, b)
	if len(all) != len(oddNames()) {
		t.Errorf("%d of %d are listed", len(all), len(oddNames()))
	}
	for _, n := range oddNames() {
		info, ok := all[id+n]
		if !ok || info.Bytes != int64(len(n)) || info.Sums != objects.SumsOfBytes(objects.MD5, []byte(n)) || info.ModTime.IsZero() || info.Version == "" {
			t.Errorf("%q is listed as %+v", n, info)
			continue
		}
		if got, err := read(t, b, info, 0); string(got) != n || err != nil {
			t.Errorf("%q: %q, %v", n, got, err)
		}
		if head, err := b.Head(t.Context(), id+n); err != nil || !head.ModTime.Equal(info.ModTime) || head.Version != info.Version || head.Sums != info.Sums || head.Bytes != info.Bytes {
			t.Errorf("%q: %+v instead of %+v, %v", n, head, info, err)
		}
	}
}

// A slash is given as a backslash where the server takes one for the other.
func TestSlashes(t *testing.T) {
	b := open(t, config(t, servers.Azure(t)))
	put(t, b, "a/b/c", []byte("1"))
	put(t, b, `d\e`, []byte("2"))
	for range 2 {
		all := list(t, b)
		for key, want := range map[string]string{`a\b\c`: "1", `d\e`: "2"} {
			if got, err := read(t, b, all[key], 0); string(got) != want || err != nil {
				t.Errorf("%s: %q, %v", key, got, err)
			}
		}
	}
	b.slashes.same = false // as if the server kept them apart
	if all := list(t, b); len(all) != 2 || all["a/b/c"].Bytes != 1 || all["d/e"].Bytes != 1 {
		t.Errorf("%+v", all)
	}
}

func TestListPages(t *testing.T) {
	b := open(t, config(t, servers.Azure(t)))
	const n = 250
	var g sync.WaitGroup
	for part := range 5 {
		g.Go(func() {
			for i := range n / 5 {
				put(t, b, fmt.Sprintf("f%04d", part*n/5+i), []byte("x"))
			}
		})
	}
	g.Wait()
	b.page = 100
	if got := len(list(t, b)); got != n {
		t.Errorf("%d", got)
	}
	i := 0
	for range b.List(t.Context()) {
		if i++; i == 103 {
			break
		}
	}
}

func TestRangesAndChanges(t *testing.T) {
	b := open(t, config(t, servers.Azure(t)))
	text := bytes.Repeat([]byte("0123456789"), 100_000)
	put(t, b, "a", text)
	put(t, b, "empty", nil)
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
	if all["empty"].Sums != objects.SumsOfBytes(objects.MD5, nil) {
		t.Errorf("empty: %+v", all["empty"])
	}
	if _, err := read(t, b, info, info.Bytes+1); err == nil || pipeline.IsRetryable(err) {
		t.Errorf("beyond the end: %v", err)
	}
	put(t, b, "a", text[1:])
	for _, from := range []int64{0, 5} {
		if _, err := read(t, b, info, from); !errors.Is(err, objects.ErrChanged) || pipeline.IsRetryable(err) {
			t.Errorf("another one, from %d: %v", from, err)
		}
	}
	if _, err := b.Blob("a").Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, b, info, 0); !errors.Is(err, fs.ErrNotExist) || pipeline.IsRetryable(err) {
		t.Errorf("gone: %v", err)
	}
	if _, err := b.Head(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
}

// What is stored packed is read as it is stored, and an MD5 may be missing.
func TestProperties(t *testing.T) {
	b := open(t, config(t, servers.Azure(t)))
	packed := []byte("\x1f\x8bnot really")
	gzip := "gzip"
	put(t, b, "a", packed, func(o *blockblob.UploadOptions) { o.HTTPHeaders = &blob.HTTPHeaders{BlobContentEncoding: &gzip} })
	for _, from := range []int64{0, 7} {
		if got, err := read(t, b, list(t, b)["a"], from); !bytes.Equal(got, packed[from:]) || err != nil {
			t.Errorf("from %d: %q, %v", from, got, err)
		}
	}
	if _, err := b.Blob("blocks").UploadBuffer(t.Context(), make([]byte, 3<<20), &blockblob.UploadBufferOptions{BlockSize: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Blob("blocks").CommitBlockList(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if info := list(t, b)["blocks"]; info.Sums != (objects.Sums{}) {
		t.Errorf("%+v", info)
	}
}

// Blocks that nobody has made an object of are none.
func TestUnfinished(t *testing.T) {
	b, ctx := open(t, config(t, servers.Azure(t))), t.Context()
	put(t, b, "a", []byte("1"))
	for _, key := range []string{"a", "b"} {
		if _, err := b.Blob(key).StageBlock(ctx, "AAAA", streaming.NopCloser(strings.NewReader("x")), nil); err != nil {
			t.Fatal(err)
		}
	}
	if all := list(t, b); len(all) != 1 || all["a"].Bytes != 1 {
		t.Errorf("%+v", all)
	}
	if _, err := b.Head(ctx, "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if n, err := b.Unfinished(ctx); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestRefusals(t *testing.T) {
	s := servers.Azure(t)
	good := config(t, s)
	closed := servers.StartAzure(t)
	closed.Stop()
	for name, tt := range map[string]struct {
		set   func(*env.AzureConfig)
		hint  string
		retry bool
	}{
		"container": {func(c *env.AzureConfig) { c.Container = "there-is-none" }, "AZURE_STORAGE_CONTAINER_NAME", false},
		"key":       {func(c *env.AzureConfig) { c.Key = "AAAA" }, "AZURE_STORAGE_KEY", false},
		"no key":    {func(c *env.AzureConfig) { c.Key = "no base64!" }, "AZURE_STORAGE_KEY", false},
		"account":   {func(c *env.AzureConfig) { c.Endpoint = strings.Replace(c.Endpoint, "devstore", "other", 1) }, "AZURE_STORAGE_ENDPOINT", false},
		"refused":   {func(c *env.AzureConfig) { c.Endpoint = closed.Endpoint }, "AZURE_STORAGE_ENDPOINT", true},
		"tls":       {func(c *env.AzureConfig) { c.Endpoint = strings.Replace(c.Endpoint, "http:", "https:", 1) }, "AZURE_STORAGE_ENDPOINT", false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			tt.set(&cfg)
			_, err := Open(t.Context(), cfg)
			if err == nil {
				t.Fatal("it opens")
			}
			t.Log(err)
			if pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), tt.hint) || pipeline.IsRetryable(err) != tt.retry {
				t.Errorf("exit %d, retryable %v, hint %q: %v", pipeline.ExitCode(err), pipeline.IsRetryable(err), pipeline.HintOf(err), err)
			}
			if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, s.Key) || strings.Contains(text, "\n") {
				t.Errorf("%q", text)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	s := servers.StartAzure(t)
	b := open(t, config(t, s))
	put(t, b, "a", []byte("content"))
	info, err := b.Head(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	s.Stop() // what it has not saved yet would be lost
	if _, err := b.Head(t.Context(), "a"); !pipeline.IsRetryable(err) || pipeline.ExitCode(err) != pipeline.ExitEnvironment || strings.Contains(err.Error(), s.Endpoint) {
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
	for endpoint, want := range map[string][2]string{
		"https://acct.blob.core.windows.net": {"azure://owui at acct.blob.core.windows.net", "azure:acct/owui"},
		"acct.blob.core.windows.net/":        {"azure://owui at acct.blob.core.windows.net", "azure:acct/owui"},
		"http://127.0.0.1:10000/devstore":    {"azure://owui at 127.0.0.1:10000/devstore", "azure:devstore/owui"},
		"https://files.example.org":          {"azure://owui at files.example.org", "azure:1da07225/owui"},
	} {
		cfg := env.AzureConfig{Endpoint: endpoint, Container: "owui", Key: "c2VjcmV0"}
		if got := [2]string{Describe(cfg), Fingerprint(cfg)}; got != want {
			t.Errorf("%s: %q", endpoint, got)
		}
		if Emulated(cfg) != strings.Contains(endpoint, "127") {
			t.Error(endpoint)
		}
	}
}
