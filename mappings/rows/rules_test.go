package rows

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"

	"outgrow/pipeline"
)

// made is a digest of all that Rules makes of many odd values.
const made = "0bec7e1bbcca75addb04d3c780b7d4d81e23d3c9faaf9eed0e58a2313b6a6aa4"

// A change of what becomes of any value raises Rules, or a pass would leave rows
// as they were made before.
func TestRules(t *testing.T) {
	t.Parallel()
	values := []any{nil, int64(0), int64(1), int64(-7), int64(1700000000), int64(1700000000123456789), int64(math.MaxInt64), int64(math.MinInt64), 0.0, 1.0, 0.1, -1e300, math.Inf(1),
		true, false, "", " ", "0", "1", "007", "1.5", "1e3", "9223372036854775808", "true", "No", "o", "text", "a\x00b", "caf\xe9", "\xed\xa0\xbd", "\xed\xa0\xbd\xed\xb8\x80",
		"2024-02-29", "2023-02-29", "2024-02-29 12:30", "2024-02-29T12:30:00.120000+02:00", "0000-01-01", strings.Repeat("ü", 70),
		`{}`, `[]`, `null`, `{"a": [1, 2.0, {"b": "c"}], "a": 1e400}`, `{"a": "\u0000"}`, `{"a": "\ud83d"}`, `{"a": "\ud83d\ude00"}`, "{\"a\": \"\n\"}", `{"a": NaN, "b": -Infinity}`,
		"\xef\xbb\xbf{}", `{"a": }`, "{\"a\": \"caf\xe9\"}", strings.Repeat("[", MaxDepth+1), strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth),
		[]byte{}, []byte("text"), []byte(`{"a": 1}`), []byte{0, 0xff}}
	h := sha256.New()
	note := func(c any, v any, out any, fix *Fix, problem *Problem) {
		if problem != nil {
			out = nil // undefined
		}
		_, _ = fmt.Fprintf(h, "%v|%T %q|%T %q", c, v, fmt.Sprint(v), out, fmt.Sprint(out))
		if fix != nil {
			_, _ = fmt.Fprintf(h, "|%s", fix.Reason)
		}
		if problem != nil {
			_, _ = fmt.Fprintf(h, "!%s", problem.Reason)
		}
	}
	for _, v := range values {
		for _, typ := range []string{Text, Varchar, Bigint, Integer, Boolean, JSON, Date, Timestamp, "other"} {
			for _, name := range []string{"title", "user_id", "created_at"} {
				for _, c := range []Column{{}, {NotNull: true}, {NotNull: true, InPrimaryKey: true}, {NotNull: true, HasDefault: true}} {
					c.Table, c.Name, c.Type = "note", name, typ
					if typ == Varchar {
						c.MaxLen = 50
					}
					out, fix, problem := Convert(c, v)
					note(c, v, out, fix, problem)
				}
			}
		}
		for _, affinity := range []Affinity{AffinityInteger, AffinityText, AffinityBlob, AffinityReal, AffinityNumeric} {
			for _, c := range []SQLiteColumn{{}, {NotNull: true}, {NotNull: true, InPrimaryKey: true}} {
				c.Name, c.Affinity = "title", affinity
				out, fix, problem := ToSQLite(c, v)
				note(c, v, out, fix, problem)
			}
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != made {
		t.Errorf("something else is made of values than before: raise Rules, and set made to %s", got)
	}
}

// Whatever has a say in the rows has one in the name of the rules.
func TestRulesFor(t *testing.T) {
	t.Parallel()
	tables := func(change func(*Column)) map[string][]Column {
		out := map[string][]Column{"a": {{Table: "a", Name: "id", Type: Text, InPrimaryKey: true}, {Table: "a", Name: "n", Type: Bigint}}, "b": {{Table: "b", Name: "id", Type: Text}}}
		change(&out["a"][1])
		return out
	}
	want := RulesFor("1", tables(func(*Column) {}))
	if again := RulesFor("1", tables(func(*Column) {})); again != want {
		t.Errorf("two names: %s, %s", want, again)
	}
	seen := map[string]bool{want: true}
	for i, got := range []string{
		RulesFor("2", tables(func(*Column) {})),
		RulesFor("1", tables(func(c *Column) { c.Type = Integer })),
		RulesFor("1", tables(func(c *Column) { c.MaxLen = 5 })),
		RulesFor("1", tables(func(c *Column) { c.NotNull = true })),
		RulesFor("1", tables(func(c *Column) { c.Name = "m" })),
		RulesFor[Column]("1", nil),
		RulesFor[SQLiteColumn]("1", nil),
	} {
		if seen[got] {
			t.Errorf("case %d has the name of another", i)
		}
		seen[got] = true
	}
}

// What depends on files does so, and nothing else.
func TestDependsOnFiles(t *testing.T) {
	t.Parallel()
	moved := Options{FilePath: func(string) (string, string) { return "elsewhere", "moved" }}
	for _, table := range []string{"file", "chat", "knowledge"} {
		columns := []string{"id", "path"}
		row := &pipeline.Row{Table: &pipeline.Table{Name: table, Columns: columns, Key: []int{0}}, Values: []any{"1", "/data/uploads/x"}}
		u := pipeline.Unit{Lane: pipeline.Rows, Name: table}
		for _, change := range []func(Options) pipeline.Transform[*pipeline.Row]{
			func(o Options) pipeline.Transform[*pipeline.Row] {
				return Transform(map[string][]Column{table: {{Name: "id", Type: Text}, {Name: "path", Type: Text}}}, o)
			},
			func(o Options) pipeline.Transform[*pipeline.Row] {
				return SQLiteTransform(map[string][]SQLiteColumn{table: {{Name: "id"}, {Name: "path"}}}, o)
			},
		} {
			a, _, _ := change(Options{})(u, row)
			b, _, _ := change(moved)(u, row)
			if depends := a.Values[1] != b.Values[1]; depends != DependsOnFiles(table) {
				t.Errorf("%s: that its rows depend on the files is %v", table, depends)
			}
		}
	}
}
