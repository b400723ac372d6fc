package pgvector

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"sort"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	reader "outgrow/source/pgvector"
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

func (m *memory) Units(context.Context) (out []pipeline.Unit, err error) {
	for _, n := range m.names {
		out = append(out, unit(n, m.by[n]))
	}
	return out, nil
}

func unit(name string, records []*pipeline.Vector) pipeline.Unit {
	u := pipeline.Unit{Lane: pipeline.Vectors, Name: name, Records: int64(len(records))}
	for _, r := range records {
		u.Dim = max(u.Dim, len(r.Embedding))
	}
	return u
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

// config is a target with vectors of n elements.
func config(dsn string, n int) Config {
	return Config{RowsHere: true, PG: env.PGVectorConfig{URL: env.Secret(dsn), MaxLength: n, HNSWM: 16, HNSWEf: 64, IVFFlatLists: 100, CreateExtension: true}}
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

func begin(tb testing.TB, s *Sink) pipeline.Resumed {
	tb.Helper()
	res, err := s.Journal().Begin(context.Background(), pipeline.Run{ID: "t", Source: pipeline.Identity{Stable: "s", State: "1"}, Target: "t"})
	if err != nil {
		tb.Fatal(err)
	}
	return res
}

func transforms(cfg Config) []pipeline.Transform[*pipeline.Vector] {
	return []pipeline.Transform[*pipeline.Vector]{vectors.Transform(cfg.PG)}
}

func move(ctx context.Context, src pipeline.Source[*pipeline.Vector], s *Sink) error {
	return pipeline.Copy(ctx, pipeline.Job[*pipeline.Vector]{Source: src, Sink: s, Transforms: transforms(s.cfg), Backoff: pipeline.Backoff{Attempts: 3}})
}

// verify compares everything through the target's reader.
func verify(tb testing.TB, src pipeline.Source[*pipeline.Vector], s *Sink) (units []pipeline.UnitDiff, found []pipeline.Difference) {
	tb.Helper()
	r := openReader(tb, reader.Config{PG: s.cfg.PG})
	units, err := pipeline.Diff(context.Background(), pipeline.Comparison[*pipeline.Vector]{Source: src, Transforms: transforms(s.cfg), Target: r,
		Equal: vectors.Compare(s.cfg.PG), Journal: s.Journal(), Report: func(d pipeline.Difference) { found = append(found, d) }})
	if err != nil {
		tb.Fatal(err)
	}
	return units, found
}

func openReader(tb testing.TB, cfg reader.Config) *reader.Source {
	tb.Helper()
	r, err := reader.Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.Close() })
	return r
}

func equal(tb testing.TB, src pipeline.Source[*pipeline.Vector], s *Sink) {
	tb.Helper()
	units, found := verify(tb, src, s)
	for _, d := range found {
		tb.Errorf("%+v", d)
	}
	for _, u := range units {
		if u.Different() || u.Source != u.Target+u.Excused {
			tb.Errorf("%+v", u)
		}
	}
}

func connect(tb testing.TB, dsn string) *pgx.Conn {
	tb.Helper()
	c, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func scan[T any](tb testing.TB, c *pgx.Conn, sql string, args ...any) (v T) {
	tb.Helper()
	if err := c.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	return v
}

func run(tb testing.TB, c *pgx.Conn, sql string, args ...any) {
	tb.Helper()
	if _, err := c.Exec(context.Background(), sql, args...); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// indexes gives the definitions of the table's indexes by name.
func indexes(tb testing.TB, c *pgx.Conn) map[string]string {
	tb.Helper()
	rows, err := c.Query(context.Background(), "SELECT indexname::text, indexdef FROM pg_indexes WHERE tablename = 'document_chunk'")
	if err != nil {
		tb.Fatal(err)
	}
	out := map[string]string{}
	var name, def string
	if _, err := pgx.ForEachRow(rows, []any{&name, &def}, func() error { out[name] = def; return nil }); err != nil {
		tb.Fatal(err)
	}
	return out
}

// corpus fills collections with n records in all, of dim elements.
func corpus(n, dim int, seed uint64) *memory {
	r := rand.New(rand.NewPCG(seed, 0))
	m := &memory{batch: 100}
	names := []string{"file-0c", "1f0e", "user-memory-7", "knowledge-bases", "a\"b'c ж"}
	for i := range n {
		text := fmt.Sprintf("Stück %d of a document, 日本語 😀 \t\"quoted\" \\ end", i)
		v := &pipeline.Vector{ID: fmt.Sprintf("%08x-%04x", r.Uint32(), i), Text: &text, Embedding: make([]float32, dim),
			Metadata: []byte(fmt.Sprintf(`{"file_id":"f%d","page":%d,"score":%d.0,"tiny":%g,"big":%d,"flag":true,"uni":"\u05e9 é","empty":""}`, i%4, i, i, 4.25e-07*float64(i), int64(1)<<60+int64(i)))}
		for k := range v.Embedding {
			v.Embedding[k] = float32(r.NormFloat64() * 0.05)
		}
		m.add(names[i%len(names)], v)
	}
	return m
}

func ids(records []*pipeline.Vector) []string {
	var out []string
	for _, r := range records {
		out = append(out, r.ID)
	}
	sort.Strings(out)
	return out
}
