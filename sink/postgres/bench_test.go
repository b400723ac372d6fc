package postgres

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// wide makes rows as chat_message has them: about size bytes of JSON each.
func wide(from, n, size int) []*pipeline.Row {
	body := strings.Repeat(`{"role":"assistant","content":"A sentence of \"ordinary\" length,\nwith an é and a line end.","n":12},`, size/105+1)
	var list [][]any
	for i := from; i < from+n; i++ {
		list = append(list, []any{fmt.Sprintf("m%09d", i), fmt.Sprintf("c%06d", i/10), "u000001", "assistant", `[` + strconv.Itoa(i) + `,` + body + `1]`,
			nil, "gpt", "[]", nil, true, `{"prompt_tokens": 12, "total": 1.0}`, int64(1700000000 + i), int64(1700000000 + i)})
	}
	return rows("chat_message", []string{"id", "chat_id", "user_id", "role", "content", "output", "model_id", "files", "sources", "done", "usage", "created_at", "updated_at"}, list...)
}

// BenchmarkCopy compares the two formats of COPY, and the whole of Write, with
// 1, 2 and 3 writers: MB/s of values and rows/s. OUTGROW_BENCH_ROWS sets how
// many rows of about 2 kB are written at a time (10,000).
func BenchmarkCopy(b *testing.B) {
	n := 10000
	if v, err := strconv.Atoi(os.Getenv("OUTGROW_BENCH_ROWS")); err == nil {
		n = v
	}
	const per = 1000
	body := wide(0, n, 2000)
	size := 0
	for _, r := range body {
		size += r.Size()
	}
	for _, mode := range []string{"text", "binary", "write"} {
		for _, writers := range []int{1, 2, 3} {
			b.Run(fmt.Sprintf("%s/%d", mode, writers), func(b *testing.B) {
				for range b.N {
					b.StopTimer()
					s := opened(b, servers.PostgreSQL(b), func(c *Config) { c.Writers = writers })
					begin(b, s)
					if err := s.Prepare(context.Background(), unit("chat_message")); err != nil {
						b.Fatal(err)
					}
					var parts []pipeline.Part
					for w := range writers {
						parts = append(parts, pipeline.Part{Unit: unit("chat_message"), N: w})
					}
					if err := s.Journal().Fix(context.Background(), unit("chat_message"), parts); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					start := time.Now()
					var next atomic.Int64
					var wg sync.WaitGroup
					for w := range writers {
						wg.Go(func() {
							at := pipeline.Cursor("")
							for {
								from := int(next.Add(per)) - per
								if from >= n {
									return
								}
								to := pipeline.Cursor(strconv.Itoa(from))
								if err := put(s, mode, pipeline.Batch[*pipeline.Row]{Part: parts[w], Prev: at, Next: to, Records: body[from:min(n, from+per)]}); err != nil {
									b.Error(err)
									return
								}
								at = to
							}
						})
					}
					wg.Wait()
					d := time.Since(start).Seconds()
					b.ReportMetric(float64(size)/1e6/d, "MB/s")
					b.ReportMetric(float64(n)/d, "rows/s")
					_ = s.Close()
				}
			})
		}
	}
}

func put(s *Sink, mode string, batch pipeline.Batch[*pipeline.Row]) error {
	ctx := context.Background()
	if mode == "write" {
		_, err := s.Write(ctx, batch)
		return err
	}
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	var body io.Reader = &copyText{rows: batch.Records}
	format := ""
	if mode == "binary" {
		body, format = &copyBinary{rows: batch.Records}, " WITH (FORMAT binary)"
	}
	_, err = c.Conn().PgConn().CopyFrom(ctx, body, "COPY public.chat_message ("+strings.Join(batch.Records[0].Table.Columns, ",")+") FROM STDIN"+format)
	return err
}

// BenchmarkEncode is what the formats cost on this side.
func BenchmarkEncode(b *testing.B) {
	body := wide(0, 2000, 2000)
	for name, open := range map[string]func() io.Reader{"text": func() io.Reader { return &copyText{rows: body} }, "binary": func() io.Reader { return &copyBinary{rows: body} }} {
		b.Run(name, func(b *testing.B) {
			buf := make([]byte, 64<<10)
			for range b.N {
				r, n := open(), int64(0)
				for {
					c, err := r.Read(buf)
					if n += int64(c); err != nil {
						break
					}
				}
				b.SetBytes(n)
			}
		})
	}
}
