package qdrant

import (
	"context"
	"strings"
	"testing"
	"time"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/qdrant"
)

// BenchmarkLoadAndRead moves 20,000 records of 768 elements and 1 KB of text,
// most of them in one collection, and reads them back; the wait for the vector
// index is timed by itself.
func BenchmarkLoadAndRead(b *testing.B) {
	const n = 20_000
	content := corpus(n, 768, 1)
	text := strings.Repeat("words of a chunk as long as they are, ", 26)
	one := content[0]
	for _, e := range content[1:] {
		one.Records = append(one.Records, e.Records...)
	}
	one.Unit.Records = n
	for _, v := range one.Records {
		t := *v.Text + text
		v.Text = &t
	}
	src := pipetest.NewMemory(pipeline.Limits{Records: 1000}, one)
	for name, multitenancy := range map[string]bool{"plain": false, "multitenancy": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				cfg, j := store(b, multitenancy), begun(b)
				began := time.Now()
				timed := &untilFinish{Sink: open(b, Config{Store: cfg, Journal: j}), began: began}
				if err := pipeline.Copy(b.Context(), pipeline.Job[*pipeline.Vector]{Source: src, Sink: timed, Journal: j, Transforms: transforms(cfg), Workers: 1}); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(n/timed.loaded.Seconds(), "rows/s-load")
				b.ReportMetric(time.Since(began).Seconds()-timed.loaded.Seconds(), "s-finish")
				r := openReader(b, reader.Config{Store: cfg})
				began = time.Now()
				seen := 0
				for batch, err := range r.Read(b.Context(), pipeline.Part{Unit: one.Unit}, "") {
					if err != nil {
						b.Fatal(err)
					}
					seen += len(batch.Records)
				}
				if seen != n {
					b.Fatalf("%d records", seen)
				}
				b.ReportMetric(n/time.Since(began).Seconds(), "rows/s-read")
				began = time.Now()
				verify(b, src, cfg, nil)
				b.ReportMetric(n/time.Since(began).Seconds(), "rows/s-verify")
			}
		})
	}
}

// untilFinish notes when the load ended.
type untilFinish struct {
	*Sink
	began  time.Time
	loaded time.Duration
}

func (u *untilFinish) Finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	u.loaded = time.Since(u.began)
	return u.Sink.Finish(ctx, step)
}
