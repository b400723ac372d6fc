package azure

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"hash/crc32"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// partBytes is the size of a part in tests.
const partBytes = 1 << 20

// everything is a number of parts that no test has.
const everything = 1 << 30

// small makes an uploader with small parts.
func small(t testing.TB, cfg env.AzureConfig) *Uploader {
	t.Helper()
	u := uploader(t, cfg)
	u.part = partBytes
	return u
}

func begin(t *testing.T, u *Uploader, up objects.Upload) objects.Parts {
	t.Helper()
	p, err := u.Begin(t.Context(), up)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// send sends the parts that are missing, up to a number, the last ones first.
func send(ctx context.Context, p objects.Parts, body []byte, upTo int) (sent int, err error) {
	all := slices.Collect(slices.Chunk(body, partBytes))
	for n := min(len(all), upTo) - 1; n >= 0; n-- {
		crc := crc32.Checksum(all[n], castagnoli())
		if p.Has(n, int64(len(all[n])), crc) {
			continue
		}
		if err := p.Put(ctx, n, all[n], crc); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// finish sends what is missing and completes the object.
func finish(t *testing.T, u *Uploader, p objects.Parts, up objects.Upload, body []byte) (sent int) {
	t.Helper()
	sent, err := send(t.Context(), p, body, everything)
	if err == nil {
		err = p.Complete(t.Context(), up.Sums)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, u, up.Key), body) {
		t.Error("another content")
	}
	if n := waiting(t, u, up.Key); n > 0 {
		t.Errorf("%d blocks are left", n)
	}
	return sent
}

// waiting counts the blocks that wait below a name.
func waiting(t *testing.T, u *Uploader, key string) int {
	t.Helper()
	res, err := u.b.Blob(key).GetBlockList(t.Context(), blockblob.BlockListTypeUncommitted, nil)
	if err != nil {
		if errors.Is(u.b.Classify(t.Context(), "", err), fs.ErrNotExist) {
			return 0
		}
		t.Fatal(err)
	}
	return len(res.UncommittedBlocks)
}

// foreign leaves a block of another program's.
func foreign(t *testing.T, u *Uploader, key string, length int) {
	t.Helper()
	id := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), length))
	if _, err := u.b.Blob(key).StageBlock(t.Context(), id, streaming.NopCloser(strings.NewReader("theirs")), nil); err != nil {
		t.Fatal(err)
	}
}

func TestParts(t *testing.T) {
	u := small(t, config(t, servers.Azure(t)))
	for _, size := range []int{partBytes + 1, 2 * partBytes, 3*partBytes - 1} {
		body := random(size)
		up := uploadOf("a & b+c.pdf", body)
		up.Replace = size > partBytes+1
		p := begin(t, u, up)
		if !p.Parallel() {
			t.Error("not parallel")
		}
		finish(t, u, p, up, body)
		properties(t, u, up.Key)
	}
}

// A killed run's parts are not sent again; those of another content are not used.
func TestResume(t *testing.T) {
	u := small(t, config(t, servers.Azure(t)))
	body := random(5*partBytes + 12345)
	up := uploadOf("large.bin", body)
	if _, err := send(t.Context(), begin(t, u, up), body, 4); err != nil {
		t.Fatal(err)
	}
	absent(t, u, up.Key)
	// One of the same length, of which only the second part is another.
	changed := slices.Clone(body)
	changed[partBytes+7]++
	if _, err := send(t.Context(), begin(t, u, uploadOf("large.bin", changed)), changed, 2); err != nil {
		t.Fatal(err)
	}
	if n := waiting(t, u, up.Key); n != 5 {
		t.Errorf("%d blocks wait", n)
	}
	p := begin(t, u, up)
	if err := p.Complete(t.Context(), up.Sums); err == nil || pipeline.IsRetryable(err) {
		t.Errorf("parts are missing: %v", err)
	}
	if n := finish(t, u, p, up, body); n != 2 {
		t.Errorf("%d parts were sent again", n)
	}
	// A part of an object of another length is another part.
	longer := slices.Concat(body, random(partBytes))
	other := uploadOf("other.bin", body)
	if _, err := send(t.Context(), begin(t, u, other), body, 4); err != nil {
		t.Fatal(err)
	}
	other = uploadOf("other.bin", longer)
	if n := finish(t, u, begin(t, u, other), other, longer); n != 7 {
		t.Errorf("%d parts were sent", n)
	}
}

// Blocks of other programs wait below the name.
func TestForeignBlocks(t *testing.T) {
	u := small(t, config(t, servers.Azure(t)))
	body := random(2*partBytes + 5)
	for _, length := range []int{16, 46, 64} { // 46 is that of Open WebUI's own client
		for _, replace := range []bool{false, true} {
			up := uploadOf("large.bin", body)
			if up.Replace = replace; replace {
				if err := u.Put(t.Context(), objects.Upload{Key: up.Key, Replace: true}, nil); err != nil {
					t.Fatal(err)
				}
			}
			foreign(t, u, up.Key, length)
			if _, err := send(t.Context(), begin(t, u, up), body, 1); err != nil {
				t.Fatal(err)
			}
			if n := finish(t, u, begin(t, u, up), up, body); n != 2 {
				t.Errorf("%d bytes: %d parts were sent", length, n)
			}
			if err := u.Delete(t.Context(), up.Key); err != nil {
				t.Fatal(err)
			}
		}
	}
	up := uploadOf("short", body)
	foreign(t, u, up.Key, 8)
	if _, err := u.Begin(t.Context(), up); !errors.Is(err, errForeign) || pipeline.HintOf(err) == "" || pipeline.IsRetryable(err) {
		t.Errorf("ids of 8 bytes: %v", err)
	}
	// They come between.
	up = uploadOf("between", body)
	p := begin(t, u, up)
	foreign(t, u, up.Key, 46)
	if _, err := send(t.Context(), p, body, 1); !errors.Is(err, fs.ErrNotExist) || pipeline.ExitCode(err) == pipeline.ExitEnvironment {
		t.Errorf("they came between: %v", err)
	}
	finish(t, u, begin(t, u, up), up, body)
}

// What goes wrong in one run: the same part is tried again.
func TestFaults(t *testing.T) {
	body := random(4*partBytes + 5)
	up := uploadOf("large.bin", body)
	for _, f := range []struct {
		do servers.Action
		is error
	}{{servers.FlipRequest, objects.ErrDigest}, {servers.CutRequest, nil}, {servers.ServerError, nil}, {servers.Reset, nil}, {servers.LostAnswer, nil}} {
		cfg := config(t, servers.Azure(t))
		proxy := servers.NewFaultProxy(t, cfg.Endpoint)
		cfg.Endpoint = proxy.URL
		u := small(t, cfg)
		p := begin(t, u, up)
		proxy.Set(&servers.Fault{Do: f.do, Match: servers.Large(partBytes), After: 1, Times: 2})
		failures := 0
		for range 3 {
			if _, err := send(t.Context(), p, body, everything); err != nil {
				failures++
				if !pipeline.IsRetryable(err) || f.is != nil && !errors.Is(err, f.is) || strings.Contains(err.Error(), cfg.Container) {
					t.Fatalf("fault %d: %v", f.do, err)
				}
			}
		}
		if failures != 2 {
			t.Errorf("fault %d: %d failures", f.do, failures)
		}
		finish(t, u, p, up, body)
	}
}

// The answer to the last request is lost, or the request.
func TestCompleteFaults(t *testing.T) {
	body := random(2*partBytes + 5)
	up := uploadOf("large.bin", body)
	for _, do := range []servers.Action{servers.CutRequest, servers.ServerError, servers.Reset, servers.LostAnswer} {
		cfg := config(t, servers.Azure(t))
		proxy := servers.NewFaultProxy(t, cfg.Endpoint)
		cfg.Endpoint = proxy.URL
		u := small(t, cfg)
		p := begin(t, u, up)
		if _, err := send(t.Context(), p, body, everything); err != nil {
			t.Fatal(err)
		}
		proxy.Set(&servers.Fault{Do: do, Match: func(r *http.Request) bool { return r.URL.Query().Get("comp") == "blocklist" }})
		if err := p.Complete(t.Context(), up.Sums); !pipeline.IsRetryable(err) {
			t.Errorf("fault %d: %v", do, err)
		}
		if do != servers.LostAnswer {
			absent(t, u, up.Key)
			finish(t, u, p, up, body)
			continue
		}
		if err := p.Complete(t.Context(), up.Sums); !errors.Is(err, objects.ErrTaken) || !bytes.Equal(content(t, u, up.Key), body) {
			t.Errorf("after the lost answer: %v", err)
		}
	}
}

// The sums that the end is told, or the parts, are not those of the content.
func TestWrongSums(t *testing.T) {
	u := small(t, config(t, servers.Azure(t)))
	body := random(3 * partBytes)
	up := uploadOf("large.bin", body)
	p := begin(t, u, up)
	if _, err := send(t.Context(), p, body, everything); err != nil {
		t.Fatal(err)
	}
	wrong := up.Sums
	wrong.CRC32C = "00000001"
	if err := p.Complete(t.Context(), wrong); !errors.Is(err, objects.ErrDigest) || !pipeline.IsRetryable(err) {
		t.Error(err)
	}
	// The first two parts in each other's place.
	for n, part := range [][]byte{body[partBytes : 2*partBytes], body[:partBytes]} {
		if err := p.Put(t.Context(), n, part, crc32.Checksum(part, castagnoli())); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Complete(t.Context(), up.Sums); !errors.Is(err, objects.ErrDigest) {
		t.Error(err)
	}
	if err := p.Put(t.Context(), 2, body[:5], crc32.Checksum(body[:5], castagnoli())); err != nil {
		t.Fatal(err)
	}
	if err := p.Complete(t.Context(), up.Sums); !errors.Is(err, errParts) {
		t.Error(err)
	}
	absent(t, u, up.Key)
	for range 2 {
		if err := p.Abort(t.Context()); err != nil {
			t.Error(err)
		}
	}
	absent(t, u, up.Key)
	if n := finish(t, u, begin(t, u, up), up, body); n != 0 {
		t.Errorf("%d parts were sent again", n)
	}
}

// Another writer comes between: its object stays, unless it is to be replaced.
func TestTaken(t *testing.T) {
	body := random(2*partBytes + 5)
	for _, over := range []bool{false, true} {
		u := small(t, config(t, servers.Azure(t)))
		up := uploadOf("large.bin", body)
		up.Replace = over
		p := begin(t, u, up)
		if _, err := send(t.Context(), p, body, everything); err != nil {
			t.Fatal(err)
		}
		// Azurite takes a name with waiting blocks for one with an object.
		theirs := uploadOf(up.Key, []byte("theirs"))
		theirs.Replace = true
		if err := u.Put(t.Context(), theirs, []byte("theirs")); err != nil {
			t.Fatal(err)
		}
		err := p.Complete(t.Context(), up.Sums)
		if got := content(t, u, up.Key); errors.Is(err, objects.ErrTaken) == over || bytes.Equal(got, body) != over {
			t.Errorf("replacing %v: %d bytes, %v", over, len(got), err)
		}
	}
}

// The blocks are gone: another has made an object of this name, and removed it.
func TestLost(t *testing.T) {
	u := small(t, config(t, servers.Azure(t)))
	body := random(2*partBytes + 5)
	up := uploadOf("large.bin", body)
	p := begin(t, u, up)
	if _, err := send(t.Context(), p, body, everything); err != nil {
		t.Fatal(err)
	}
	if _, err := u.b.Blob(up.Key).CommitBlockList(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := u.Delete(t.Context(), up.Key); err != nil {
		t.Fatal(err)
	}
	if err := p.Complete(t.Context(), up.Sums); !errors.Is(err, fs.ErrNotExist) || pipeline.ExitCode(err) == pipeline.ExitEnvironment {
		t.Errorf("%v", err)
	}
	if n := finish(t, u, begin(t, u, up), up, body); n != 3 {
		t.Errorf("%d parts were sent", n)
	}
}

func TestCombine(t *testing.T) {
	body := random(100_000)
	for _, at := range []int{0, 1, 2, 255, 256, 65_537, 99_999, 100_000} {
		first, second := crc32.Checksum(body[:at], castagnoli()), crc32.Checksum(body[at:], castagnoli())
		if got, want := combine(first, second, int64(len(body)-at)), crc32.Checksum(body, castagnoli()); got != want {
			t.Errorf("at %d: %08x instead of %08x", at, got, want)
		}
	}
}
