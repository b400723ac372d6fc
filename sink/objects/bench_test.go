package objects

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	store "outgrow/mappings/objects"
	"outgrow/mappings/objects/objectstest"
	"outgrow/pipeline"
)

// discard takes everything and keeps nothing, so that only this package is
// measured.
type discard struct {
	objectstest.Memory
	part int64
	by   store.Algorithms
}

func (d *discard) Verifies() store.Algorithms { return d.by }

func (d *discard) Put(context.Context, store.Upload, []byte) error { return nil }
func (d *discard) PartSize(int64) int64                            { return d.part }
func (d *discard) Begin(context.Context, store.Upload) (store.Parts, error) {
	return discarded{}, nil
}

type discarded struct{}

func (discarded) Has(int, int64, uint32) bool                    { return false }
func (discarded) Parallel() bool                                 { return true }
func (discarded) Put(context.Context, int, []byte, uint32) error { return nil }
func (discarded) Complete(context.Context, store.Sums) error     { return nil }
func (discarded) Abort(context.Context) error                    { return nil }

// zeros is a content of that many bytes which costs nothing to read.
type zeros int64

func (z *zeros) Read(p []byte) (int, error) {
	if *z == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), int64(*z))
	*z -= zeros(n)
	return int(n), nil
}

func benchmark(b *testing.B, by store.Algorithms, list []*pipeline.Object) {
	d := &discard{part: 16 << 20, by: by}
	s, err := Open(b.Context(), Config{Bucket: d, Uploader: d})
	if err != nil {
		b.Fatal(err)
	}
	size := int64(0)
	for _, o := range list {
		size += o.Bytes
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		write(b, s, list...)
	}
	b.ReportMetric(float64(len(list))*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
	b.ReportMetric(float64(s.buffers.peak)/(1<<20), "MiB-buffers")
}

// BenchmarkSmall writes batches of 256 objects of 20 KiB.
func BenchmarkSmall(b *testing.B) {
	body := strings.Repeat("0123456789abcdef", 20<<10/16)
	var list []*pipeline.Object
	for i := range 256 {
		list = append(list, object(fmt.Sprintf("uploads/%d", i), body))
	}
	benchmark(b, store.CRC32C, list)
}

// BenchmarkLarge writes an object of 1 GiB in parts of 16 MiB.
func BenchmarkLarge(b *testing.B) {
	o := &pipeline.Object{Name: "uploads/a", Bytes: 1 << 30}
	o.Open = func(context.Context) (io.ReadCloser, error) {
		z := zeros(o.Bytes)
		return io.NopCloser(&z), nil
	}
	b.Run("crc32c", func(b *testing.B) { benchmark(b, store.CRC32C, []*pipeline.Object{o}) })
	b.Run("md5", func(b *testing.B) { benchmark(b, store.CRC32C|store.MD5, []*pipeline.Object{o}) })
}
