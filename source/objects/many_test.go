package objects

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/objects"
	"outgrow/mappings/objects/objectstest"
	"outgrow/pipeline"
	"outgrow/source/files"
)

// many is a bucket of so many objects that are nowhere.
type many int

func (m many) List(context.Context) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		for i := range int(m) {
			if !yield(m.info(i), nil) {
				return
			}
		}
	}
}

func (many) info(i int) objects.Info {
	// As many bytes as a key of Open WebUI's has: <uuid>_<name>.
	return objects.Info{Key: fmt.Sprintf("%08x-0000-4000-8000-%012d_a document of the usual length.txt", uint32(i)*2654435761, i), Bytes: 20 << 10,
		ModTime: time.Unix(1_800_000_000, 0), Version: fmt.Sprintf("%032x", i), Sums: objects.Sums{MD5: fmt.Sprintf("%032x", i)}}
}

func (many) Head(context.Context, string) (objects.Info, error) {
	return objects.Info{}, fs.ErrNotExist
}

func (many) Open(context.Context, objects.Info, int64) (io.ReadCloser, error) {
	return nil, fs.ErrNotExist
}

// TestManyObjects reads a bucket of very many objects in little memory. The
// number is OUTGROW_MANY_FILES, 30000 by default.
func TestManyObjects(t *testing.T) {
	n := 30_000
	if s := os.Getenv("OUTGROW_MANY_FILES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		n = 3_000
	}
	s := open(t, Config{Bucket: many(n)})
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base, peak := m.HeapAlloc, uint64(0)
	look := func() {
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc-min(base, m.HeapAlloc))
	}
	start := time.Now()
	units, err := s.Units(t.Context())
	if err != nil || units[0].Records != int64(n) {
		t.Fatalf("%+v, %v", units, err)
	}
	look()
	listed := time.Since(start)
	start = time.Now()
	parts, err := s.Split(t.Context(), units[0], 8)
	if err != nil || len(parts) != 8 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	read := 0
	for _, p := range parts {
		here := 0
		for b, err := range s.Read(t.Context(), p, "") {
			if err != nil {
				t.Fatal(err)
			}
			here += len(b.Records)
			if read%4096 == 0 {
				look()
			}
		}
		if here < n/8-1 || here > n/8+8 {
			t.Errorf("part %d has %d objects", p.N, here)
		}
		read += here
	}
	if read != n || peak > 32<<20 {
		t.Errorf("%d of %d read, heap %d MiB", read, n, peak>>20)
	}
	t.Logf("%d objects: listed in %v, read in %v, heap at most %d MiB above the start", n, listed, time.Since(start), peak>>20)
}

// The rows of the database are compared with the listing alone.
func TestCrossCheck(t *testing.T) {
	m := &objectstest.Memory{}
	for _, k := range []string{"1_a.txt", "2_b.txt", "stray", "sub/3_c.txt"} {
		m.Store(k, []byte("12345"))
	}
	rows := func(yield func(files.FileRow, error) bool) {
		for _, r := range []files.FileRow{
			{ID: "1", Path: "s3://b/pre/1_a.txt", Size: 5}, {ID: "2", Path: "/app/backend/data/uploads/2_b.txt", Size: 7},
			{ID: "4", Path: "s3://b/pre/4_d.txt"}, {ID: "5"},
		} {
			if !yield(r, nil) {
				return
			}
		}
	}
	cross, err := files.CrossCheckObjects(t.Context(), open(t, Config{Bucket: m}), rows)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range cross.Findings {
		got = append(got, fmt.Sprint(f.Severity, " ", f.Reason, " ", f.Key))
	}
	want := "note size 2, warn missing-file 4, note no-row uploads/stray, note no-row uploads/sub/3_c.txt"
	if s := strings.Join(got, ", "); s != want || cross.Missing != 1 || cross.Strays != 2 || cross.Newest.IsZero() {
		t.Errorf("%s; %+v", s, cross)
	}
	if n := m.Calls(objectstest.Head) + m.Calls(objectstest.Open); n > 0 {
		t.Errorf("%d requests for single objects", n)
	}
	if _, ok := pipeline.Source[*pipeline.Object](open(t, Config{Bucket: m})).(files.Lister); !ok {
		t.Error("the reader does not look up in its listing")
	}
}
