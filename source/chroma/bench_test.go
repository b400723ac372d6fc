package chroma

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"outgrow/pipeline"
)

// readParallel reads everything with several workers, each of which takes a
// unit at a time, and counts records and bytes.
func readParallel(ctx context.Context, s *Source, workers int) (records, size int64, err error) {
	units, err := s.Units(ctx)
	if err != nil {
		return 0, 0, err
	}
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(units) {
					return
				}
				for b, e := range s.Read(ctx, pipeline.Part{Unit: units[i]}, "") {
					mu.Lock()
					if e != nil {
						err = e
					}
					records, size = records+int64(b.Read), size+b.Bytes
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return records, size, err
}

// peakRSS is the process's VmHWM in megabytes, 0 where there is no /proc.
func peakRSS() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(b, []byte("VmHWM:"))
	kb, err := strconv.Atoi(string(bytes.Fields(append(rest, " 0"...))[0]))
	if err != nil {
		return 0
	}
	return float64(kb) / 1024
}

// BenchmarkRead reads a store: the one that OUTGROW_CHROMA_STORE names (make it
// with testdata/chroma/make_store.py), else a small one. Opening is part of it.
func BenchmarkRead(b *testing.B) {
	dir := os.Getenv("OUTGROW_CHROMA_STORE")
	if dir == "" {
		dir = filepath.Join(unpack(b, "1.5.9-kill9-hot-journal"), "vector_db")
	}
	for _, stopped := range []bool{true, false} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("stopped=%t/workers=%d", stopped, workers), func(b *testing.B) {
				total := int64(0)
				for b.Loop() {
					s, err := Open(b.Context(), Config{Dir: dir, Stopped: stopped, Private: b.TempDir()})
					if err != nil {
						b.Fatal(err)
					}
					records, size, err := readParallel(b.Context(), s, workers)
					if err != nil || records == 0 {
						b.Fatal(records, err)
					}
					total += records
					b.SetBytes(size)
					if err := s.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "records/s")
				b.ReportMetric(peakRSS(), "MB-peak")
			})
		}
	}
}
