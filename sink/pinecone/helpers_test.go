package pinecone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"outgrow/mappings/env"
	layout "outgrow/mappings/pinecone"
	"outgrow/pipeline"
	reader "outgrow/source/pinecone"
	"outgrow/testdata/servers/fakepinecone"
)

// memory is a source of collections; a cursor is the number of records read.
type memory struct {
	names []string
	by    map[string][]*pipeline.Vector
	batch int
}

func (m *memory) add(name string, records ...*pipeline.Vector) {
	if m.by == nil {
		m.by = map[string][]*pipeline.Vector{}
	}
	if _, ok := m.by[name]; !ok {
		m.names = append(m.names, name)
	}
	m.by[name] = append(m.by[name], records...)
}

func unit(name string, records []*pipeline.Vector) pipeline.Unit {
	u := pipeline.Unit{Lane: pipeline.Vectors, Name: name, Records: int64(len(records))}
	for _, r := range records {
		u.Dim = max(u.Dim, len(r.Embedding))
	}
	return u
}

func (m *memory) Units(context.Context) (out []pipeline.Unit, err error) {
	for _, n := range m.names {
		out = append(out, unit(n, m.by[n]))
	}
	return out, nil
}

func (m *memory) Read(_ context.Context, p pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Vector], error] {
	return func(yield func(pipeline.Batch[*pipeline.Vector], error) bool) {
		at, _ := strconv.Atoi(string(after))
		all, prev := m.by[p.Unit.Name], after
		for at < len(all) {
			end := min(at+max(m.batch, 1), len(all))
			b := pipeline.Batch[*pipeline.Vector]{Part: p, Prev: prev, Next: pipeline.Cursor(strconv.Itoa(end)), Read: end - at}
			b.Records = append(b.Records, all[at:end]...)
			for _, r := range b.Records {
				b.Bytes += int64(r.Size())
			}
			if !yield(b, nil) {
				return
			}
			at, prev = end, b.Next
		}
	}
}

func (m *memory) Close() error { return nil }

// corpus fills five collections with n records in all, of dim elements.
func corpus(n, dim int, seed uint64) *memory {
	r := rand.New(rand.NewPCG(seed, 0))
	m := &memory{batch: 100}
	names := []string{"file-0c", "1f0e", "user-memory-7", "knowledge-bases", "a\"b'c ж"}
	for i := range n {
		text := fmt.Sprintf("Stück %d of a document, 日本語 😀 \t\"quoted\" \\ end", i)
		v := &pipeline.Vector{ID: fmt.Sprintf("%08x-%04x", r.Uint32(), i), Text: &text, Embedding: make([]float32, dim),
			Metadata: fmt.Appendf(nil, `{"file_id":"f%d","page":%d,"score":%d.0,"tiny":%g,"big":%d,"flag":true,"uni":"\u05e9 é","empty":"","tags":["a","b"]}`, i%4, i, i, 4.25e-07*float64(i), int64(1)<<40+int64(i))}
		for k := range v.Embedding {
			v.Embedding[k] = float32(r.NormFloat64() * 0.05)
		}
		m.add(names[i%len(names)], v)
	}
	return m
}

// config names an index of the fake after anything.
func config(fake *fakepinecone.Server, name string, dim int) Config {
	sum := sha256.Sum256([]byte(name))
	return Config{Store: env.PineconeConfig{APIKey: "pcsk_secret", Environment: "us-east-1", Cloud: "aws", Metric: "cosine", Dimension: dim,
		Index: "ix-" + hex.EncodeToString(sum[:10]), Controller: fake.Controller}}
}

func open(tb testing.TB, cfg Config) *Sink {
	tb.Helper()
	s, err := Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func openReader(tb testing.TB, cfg reader.Config) *reader.Source {
	tb.Helper()
	cfg.TempDir = tb.TempDir()
	r, err := reader.Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.Close() })
	return r
}

// begun is a journal in which a run has begun.
func begun(tb testing.TB, j pipeline.Journal) pipeline.Journal {
	tb.Helper()
	_, err := j.Begin(context.Background(), pipeline.Run{ID: "t", Source: pipeline.Identity{Stable: "s", State: "1"}, Target: "t"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { j.Close() })
	return j
}

func job(src pipeline.Source[*pipeline.Vector], s *Sink, j pipeline.Journal) pipeline.Job[*pipeline.Vector] {
	return pipeline.Job[*pipeline.Vector]{Source: src, Sink: s, Journal: j, Backoff: pipeline.Backoff{Base: 20 * time.Millisecond, Attempts: 20},
		Transforms: []pipeline.Transform[*pipeline.Vector]{layout.Transform(s.cfg.Store)}}
}

// equal compares everything through the target's reader.
func equal(tb testing.TB, src pipeline.Source[*pipeline.Vector], cfg Config, j pipeline.Journal) []pipeline.UnitDiff {
	tb.Helper()
	units, err := pipeline.Diff(context.Background(), pipeline.Comparison[*pipeline.Vector]{Source: src, Target: openReader(tb, reader.Config{Store: cfg.Store}),
		Transforms: []pipeline.Transform[*pipeline.Vector]{layout.Transform(cfg.Store)}, Equal: layout.Compare(cfg.Store), Journal: j,
		Report: func(d pipeline.Difference) { tb.Errorf("%+v", d) }})
	if err != nil {
		tb.Fatal(err)
	}
	for _, u := range units {
		if u.Different() || u.Source != u.Target+u.Excused {
			tb.Errorf("%+v", u)
		}
	}
	return units
}
