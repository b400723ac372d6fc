//go:build linux

package files

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// TestManyFiles reads a folder of very many files in little memory. The number
// is OUTGROW_MANY_FILES, 30000 by default.
func TestManyFiles(t *testing.T) {
	n := 30_000
	if s := os.Getenv("OUTGROW_MANY_FILES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		n = 3_000
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "uploads"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		// As many bytes as a file of Open WebUI has: <uuid>_<name>.
		name := fmt.Sprintf("%08x-0000-4000-8000-%012d_a document of the usual length.txt", uint32(i)*2654435761, i)
		f, err := os.Create(filepath.Join(dir, "uploads", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, Config{Mount: dir, Window: 0})
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
	if err != nil || len(units) != 1 || units[0].Records != int64(n) {
		t.Fatalf("%+v, %v", units, err)
	}
	look()
	listed := time.Since(start)
	start = time.Now()
	parts, err := s.Split(t.Context(), units[0], 8)
	if err != nil || len(parts) != 8 {
		t.Fatal(parts, err)
	}
	cut := time.Since(start)
	start = time.Now()
	got, last := 0, ""
	for _, p := range parts {
		for b, err := range s.Read(t.Context(), p, "") {
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range b.Records {
				if o.Name <= last {
					t.Fatalf("%s after %s", o.Name, last)
				}
				last = o.Name
				got++
			}
			if got%(50*256) == 0 {
				look()
			}
		}
		look()
	}
	if got != n {
		t.Errorf("%d of %d files", got, n)
	}
	if peak > 50<<20 {
		t.Errorf("%d MB for %d files", peak>>20, n)
	}
	t.Logf("%d files: %d MB, listed in %v, cut in %v, read in %v", n, peak>>20, listed, cut, time.Since(start))
}
