package gcs

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// partBytes is the size of a part in tests.
const partBytes = 4 * quantum

// small makes an uploader with small parts.
func small(t testing.TB, cfg env.GCSConfig, state string) *Uploader {
	t.Helper()
	u := uploader(t, cfg, state)
	u.part = partBytes
	return u
}

// through names the server by a proxy that counts what is sent.
func through(t *testing.T, cfg env.GCSConfig) (env.GCSConfig, *servers.FaultProxy) {
	t.Helper()
	p := servers.NewFaultProxy(t, cfg.Emulator)
	p.Count(servers.Large(1))
	cfg.Emulator = p.URL
	return cfg, p
}

func begin(t *testing.T, u *Uploader, up objects.Upload) objects.Parts {
	t.Helper()
	p, err := u.Begin(t.Context(), up)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// send sends the parts that are missing, up to a number; the error is that of
// the first that fails.
func send(ctx context.Context, p objects.Parts, body []byte, upTo int) error {
	n := 0
	for part := range slices.Chunk(body, partBytes) {
		if n == upTo {
			break
		}
		crc := crc32.Checksum(part, crc32.MakeTable(crc32.Castagnoli))
		if !p.Has(n, int64(len(part)), crc) {
			if err := p.Put(ctx, n, part, crc); err != nil {
				return err
			}
		}
		n++
	}
	return nil
}

const everything = 1 << 30

func remembers(t *testing.T, state string) int {
	t.Helper()
	entries, err := os.ReadDir(state)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	return len(entries)
}

func TestParts(t *testing.T) {
	state := t.TempDir()
	u := small(t, config(t, servers.GCS(t)), state)
	for _, size := range []int{partBytes + 1, 2 * partBytes, 2*partBytes + quantum, 3*partBytes - 1, 3*partBytes + quantum + 1} {
		body := random(size)
		up := uploadOf("a & b+c.pdf", body)
		p := begin(t, u, up)
		if p.Parallel() {
			t.Error("parallel")
		}
		if err := send(t.Context(), p, body, everything); err != nil {
			t.Fatal(err)
		}
		absent(t, u, up.Key)
		if n := remembers(t, state); n != 1 {
			t.Errorf("%d files", n)
		}
		if err := p.Complete(t.Context(), up.Sums); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(content(t, u, up.Key), body) {
			t.Errorf("%d: another content", size)
		}
		if n := remembers(t, state); n != 0 {
			t.Errorf("%d files", n)
		}
		if o := metadataOf(t, u, up.Key); o.ContentType != "application/pdf" {
			t.Errorf("%+v", o)
		}
		if err := u.Delete(t.Context(), up.Key); err != nil {
			t.Fatal(err)
		}
	}
}

// A killed run's parts are not sent again, whatever it was doing when it died;
// the next one may have another size of parts.
func TestResume(t *testing.T) {
	body := random(6*partBytes + 12345)
	up := uploadOf("large.bin", body)
	for name, tt := range map[string]struct {
		sent  int            // parts before
		fault *servers.Fault // on the way of the next one
		mid   bool           // the next run has parts of another size
	}{
		"between parts":         {sent: 3},
		"at the begin":          {sent: 0},
		"before the end":        {sent: everything},
		"in a part":             {sent: 2, fault: &servers.Fault{Do: servers.CutRequest, Match: servers.Large(partBytes)}},
		"after a part":          {sent: 2, fault: &servers.Fault{Do: servers.LostAnswer, Match: servers.Large(partBytes)}},
		"parts of another size": {sent: 3, mid: true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, proxy := through(t, config(t, servers.GCS(t)))
			state := t.TempDir()
			u := small(t, cfg, state)
			p := begin(t, u, up)
			if err := send(t.Context(), p, body, tt.sent); err != nil {
				t.Fatal(err)
			}
			if tt.fault != nil {
				proxy.Set(tt.fault)
				if err := send(t.Context(), p, body, tt.sent+1); !pipeline.IsRetryable(err) {
					t.Fatal(err)
				}
			}
			stored := proxy.Stored()
			// Through another proxy: the address of the server has changed.
			cfg.Emulator = strings.Replace(cfg.Emulator, "127.0.0.1", "localhost", 1)
			v := small(t, cfg, state)
			if tt.mid {
				v.part = 2 * partBytes
			}
			proxy.Count(servers.Large(1))
			p = begin(t, v, up)
			n := 0
			for part := range slices.Chunk(body, int(v.part)) {
				if !p.Has(n, int64(len(part)), 0) {
					if err := p.Put(t.Context(), n, part, 0); err != nil {
						t.Fatal(err)
					}
				}
				n++
			}
			if err := p.Complete(t.Context(), up.Sums); err != nil {
				t.Fatal(err)
			}
			if want, got := int64(len(body))-stored, proxy.Sent(); got > want+1000 || got < want-1000 { // there are metadata, too
				t.Errorf("%d bytes were sent, %d were missing", got, want)
			}
			if !bytes.Equal(content(t, v, up.Key), body) {
				t.Error("another content")
			}
			if n := remembers(t, state); n != 0 {
				t.Errorf("%d files", n)
			}
		})
	}
}

// A file is streamed, several parts in a request, and goes on where a killed run
// has left it, whichever way that had sent it.
func TestStream(t *testing.T) {
	body := random(7*partBytes + 12345)
	up := uploadOf("large.bin", body)
	stream := func(t *testing.T, p objects.Parts, upTo int64) error {
		s := p.(objects.Streamer)
		for from := int64(0); from < upTo; from += s.Span() {
			if err := s.Stream(t.Context(), bytes.NewReader(body), from, min(from+s.Span(), up.Bytes)); err != nil {
				return err
			}
		}
		return nil
	}
	for name, before := range map[string]func(*testing.T, objects.Parts) error{
		"nothing":      func(*testing.T, objects.Parts) error { return nil },
		"from memory":  func(t *testing.T, p objects.Parts) error { return send(t.Context(), p, body, 3) },
		"streamed":     func(t *testing.T, p objects.Parts) error { return stream(t, p, 3*partBytes) },
		"but the last": func(t *testing.T, p objects.Parts) error { return stream(t, p, up.Bytes) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg, proxy := through(t, config(t, servers.GCS(t)))
			state := t.TempDir()
			open := func() objects.Parts {
				u := small(t, cfg, state)
				u.span = func(int64) int64 { return 2 * partBytes }
				return begin(t, u, up)
			}
			if err := before(t, open()); err != nil {
				t.Fatal(err)
			}
			stored := proxy.Stored()
			proxy.Count(servers.Large(1))
			proxy.Set(&servers.Fault{Do: servers.CutRequest, Match: servers.Large(2 * partBytes)})
			p := open()
			err := stream(t, p, up.Bytes)
			if err != nil && !pipeline.IsRetryable(err) {
				t.Fatal(err)
			}
			cut := int64(partBytes * proxy.Met())
			if err != nil {
				err = stream(t, p, up.Bytes)
			}
			if err == nil {
				err = p.Complete(t.Context(), up.Sums)
			}
			if err != nil {
				t.Fatal(err)
			}
			if want, got := up.Bytes-stored+cut, proxy.Sent(); got > want+100_000 || got < want-1000 { // what was on its way is lost
				t.Errorf("%d bytes were sent, %d were missing", got, want)
			}
			u := small(t, cfg, state)
			if !bytes.Equal(content(t, u, up.Key), body) {
				t.Error("another content")
			}
			if n := remembers(t, state); n != 0 {
				t.Errorf("%d files", n)
			}
		})
	}
}

// What goes wrong in one run: the same part is tried again.
func TestFaults(t *testing.T) {
	body := random(4*partBytes + 5)
	up := uploadOf("large.bin", body)
	for _, do := range []servers.Action{servers.CutRequest, servers.ServerError, servers.Reset, servers.LostAnswer} {
		cfg, proxy := through(t, config(t, servers.GCS(t)))
		u := small(t, cfg, t.TempDir())
		p := begin(t, u, up)
		proxy.Set(&servers.Fault{Do: do, Match: servers.Large(partBytes), After: 1, Times: 2})
		failures := 0
		for n := 0; n < 5; {
			part := body[n*partBytes : min(len(body), (n+1)*partBytes)]
			if err := p.Put(t.Context(), n, part, 0); err == nil {
				n++
			} else if failures++; !pipeline.IsRetryable(err) || strings.Contains(err.Error(), "upload_id") {
				t.Fatalf("fault %d: %v", do, err)
			}
		}
		if failures != 2 {
			t.Errorf("fault %d: %d failures", do, failures)
		}
		if err := p.Complete(t.Context(), up.Sums); err != nil {
			t.Errorf("fault %d: %v", do, err)
		}
		if !bytes.Equal(content(t, u, up.Key), body) {
			t.Errorf("fault %d: another content", do)
		}
	}
}

// Damaged bytes never become an object, and the upload is given up.
func TestDamaged(t *testing.T) {
	body := random(3*partBytes + 5)
	up := uploadOf("large.bin", body)
	for name, f := range map[string]*servers.Fault{
		"a part":   {Do: servers.FlipRequest, Match: servers.Large(partBytes), After: 1},
		"the rest": {Do: servers.FlipRequest, Match: func(r *http.Request) bool { return r.Method == http.MethodPut && r.ContentLength == 5 }},
	} {
		cfg, proxy := through(t, config(t, servers.GCS(t)))
		state := t.TempDir()
		u := small(t, cfg, state)
		p := begin(t, u, up)
		proxy.Set(f)
		err := send(t.Context(), p, body, everything)
		if err == nil {
			err = p.Complete(t.Context(), up.Sums)
		}
		if !errors.Is(err, objects.ErrDigest) || !pipeline.IsRetryable(err) {
			t.Errorf("%s: %v", name, err)
		}
		absent(t, u, up.Key)
		if n := remembers(t, state); n != 0 {
			t.Errorf("%s: %d files", name, n)
		}
		p = begin(t, u, up)
		if err := send(t.Context(), p, body, everything); err != nil {
			t.Fatal(err)
		}
		if err := p.Complete(t.Context(), up.Sums); err != nil || !bytes.Equal(content(t, u, up.Key), body) {
			t.Errorf("%s, again: %v", name, err)
		}
	}
}

// The sums that the end is told are not those of the beginning, or of what was
// sent.
func TestWrongSums(t *testing.T) {
	body := random(2*partBytes + 5)
	u := small(t, config(t, servers.GCS(t)), t.TempDir())
	for _, told := range []bool{true, false} {
		up := uploadOf("large.bin", body)
		if told {
			up.Sums.CRC32C = "00000001"
		}
		p := begin(t, u, up)
		if err := send(t.Context(), p, body, everything); err != nil {
			t.Fatal(err)
		}
		if !told {
			up.Sums.CRC32C = "00000001"
		}
		if err := p.Complete(t.Context(), up.Sums); !errors.Is(err, objects.ErrDigest) {
			t.Error(err)
		}
		absent(t, u, up.Key)
	}
}

// Another writer comes between: its object stays, unless it is to be replaced.
func TestTaken(t *testing.T) {
	body := random(2*partBytes + 5)
	for _, over := range []bool{false, true} {
		state := t.TempDir()
		u := small(t, config(t, servers.GCS(t)), state)
		up := uploadOf("large.bin", body)
		up.Replace = over
		p := begin(t, u, up)
		if err := send(t.Context(), p, body, everything); err != nil {
			t.Fatal(err)
		}
		if err := u.Put(t.Context(), uploadOf(up.Key, []byte("theirs")), []byte("theirs")); err != nil {
			t.Fatal(err)
		}
		err := p.Complete(t.Context(), up.Sums)
		if got := content(t, u, up.Key); errors.Is(err, objects.ErrTaken) == over || bytes.Equal(got, body) != over {
			t.Errorf("replacing %v: %d bytes, %v", over, len(got), err)
		}
		if n := remembers(t, state); n != 0 {
			t.Errorf("%d files", n)
		}
	}
}

// The server forgets its uploads: another is begun.
func TestForgotten(t *testing.T) {
	s := servers.StartGCS(t)
	state, body := t.TempDir(), random(3*partBytes)
	u := small(t, config(t, s), state)
	up := uploadOf("large.bin", body)
	p := begin(t, u, up)
	if err := send(t.Context(), p, body, 2); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if err := send(t.Context(), p, body, 3); err != nil && !pipeline.IsRetryable(err) {
		t.Error(err)
	} else if err == nil {
		err = p.Complete(t.Context(), up.Sums)
		if !pipeline.IsRetryable(err) {
			t.Error(err)
		}
	}
	if _, err := u.Begin(t.Context(), up); !pipeline.IsRetryable(err) {
		t.Errorf("the server is down: %v", err)
	}
	if n := remembers(t, state); n != 1 {
		t.Errorf("%d files", n)
	}
	s.Restart(t)
	for range 2 {
		if err := p.Put(t.Context(), 2, body[2*partBytes:], 0); !errors.Is(err, fs.ErrNotExist) || pipeline.ExitCode(err) == pipeline.ExitEnvironment {
			t.Errorf("after the restart: %v", err)
		}
	}
	p = begin(t, u, up)
	if p.Has(0, partBytes, 0) {
		t.Error("it has a part")
	}
	if err := send(t.Context(), p, body, everything); err != nil {
		t.Fatal(err)
	}
	if err := p.Complete(t.Context(), up.Sums); err != nil || !bytes.Equal(content(t, u, up.Key), body) {
		t.Error(err)
	}
}

func TestAbort(t *testing.T) {
	state, body := t.TempDir(), random(3*partBytes)
	u := small(t, config(t, servers.GCS(t)), state)
	p := begin(t, u, uploadOf("large.bin", body))
	if err := send(t.Context(), p, body, 2); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Abort(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := remembers(t, state); n != 0 {
		t.Errorf("%d files", n)
	}
	if begin(t, u, uploadOf("large.bin", body)).Has(0, partBytes, 0) {
		t.Error("it has a part")
	}
}

// What is remembered is of one content, of one place; it is no secret for long,
// and never harmful.
func TestState(t *testing.T) {
	dir, body := t.TempDir(), random(2*partBytes+1)
	cfg := config(t, servers.GCS(t))
	u := small(t, cfg, dir)
	begin(t, u, uploadOf("a", body))
	begin(t, u, uploadOf("a", body[1:]))
	begin(t, u, uploadOf("b", body))
	over := uploadOf("b", body)
	over.Replace = true
	begin(t, u, over)
	if n := remembers(t, dir); n != 4 {
		t.Errorf("%d files", n)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"", "{", `{"version": 2, "session": "http://x"}`, `{"version": 1}`} {
		if err := os.WriteFile(filepath.Join(dir, entries[i].Name()), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, up := range []objects.Upload{uploadOf("a", body), uploadOf("a", body[1:]), uploadOf("b", body), over} {
		begin(t, u, up)
	}
	old := time.Now().Add(-9 * 24 * time.Hour)
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, e := range append(entries[1:2:2], entries[2]) {
		if err := os.Chtimes(filepath.Join(dir, e.Name()), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(other, old, old); err != nil {
		t.Fatal(err)
	}
	small(t, cfg, dir)
	if n := remembers(t, dir); n != 3 {
		t.Errorf("%d files", n)
	}
	_, err = NewUploader(u.b, filepath.Join(other, "x"))
	if pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Error(err)
	}
}

func TestCommitted(t *testing.T) {
	for header, want := range map[string]int64{"": 0, "bytes=0-0": 1, "bytes=0-262143": 262144, "bytes=1-2": -1, "bytes=0-": -1, "0-5": -1, "bytes=0--1": -1, "bytes=0-99999999999999999999": -1} {
		got, err := committed(header)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, %v", header, got, err)
		}
	}
}

func TestSpan(t *testing.T) {
	for n, want := range map[int64]int64{1: 16 << 20, 300 << 20: 18<<20 + 3*quantum, 1 << 30: 64 << 20, 1 << 40: 64 << 20} {
		if got := span(n); got != want {
			t.Errorf("%d of %d, want %d", got, n, want)
		}
	}
}
