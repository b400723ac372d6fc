package sqlite

import (
	"context"
	"os"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"outgrow/pipeline"
	source "outgrow/source/sqlite"
	"outgrow/testdata/servers"
)

// BenchmarkCopy copies the webui.db that OUTGROW_BENCH_DB names, as a migration
// does: MB/s of values for the load and for the whole, seconds of the finish, and
// the largest heap seen in MiB.
func BenchmarkCopy(b *testing.B) {
	from := os.Getenv("OUTGROW_BENCH_DB")
	if from == "" {
		servers.Skip(b, "OUTGROW_BENCH_DB names no webui.db")
	}
	for range b.N {
		p := newPlace(b)
		src, err := source.Open(b.Context(), source.Config{Path: from})
		if err != nil {
			b.Fatal(err)
		}
		s, j := opened(b, p, nil)
		transform, units := mapped(b, src, s)
		var size int64
		for _, u := range units {
			size += u.Bytes
		}
		stop := make(chan struct{})
		peak := make(chan uint64)
		go watch(stop, peak)
		start := time.Now()
		last, step := start, ""
		steps := map[string]time.Duration{}
		job := pipeline.Job[*pipeline.Row]{Source: src, Sink: timed{s, func(now string) {
			steps[step] += time.Since(last)
			last, step = time.Now(), now
		}}, Journal: j, Transforms: []pipeline.Transform[*pipeline.Row]{transform}, Units: units}
		if err := pipeline.Copy(b.Context(), job); err != nil {
			b.Fatal(err)
		}
		steps[step] += time.Since(last)
		if err := s.Release(b.Context()); err != nil {
			b.Fatal(err)
		}
		close(stop)
		b.ReportMetric(float64(size)/1e6/steps[""].Seconds(), "MB/s-load")
		b.ReportMetric(float64(size)/1e6/time.Since(start).Seconds(), "MB/s")
		b.ReportMetric(float64(<-peak)/(1<<20), "MiB")
		b.Logf("%d MB in %v: %v", size/1e6, time.Since(start), steps)
		ended(b, s, j)
		_ = src.Close()
		runtime.GC()
	}
}

// timed tells what Finish is doing.
type timed struct {
	*Sink
	step func(string)
}

func (t timed) Finish(ctx context.Context, _ func(string)) (pipeline.Outcome, error) {
	return t.Sink.Finish(ctx, t.step)
}

func watch(stop chan struct{}, peak chan uint64) {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	var most uint64
	for {
		select {
		case <-stop:
			peak <- most
			return
		case <-time.After(20 * time.Millisecond):
			metrics.Read(sample)
			most = max(most, sample[0].Value.Uint64())
		}
	}
}
