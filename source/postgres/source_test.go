package postgres

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

func unit(name string) pipeline.Unit { return pipeline.Unit{Lane: pipeline.Rows, Name: name} }

// filled is a database with these statements run, and a source on it.
func filled(t testing.TB, change func(*Config), statements ...string) *Source {
	t.Helper()
	dsn := servers.PostgreSQL(t)
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range statements {
		if _, err := conn.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%v in %s", err, sql)
		}
	}
	cfg := Config{URL: env.Secret(dsn)}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

const (
	chat = `CREATE TABLE chat (id varchar PRIMARY KEY, chat json, n bigint, small integer, yes boolean, born date, at timestamp, note text)`
	tag  = `CREATE TABLE tag (id text, user_id text, n integer, PRIMARY KEY (user_id, id))`
)

func TestValuesAreCanonical(t *testing.T) {
	t.Parallel()
	s := filled(t, func(c *Config) {
		c.Columns = map[string][]string{"chat": {"n", "id", "chat", "small", "yes", "born", "at", "note"}}
	}, chat,
		`INSERT INTO chat VALUES ('a', '{ "b" : 1.0, "b":  2e400}', 9223372036854775807, -7, true, '2024-02-29', '2024-02-29 01:02:03.0405', E'tab\t\\N\n'),
		 ('b', 'null', NULL, NULL, false, NULL, '2024-02-29 01:02:03', ''), ('c', NULL, -1, 2147483647, NULL, '0001-01-01', NULL, NULL)`)
	got, err := s.Get(t.Context(), unit("chat"), []string{"c", "a", "b", "nobody", "nul\x00", "bad\xff"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]any{
		"a": {int64(9223372036854775807), "a", `{ "b" : 1.0, "b":  2e400}`, int64(-7), true, "2024-02-29", "2024-02-29 01:02:03.040500", "tab\t\\N\n"},
		"b": {nil, "b", "null", nil, false, nil, "2024-02-29 01:02:03", ""},
		"c": {int64(-1), "c", nil, int64(2147483647), nil, "0001-01-01", nil, nil},
	}
	if len(got) != len(want) {
		t.Fatalf("%d rows", len(got))
	}
	for key, values := range want {
		if !reflect.DeepEqual(got[key].Values, values) {
			t.Errorf("%s:\n got %#v\nwant %#v", key, got[key].Values, values)
		}
	}
	if n, err := s.Count(t.Context(), unit("chat")); err != nil || n != 3 {
		t.Fatal(n, err)
	}
}

func TestCompositeKeys(t *testing.T) {
	t.Parallel()
	s := filled(t, nil, tag, `INSERT INTO tag VALUES ('a', 'u', 1), (E'a\x1fb', 'u', 2), ('b', E'u\x1fa', 3), ('', 'u', 4)`)
	var keys []string
	for key, err := range s.Keys(t.Context(), unit("tag")) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	if want := []string{"u\x1f", "u\x1fa", "u\x1fa\x1fb", "u\x1fa\x1fb"}; !slices.Equal(keys, want) {
		t.Fatalf("%q", keys)
	}
	got, err := s.Get(t.Context(), unit("tag"), append(keys, "u", "u\x1fa\x1fb\x1fc", "x\x1fy"))
	if err != nil || len(got) != 3 || got["u\x1fa"].Values[2] != int64(1) || got["u\x1f"].Values[2] != int64(4) {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestTablesWithoutAKey(t *testing.T) {
	t.Parallel()
	s := filled(t, nil, "CREATE TABLE loose (a text); INSERT INTO loose VALUES ('x')")
	if _, err := s.Get(t.Context(), unit("loose"), []string{"x"}); !errors.Is(err, errors.ErrUnsupported) {
		t.Fatal(err)
	}
	for _, err := range s.Read(t.Context(), pipeline.Part{Unit: unit("loose")}, "") {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Fatal(err)
		}
	}
	if n, err := s.Count(t.Context(), unit("loose")); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	for _, err := range s.Keys(t.Context(), unit("absent")) {
		if err == nil || errors.Is(err, errors.ErrUnsupported) {
			t.Fatal(err)
		}
	}
}

func many(n int) string {
	return fmt.Sprintf(`INSERT INTO chat SELECT md5(i::text), ('{"i": ' || i || '}')::json, i, i, i %% 2 = 0, '2024-01-01', NULL, 'é' FROM generate_series(1, %d) i; ANALYZE chat`, n)
}

func TestReadsPartsAndResumes(t *testing.T) {
	t.Parallel()
	const n = 10000
	s := filled(t, func(c *Config) { c.Limits = pipeline.Limits{Records: 700, Bytes: 1 << 20} }, chat, tag, many(n), "INSERT INTO tag SELECT i, i % 10, i FROM generate_series(1, 5000) i")
	for _, table := range []string{"chat", "tag"} {
		u := unit(table)
		u.Records = n
		parts, err := s.Split(t.Context(), u, 4)
		if err != nil || len(parts) != 4 || parts[0].From != "" || parts[3].To != "" {
			t.Fatalf("%+v, %v", parts, err)
		}
		seen := map[string]int{}
		for _, p := range parts {
			inPart := 0
			at := pipeline.Cursor("")
			// A reader that is given up after every other batch, and begun anew.
			for stopped := true; stopped; {
				stopped = false
				for b, err := range s.Read(t.Context(), p, at) {
					if err != nil {
						t.Fatal(err)
					}
					if len(b.Records) > 700 || len(b.Records) != b.Read || b.Prev != at && at != "" || b.Bytes == 0 {
						t.Fatalf("%d records, prev %q after %q", len(b.Records), b.Prev, at)
					}
					for _, r := range b.Records {
						seen[r.Key()]++
						inPart++
					}
					if at = b.Next; len(seen)/700%2 == 1 {
						stopped = true
						break
					}
				}
			}
			if inPart < 300 {
				t.Errorf("%s: part %d has %d rows", table, p.N, inPart)
			}
		}
		count, err := s.Count(t.Context(), u)
		if err != nil || int(count) != len(seen) {
			t.Fatalf("%s: %d rows seen of %d, %v", table, len(seen), count, err)
		}
		for key, n := range seen {
			if n != 1 {
				t.Fatalf("%s seen %d times", key, n)
			}
		}
	}
	units, err := s.Units(t.Context())
	if err != nil || len(units) != 2 || units[0].Name != "chat" || units[0].Records != n || units[0].Bytes < 1<<20 {
		t.Fatalf("%+v, %v", units, err)
	}
}

func TestPartsBelongToTheirTable(t *testing.T) {
	t.Parallel()
	s := filled(t, nil, tag, chat)
	for _, cursor := range []pipeline.Cursor{`["a"]`, `17`, `["a","b","c"]`} {
		for _, err := range s.Read(t.Context(), pipeline.Part{Unit: unit("tag")}, cursor) {
			if err == nil {
				t.Fatalf("%s was taken", cursor)
			}
		}
	}
}

func TestNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	s := filled(t, nil, tag)
	if _, err := s.pool.Exec(t.Context(), "INSERT INTO tag VALUES ('a', 'b', 1)"); err == nil || !strings.Contains(err.Error(), "25006") {
		t.Fatal(err)
	}
}

// BenchmarkGet and BenchmarkRead measure rows/s of small rows.
func BenchmarkGet(b *testing.B) {
	const n = 100000
	s := filled(b, nil, chat, many(n))
	var keys []string
	for key, err := range s.Keys(context.Background(), unit("chat")) {
		if err != nil {
			b.Fatal(err)
		}
		keys = append(keys, key)
	}
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			for range b.N {
				start := time.Now()
				var wg sync.WaitGroup
				for part := range slices.Chunk(keys, n/workers) {
					wg.Go(func() {
						for few := range slices.Chunk(part, 2000) {
							if got, err := s.Get(context.Background(), unit("chat"), few); err != nil || len(got) != len(few) {
								b.Error(len(got), err)
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(n/time.Since(start).Seconds(), "rows/s")
			}
		})
	}
}

// BenchmarkRead reads in the order of the index, and by sorted keys.
func BenchmarkRead(b *testing.B) {
	const n = 200000
	for name, create := range map[string]string{"keys": chat, "index": strings.Replace(chat, "varchar PRIMARY", `varchar COLLATE "C" PRIMARY`, 1)} {
		b.Run(name, func(b *testing.B) {
			s := filled(b, nil, create, many(n))
			for range b.N {
				start, seen := time.Now(), 0
				for batch, err := range s.Read(context.Background(), pipeline.Part{Unit: unit("chat")}, "") {
					if err != nil {
						b.Fatal(err)
					}
					seen += len(batch.Records)
				}
				if seen != n {
					b.Fatal(seen)
				}
				b.ReportMetric(n/time.Since(start).Seconds(), "rows/s")
			}
		})
	}
}

// BenchmarkReadWide reads long JSON by sorted keys with two workers, on a
// snapshot.
func BenchmarkReadWide(b *testing.B) {
	const n = 20000
	dsn := servers.PostgreSQL(b)
	beside(b, dsn, webui, chat, fmt.Sprintf(`INSERT INTO chat (id, chat, n) SELECT md5(i::text), ('{"i": "' || (SELECT string_agg(md5((i * 1000 + j)::text), '') FROM generate_series(1, 500) j) || '"}')::json, i FROM generate_series(1, %d) i`, n), "ANALYZE")
	s := snapshot(b, dsn, nil)
	units, err := s.Units(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		start, bytes := time.Now(), atomic.Int64{}
		err := pipeline.Scan(context.Background(), pipeline.Survey[*pipeline.Row]{Source: s, Units: units[:1], Workers: 2,
			Handle: func(_ context.Context, b pipeline.Batch[*pipeline.Row]) error { bytes.Add(b.Bytes); return nil }})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(bytes.Load())/1e6/time.Since(start).Seconds(), "MB/s")
	}
}
