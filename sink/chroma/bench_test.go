package chroma

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/chromahttp"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	"outgrow/testdata/servers"
)

// benchRecords are as Open WebUI makes them: n records in each collection, 600
// bytes of text, ten metadata keys.
func benchRecords(collections, n, dim int) (out []pipetest.Expected[*pipeline.Vector]) {
	words := strings.Fields("storage index vector chat folder answer model prompt release server customer invoice quarter report meeting policy holiday budget")
	seed := uint32(1)
	next := func() uint32 { seed = seed*1664525 + 1013904223; return seed >> 8 }
	for c := range collections {
		e := pipetest.Expected[*pipeline.Vector]{Unit: unit(fmt.Sprintf("file-%08x", c), dim)}
		for i := range n {
			var text strings.Builder
			for text.Len() < 600 {
				text.WriteString(words[next()%uint32(len(words))] + " ")
			}
			v := vector(fmt.Sprintf("%06x%06x-%06x", next(), next(), i), text.String(), fmt.Sprintf(`{"name":"report %d.pdf","source":"report %d.pdf","created_by":"%032x","file_id":"%036x",`+
				`"start_index":%d,"page":%d,"page_label":"%d","score":%g,"hash":"%08x%056x","embedding_config":"{\"engine\": \"openai\"}"}`,
				c, c, c, c, i*600, i/3, i/3+1, float64(next())/1e7, next(), i))
			for range dim {
				v.Embedding = append(v.Embedding, float32(next())/(1<<23)-1)
			}
			e.Records = append(e.Records, v)
		}
		e.Unit.Records = int64(n)
		out = append(out, e)
	}
	return out
}

// BenchmarkWrite copies 20 collections of 1000 records of 768 dimensions out of
// memory, with everything that makes it durable, and finishes the store.
func BenchmarkWrite(b *testing.B) {
	content := benchRecords(20, 1000, 768)
	total, size := 0, int64(0)
	for _, e := range content {
		total += len(e.Records)
		for _, v := range e.Records {
			size += int64(v.Size())
		}
	}
	src := pipetest.NewMemory(pipeline.Limits{Records: 1000, Bytes: 8 << 20}, content...)
	b.SetBytes(size)
	var file int64
	var finish time.Duration
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "vector_db")
		j := (&pipetest.MemoryState{}).Open()
		if _, err := j.Begin(b.Context(), pipeline.Run{ID: "t"}); err != nil {
			b.Fatal(err)
		}
		s := open(b, Config{Dir: dir, Journal: j})
		if err := pipeline.Copy(b.Context(), pipeline.Job[*pipeline.Vector]{Source: src, Sink: timed{s, &finish}, Journal: j,
			Transforms: []pipeline.Transform[*pipeline.Vector]{chromahttp.Transform(s.cfg.Store)}}); err != nil {
			b.Fatal(err)
		}
		s.Close()
		info, err := os.Stat(filepath.Join(dir, fileSQLite))
		if err != nil {
			b.Fatal(err)
		}
		file = info.Size()
		os.RemoveAll(dir)
	}
	b.ReportMetric(float64(total)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(finish.Seconds()/b.Elapsed().Seconds()*100, "%finish")
	b.ReportMetric(float64(file)/float64(total), "B/record")
	b.ReportMetric(float64(size)/float64(total), "B/vector")
}

// BenchmarkOpen tells how long the real chromadb needs for a collection that was
// written here: at its first use, and later.
func BenchmarkOpen(b *testing.B) {
	python := servers.ChromaPython(b)
	for _, n := range []int{900, 10_000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			content := benchRecords(1, n, 768)
			for b.Loop() {
				dir := filepath.Join(b.TempDir(), "vector_db")
				fill(b, Config{Dir: dir}, content)
				for _, when := range []string{"first", "later"} {
					var took struct{ Open, Count, Query float64 }
					if err := json.Unmarshal(chromadb(b, python, nil, dir, "--time", content[0].Unit.Name), &took); err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(took.Open+took.Count+took.Query, "s-"+when)
				}
			}
		})
	}
}

// timed notes how long finishing takes.
type timed struct {
	*Sink
	took *time.Duration
}

func (t timed) Finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	began := time.Now()
	defer func() { *t.took += time.Since(began) }()
	return t.Sink.Finish(ctx, step)
}
