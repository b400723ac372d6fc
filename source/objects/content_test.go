package objects

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/objects"
	"outgrow/mappings/objects/objectstest"
	"outgrow/pipeline"
)

var errCut = errors.New("connection reset")

// record gives the one object of a bucket.
func record(t *testing.T, m objects.Bucket) *pipeline.Object {
	t.Helper()
	got, err := open(t, Config{Bucket: m}).Listed(t.Context(), uploads, []string{"uploads/a"})
	if err != nil || got["uploads/a"] == nil {
		t.Fatal(got, err)
	}
	return got["uploads/a"]
}

// read reads in pieces of 100 bytes.
func read(ctx context.Context, o *pipeline.Object) ([]byte, error) {
	r, err := o.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	_, err = io.CopyBuffer(struct{ io.Writer }{&b}, struct{ io.Reader }{r}, make([]byte, 100))
	return b.Bytes(), err
}

func TestContentGoesOn(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 100)
	for _, tt := range []struct {
		name    string
		cuts    []int // the reads that fail, counted over all requests
		opens   int   // requests in all
		fails   bool
		refused int // requests that fail as well
	}{
		{"whole", nil, 1, false, 0},
		{"cut once", []int{5}, 2, false, 0},
		{"cut at once", []int{1}, 2, false, 0},
		{"cut five times", []int{2, 4, 6, 8, 10}, 6, false, 0},
		{"cut six times", []int{2, 4, 6, 8, 10, 12}, 6, true, 0},
		{"the store is away, too", []int{5}, 5, false, 3},
		{"the store stays away", []int{5}, 6, true, 99},
	} {
		m := &objectstest.Memory{Lists: objects.MD5}
		m.Store("a", body)
		o := record(t, m)
		reads, opens := 0, 0
		m.Fault = func(op, _ string) error {
			switch op {
			case objectstest.Read:
				if reads++; slices.Contains(tt.cuts, reads) {
					return errCut
				}
			case objectstest.Open:
				if opens++; opens > 1 && opens <= tt.refused+1 {
					return pipeline.Transient(errCut)
				}
			}
			return nil
		}
		got, err := read(t.Context(), o)
		if (err != nil) != tt.fails || opens != tt.opens || !tt.fails && !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes, %v, %d requests", tt.name, len(got), err, opens)
		}
		if tt.fails && (!pipeline.IsRetryable(err) || !errors.Is(err, errCut) || !strings.Contains(err.Error(), "uploads/a")) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A long content may break off more often, as long as it gets on.
func TestLongContent(t *testing.T) {
	body := make([]byte, 12<<20)
	m := &objectstest.Memory{}
	m.Store("a", body)
	o := record(t, m)
	left := 0
	m.Fault = func(op, _ string) error {
		if op != objectstest.Read {
			return nil
		}
		if left++; left%(progress/100+10) == 0 {
			return errCut
		}
		return nil
	}
	got, err := read(t.Context(), o)
	if err != nil || len(got) != len(body) || m.Calls(objectstest.Open) < 10 {
		t.Errorf("%d bytes, %v, %d requests", len(got), err, m.Calls(objectstest.Open))
	}
}

func TestContentIsChecked(t *testing.T) {
	body := bytes.Repeat([]byte("x"), 1000)
	flip := func(op, _ string, b []byte) []byte {
		b = slices.Clone(b)
		b[500]++
		return b
	}
	cut := func(op, _ string, b []byte) []byte { return b[:900] }
	more := func(op, _ string, b []byte) []byte { return append(slices.Clone(b), 'x') }
	for _, tt := range []struct {
		name   string
		lists  objects.Algorithms
		summed bool
		damage func(op, key string, body []byte) []byte
		want   error
		retry  bool
	}{
		{"right", objects.CRC32C | objects.MD5, false, nil, nil, false},
		{"CRC32C", objects.CRC32C, false, flip, objects.ErrDigest, true},
		{"MD5", objects.MD5, false, flip, objects.ErrDigest, true},
		{"told by the answer", 0, true, flip, objects.ErrDigest, true},
		{"told by the answer, right", 0, true, nil, nil, false},
		{"no digest is known", 0, false, flip, nil, false},
		{"too short, every time", 0, false, cut, io.ErrUnexpectedEOF, true},
		{"too long", 0, false, more, objects.ErrChanged, false},
	} {
		m := &objectstest.Memory{Lists: tt.lists}
		m.Store("a", body)
		var b objects.Bucket = m
		if tt.summed {
			b = telling{m, objects.SumsOfBytes(objects.CRC32C, body)}
		}
		o := record(t, b)
		m.Damage = tt.damage
		if _, err := read(t.Context(), o); !errors.Is(err, tt.want) || tt.want == nil && err != nil || pipeline.IsRetryable(err) != tt.retry {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// telling is a bucket whose answers tell the digest.
type telling struct {
	*objectstest.Memory
	sums objects.Sums
}

type summed struct {
	io.ReadCloser
	sums objects.Sums
}

func (s summed) Sums() objects.Sums { return s.sums }

func (b telling) Open(ctx context.Context, info objects.Info, from int64) (io.ReadCloser, error) {
	r, err := b.Memory.Open(ctx, info, from)
	return summed{r, b.sums}, err
}

// What becomes another object meanwhile is never a mixture of both.
func TestContentChanges(t *testing.T) {
	m := &objectstest.Memory{}
	m.Store("a", bytes.Repeat([]byte("1"), 1000))
	o := record(t, m)
	reads := 0
	m.Fault = func(op, _ string) error {
		if op != objectstest.Read {
			return nil
		}
		if reads++; reads == 3 {
			m.Store("a", bytes.Repeat([]byte("2"), 1000))
			return errCut
		}
		return nil
	}
	if _, err := read(t.Context(), o); !errors.Is(err, objects.ErrChanged) || pipeline.IsRetryable(err) || pipeline.HintOf(err) == "" {
		t.Errorf("replaced while it was read: %v", err)
	}
	if _, err := read(t.Context(), o); !errors.Is(err, objects.ErrChanged) {
		t.Errorf("replaced before: %v", err)
	}
	m.Remove("a")
	if _, err := read(t.Context(), o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m.Store("a", bytes.Repeat([]byte("1"), 1000))
	o = record(t, m)
	reads = 0
	m.Fault = func(op, _ string) error {
		if op == objectstest.Read {
			if reads++; reads == 3 {
				cancel()
			}
		}
		return nil
	}
	if _, err := read(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
