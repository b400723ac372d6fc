package pgvector

import (
	"context"
	"testing"
	"time"

	"outgrow/pipeline"
	reader "outgrow/source/pgvector"
	"outgrow/testdata/servers"
)

// BenchmarkLoadAndRead moves 20,000 records of 1536 elements and 1 KB of text
// and reads them back; the index build is timed by itself.
func BenchmarkLoadAndRead(b *testing.B) {
	src := corpus(20_000, 1536, 1)
	src.batch = 500
	text := ""
	for range 30 {
		text += "words of a chunk as long as they are, "
	}
	for _, all := range src.by {
		for _, v := range all {
			t := *v.Text + text
			v.Text = &t
		}
	}
	for _, half := range []bool{false, true} {
		b.Run(map[bool]string{false: "vector", true: "halfvec without index"}[half], func(b *testing.B) {
			for b.Loop() {
				cfg := config(servers.PostgreSQL(b), 1536)
				cfg.PG.HalfVec = half
				if half {
					cfg.PG.IndexMethod, cfg.PG.IVFFlatLists = "ivfflat", 1000
				}
				s := open(b, cfg)
				begin(b, s)
				var loaded time.Duration
				began := time.Now()
				timed := &untilFinish{Sink: s, began: began, loaded: &loaded}
				if err := pipeline.Copy(b.Context(), pipeline.Job[*pipeline.Vector]{Source: src, Sink: timed, Transforms: transforms(cfg)}); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(20_000/loaded.Seconds(), "rows/s-load")
				b.ReportMetric(time.Since(began).Seconds()-loaded.Seconds(), "s-finish")
				r := openReader(b, reader.Config{PG: cfg.PG, Dim: 1536})
				began = time.Now()
				n := 0
				units, err := r.Units(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				for _, u := range units {
					for batch, err := range r.Read(b.Context(), pipeline.Part{Unit: u}, "") {
						if err != nil {
							b.Fatal(err)
						}
						n += len(batch.Records)
					}
				}
				if n != 20_000 {
					b.Fatalf("%d records", n)
				}
				b.ReportMetric(20_000/time.Since(began).Seconds(), "rows/s-read")
				began = time.Now()
				equal(b, src, s)
				b.ReportMetric(20_000/time.Since(began).Seconds(), "rows/s-verify")
			}
		})
	}
}

// untilFinish notes when the load ended.
type untilFinish struct {
	*Sink
	began  time.Time
	loaded *time.Duration
}

func (u *untilFinish) Finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	*u.loaded = time.Since(u.began)
	return u.Sink.Finish(ctx, step)
}
