package rows_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"outgrow/mappings/rows"
	"outgrow/testdata/servers"

	"github.com/jackc/pgx/v5"
)

// hostile makes values of every storage class out of pieces that have broken
// something somewhere.
func hostile(r *rand.Rand) any {
	pieces := []string{`{"a":`, `"b"`, `[`, `]`, `}`, `,`, `:`, `"`, `\`, `\u0000`, `\ud83d`, `\ude00`, `\u00e9`, `\\`, "\x00", "\xed\xa0\xbd", "\xff", "ü", "🚀",
		"\n", "\t", "\x1f", " ", "null", "true", "NaN", "-Infinity", "12", "-0.5e+7", "1e400", "0x10", "2024-02-29", "2024-01-02 03:04:05", "T", "Z", ".", "\xef\xbb\xbf", "\u2028", "'", `\.`, `\N`}
	switch r.IntN(8) {
	case 0:
		return int64(r.Uint64())
	case 1:
		return int64(r.IntN(3))
	case 2:
		return (r.Float64() - 0.5) * []float64{1, 1e9, 1e19, 1e300}[r.IntN(4)]
	case 3:
		return nil
	}
	var b strings.Builder
	for range r.IntN(7) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	switch s := b.String(); r.IntN(4) {
	case 0:
		return `{"k":"` + s + `"}`
	case 1:
		return []byte(s)
	default:
		return s
	}
}

// stand fills NOT NULL columns where Convert refuses the value.
var stand = map[string]string{rows.Text: "", rows.Varchar: "", rows.Bigint: "0", rows.Integer: "0", rows.Boolean: "true", rows.JSON: "null",
	rows.Date: "2000-01-01", rows.Timestamp: "2000-01-01 00:00:00"}

// What Convert yields, a real column takes and gives back as the same text,
// and no JSON of it makes ->> or #>> fail.
func TestPostgreSQLTakesIt(t *testing.T) {
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, servers.PostgreSQL(t, servers.Plain))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	r := rand.New(rand.NewPCG(1, 2))
	for _, typ := range []string{rows.Text, rows.Varchar, rows.Bigint, rows.Integer, rows.Boolean, rows.JSON, rows.Date, rows.Timestamp} {
		t.Run(typ, func(t *testing.T) {
			sqlType, c := typ, rows.Column{Table: "note", Name: "created_at", Type: typ}
			if typ == rows.Varchar {
				sqlType, c.MaxLen, c.Name = "varchar(20)", 20, "name"
			}
			if _, err := conn.Exec(ctx, "CREATE TEMP TABLE t (n int PRIMARY KEY, v "+sqlType+", w "+sqlType+" NOT NULL)"); err != nil {
				t.Fatal(err)
			}
			defer conn.Exec(ctx, "DROP TABLE t")
			var want [][2]*string
			for n := 0; n < 4000; n++ {
				in := hostile(r)
				v, _, problem := rows.Convert(c, in)
				if problem != nil {
					t.Fatalf("Convert(%#v): %v", in, problem)
				}
				strict := c
				strict.NotNull = true
				w, _, problem := rows.Convert(strict, in)
				if problem != nil {
					if in != nil && typ != rows.Date {
						t.Fatalf("Convert(%#v) for NOT NULL: %v", in, problem)
					}
					w = stand[typ]
				}
				a, b := asText(t, v), asText(t, w)
				if _, err := conn.Exec(ctx, "INSERT INTO t VALUES ($1, $2::text::"+sqlType+", $3::text::"+sqlType+")", len(want), a, b); err != nil {
					t.Fatalf("%#v became %#v and %#v: %v", in, v, w, err)
				}
				want = append(want, [2]*string{a, b})
			}
			got, err := conn.Query(ctx, "SELECT v::text, w::text FROM t ORDER BY n")
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for ; got.Next(); n++ {
				var a, b *string
				if err := got.Scan(&a, &b); err != nil {
					t.Fatal(err)
				}
				if !same(a, want[n][0]) || !same(b, want[n][1]) {
					t.Fatalf("row %d reads %s, %s; written %s, %s", n, show(a), show(b), show(want[n][0]), show(want[n][1]))
				}
			}
			if got.Err() != nil || n != len(want) || n != 4000 {
				t.Fatalf("%d of %d rows: %v", n, len(want), got.Err())
			}
			if typ == rows.JSON {
				var count int
				err := conn.QueryRow(ctx, `SELECT count(*) FROM (SELECT v #>> '{}' a, CASE WHEN json_typeof(v) = 'object' THEN v ->> 'k' END b, w #>> '{}' c, json_typeof(w) d FROM t OFFSET 0) s
					WHERE length(concat(a, b, c, d)) >= 0`).Scan(&count)
				if err != nil || count != n {
					t.Fatalf("->> of %d of %d rows: %v", count, n, err)
				}
			}
		})
	}
}

func asText(t *testing.T, v any) *string {
	var s string
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		s = v
	case int64:
		s = strconv.FormatInt(v, 10)
	case bool:
		s = strconv.FormatBool(v)
	default:
		t.Fatalf("%#v is not canonical", v)
	}
	return &s
}

func same(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	// PostgreSQL leaves the zeros of a fraction out.
	if strings.Contains(*b, ".") && strings.HasPrefix(*b, *a) && strings.Trim((*b)[len(*a):], "0") == "" {
		return true
	}
	return *a == *b
}

func show(s *string) string {
	if s == nil {
		return "NULL"
	}
	return fmt.Sprintf("%q", *s)
}

// The depth that Convert lets pass is one that PostgreSQL takes.
func TestPostgreSQLTakesTheDepth(t *testing.T) {
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, servers.PostgreSQL(t, servers.Plain))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, pair := range [][2]string{{"[", "]"}, {`{"a":`, "}"}} {
		deep := strings.Repeat(pair[0], rows.MaxDepth-1) + "[]" + strings.Repeat(pair[1], rows.MaxDepth-1)
		if rows.Scan(deep) != 0 {
			t.Fatal("the depth is refused")
		}
		var n int
		if err := conn.QueryRow(ctx, "SELECT length($1::text::json #>> '{}')", deep).Scan(&n); err != nil {
			t.Error(err)
		}
	}
}
