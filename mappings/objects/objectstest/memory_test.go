package objectstest

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"testing"

	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

const all = objects.CRC32C | objects.MD5 | objects.SHA256

func uploadOf(key string, body []byte) objects.Upload {
	return objects.Upload{Key: key, Bytes: int64(len(body)), Sums: objects.SumsOfBytes(all, body)}
}

func TestPut(t *testing.T) {
	m, ctx := &Memory{Keeps: objects.MD5}, t.Context()
	if err := m.Put(ctx, uploadOf("a", []byte("123456789")), []byte("123456789")); err != nil {
		t.Fatal(err)
	}
	info, err := m.Head(ctx, "a")
	if err != nil || info.Bytes != 9 || info.Sums != (objects.Sums{MD5: "25f9e794323b453885f5181f1b624d0b"}) {
		t.Errorf("%+v, %v", info, err)
	}
	up := uploadOf("a", []byte("other"))
	if err := m.Put(ctx, up, []byte("other")); !errors.Is(err, objects.ErrTaken) {
		t.Errorf("the key is taken: %v", err)
	}
	if up.Replace = true; m.Put(ctx, up, []byte("Other")) == nil {
		t.Error("other bytes than those of the sums are stored")
	}
	if err := m.Put(ctx, up, []byte("other")); err != nil {
		t.Error(err)
	}
	if _, err := m.Open(ctx, info, 0); !errors.Is(err, objects.ErrChanged) {
		t.Errorf("the first version is gone: %v", err)
	}
	if _, err := m.Head(ctx, "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is none: %v", err)
	}
	info, _ = m.Head(ctx, "a")
	r, err := m.Open(ctx, info, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "her" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestParts(t *testing.T) {
	body := bytes.Repeat([]byte("abcdefgh"), 5) // 40 bytes
	for _, sequential := range []bool{false, true} {
		m, ctx := &Memory{PartBytes: 16, Sequential: sequential}, t.Context()
		p, err := m.Begin(ctx, uploadOf("k", body))
		if err != nil {
			t.Fatal(err)
		}
		put := func(p objects.Parts, n int, b []byte) error {
			return p.Put(ctx, n, b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
		}
		if err := put(p, 2, body[32:]); (err != nil) != sequential {
			t.Errorf("out of order: %v", err)
		}
		if err := put(p, 0, body[:16]); err != nil {
			t.Error(err)
		}
		if err := p.Complete(ctx, uploadOf("k", body).Sums); err == nil {
			t.Error("parts are missing")
		}
		p, err = m.Begin(ctx, uploadOf("k", body)) // the next run
		if err != nil {
			t.Fatal(err)
		}
		crc := crc32.Checksum(body[:16], crc32.MakeTable(crc32.Castagnoli))
		if !p.Has(0, 16, crc) || p.Has(0, 16, crc+1) || p.Has(1, 16, crc) {
			t.Error("the parts are not those that were sent")
		}
		if err := errors.Join(put(p, 1, body[16:32]), put(p, 2, body[32:])); err != nil {
			t.Error(err)
		}
		if err := p.Complete(ctx, uploadOf("k", body[1:]).Sums); !errors.Is(err, objects.ErrDigest) {
			t.Errorf("other sums: %v", err)
		}
		if err := p.Complete(ctx, uploadOf("k", body).Sums); err != nil {
			t.Error(err)
		}
		if got, ok := m.Content("k"); !ok || !bytes.Equal(got, body) || len(m.Pending()) > 0 {
			t.Errorf("%q, pending %q", got, m.Pending())
		}
	}
}

func TestFaults(t *testing.T) {
	boom := errors.New("boom")
	m := &Memory{}
	m.Store("a", []byte("1"))
	m.Store("b", []byte("2"))
	m.Lost = func(op, _ string) error { return pipeline.Transient(boom) }
	if err := m.Put(t.Context(), uploadOf("c", nil), nil); !errors.Is(err, boom) || !slices.Equal(m.Keys(), []string{"a", "b", "c"}) {
		t.Errorf("a lost answer: %v, keys %q", err, m.Keys())
	}
	m.Fault = func(op, key string) error {
		if op == List && key == "a" {
			return boom
		}
		return nil
	}
	var keys []string
	var last error
	for info, err := range m.List(t.Context()) {
		if last = err; err == nil {
			keys = append(keys, info.Key)
		}
	}
	if !errors.Is(last, boom) || len(keys) != 2 || m.Calls(List) != 3 {
		t.Errorf("%q, %v", keys, last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Head(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
