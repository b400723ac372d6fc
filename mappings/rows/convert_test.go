package rows

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"outgrow/pipeline"
)

// One line and more for every case that real data have been seen to hold.
func TestConvert(t *testing.T) {
	col := func(table, name, typ string) Column { return Column{Table: table, Name: name, Type: typ} }
	must := func(c Column) Column { c.NotNull = true; return c }
	key := func(c Column) Column { c.NotNull, c.InPrimaryKey = true, true; return c }
	var (
		txt      = col("chat", "title", Text)
		username = Column{Table: "user", Name: "username", Type: Varchar, MaxLen: 50}
		longID   = Column{Table: "chat", Name: "user_id", Type: Varchar, MaxLen: 255}
		created  = col("chat", "created_at", Bigint)
		noted    = col("note", "created_at", Bigint)
		version  = col("feedback", "version", Bigint)
		serial   = col("config_old", "version", Integer)
		flag     = col("chat", "archived", Boolean)
		doc      = col("chat", "chat", JSON)
		birth    = col("user", "date_of_birth", Date)
		stamp    = col("config_old", "created_at", Timestamp)
		pair     = strings.Repeat("ü", 50)
	)
	for _, c := range []struct {
		name   string
		col    Column
		in     any
		want   any
		reason pipeline.Reason // "" for no change
		refuse pipeline.Reason
	}{
		{"text stays", txt, "Jahresbericht – 年度报告 🚀", "Jahresbericht – 年度报告 🚀", "", ""},
		{"empty text stays", txt, "", "", "", ""},
		{"NULL stays", txt, nil, nil, "", ""},
		{"raw NUL in text", txt, "a\x00b\x00", "ab", NUL, ""},
		{"raw surrogate in text", txt, "a\xed\xa0\xbdb", "a\ufffdb", BrokenText, ""},
		{"latin-1 in text", txt, "caf\xe9", "caf\ufffd", BrokenText, ""},
		{"NUL and latin-1 in text", txt, "\x00\xe9", "\ufffd", NUL, ""},
		{"BLOB in text", txt, []byte("hidden"), "hidden", FromBlob, ""},
		{"BLOB of no text in text", txt, []byte{0, 0xff}, "\ufffd", FromBlob, ""},
		{"number in text", txt, int64(7), "7", NotText, ""},
		{"real in text", txt, 0.1, "0.1", NotText, ""},
		{"COPY's own marks", txt, "\\.\n\\N\t\r", "\\.\n\\N\t\r", "", ""},
		{"u0000 in text that is not JSON's", txt, `\u0000`, `\u0000`, "", ""},
		{"username of 50", username, pair, pair, "", ""},
		{"username of 60", username, pair + "0123456789", pair, Truncated, ""},
		{"id of 300 on a legacy target", longID, strings.Repeat("x", 300), nil, "", pipeline.TooLong},
		{"NULL in NOT NULL", must(txt), nil, nil, "", pipeline.NotNull},
		{"NULL in the key", key(col("tag", "user_id", Varchar)), nil, nil, "", pipeline.NullKeyReason},

		{"integer stays", created, int64(1700000000), int64(1700000000), "", ""},
		{"nanoseconds stay", noted, int64(1700000000123456789), int64(1700000000123456789), "", ""},
		{"the largest", created, int64(math.MaxInt64), int64(math.MaxInt64), "", ""},
		{"digits in BIGINT", created, "1700000000123456789", int64(1700000000123456789), NotInteger, ""},
		{"a decimal fraction in BIGINT", created, " 1700000000.9 ", int64(1700000000), NotInteger, ""},
		{"an exponent in BIGINT", created, "1.7e9", int64(1700000000), NotInteger, ""},
		{"word in BIGINT", created, "abc", nil, NotInteger, ""},
		{"word in NOT NULL BIGINT", must(created), "abc", int64(0), NotInteger, ""},
		{"empty text in BIGINT", created, "", nil, NotInteger, ""},
		{"empty text in NOT NULL BIGINT", must(created), "", int64(0), NotInteger, ""},
		{"ISO date in seconds", created, "2023-11-14T22:13:20Z", int64(1700000000), NotInteger, ""},
		{"ISO date with a zone", created, "2023-11-14 23:13:20.5+01:00", int64(1700000000), NotInteger, ""},
		{"ISO date without a zone", created, "2023-11-14 22:13:20", int64(1700000000), NotInteger, ""},
		{"ISO date in nanoseconds", noted, "2023-11-14T22:13:20.5Z", int64(1700000000500000000), NotInteger, ""},
		{"ISO date alone", must(created), "2023-11-14", int64(1699920000), NotInteger, ""},
		{"ISO date where no time belongs", version, "2023-11-14", nil, NotInteger, ""},
		{"real in BIGINT", created, 1700000000.5, int64(1700000000), NotInteger, ""},
		{"negative real in BIGINT", created, -1.5, int64(-1), NotInteger, ""},
		{"whole real in BIGINT", created, 1.7e9, int64(1700000000), "", ""},
		{"real beyond int8", created, 1e19, nil, OutOfRange, ""},
		{"real beyond int8 in NOT NULL", must(created), 1e19, int64(math.MaxInt64), OutOfRange, ""},
		{"real below int8 in NOT NULL", must(created), math.Inf(-1), int64(math.MinInt64), OutOfRange, ""},
		{"2^63 exactly", created, float64(1 << 63), nil, OutOfRange, ""},
		{"digits beyond int8", created, "99999999999999999999", nil, OutOfRange, ""},
		{"BLOB in BIGINT", created, []byte("12"), int64(12), FromBlob, ""},
		{"beyond int4", serial, int64(1 << 31), nil, OutOfRange, ""},
		{"word in a key", key(col("config_old", "id", Integer)), "abc", nil, "", pipeline.Invalid},

		{"0", flag, int64(0), false, "", ""},
		{"1", flag, int64(1), true, "", ""},
		{"2", flag, int64(2), true, NotBoolean, ""},
		{"-1", flag, int64(-1), true, NotBoolean, ""},
		{"0.0", flag, 0.0, false, "", ""},
		{"word true", flag, "true", true, NotBoolean, ""},
		{"T", flag, " T ", true, NotBoolean, ""},
		{"yes", flag, "yes", true, NotBoolean, ""},
		{"off", flag, "off", false, NotBoolean, ""},
		{"text 0", flag, "0", false, NotBoolean, ""},
		{"text 2", flag, "2", true, NotBoolean, ""},
		{"o is neither on nor off", flag, "o", nil, NotBoolean, ""},
		{"empty text in a boolean", flag, "", nil, NotBoolean, ""},
		{"empty text in a NOT NULL boolean", must(flag), "", false, NotBoolean, ""},
		{"boolean from PostgreSQL", flag, true, true, "", ""},

		{"JSON stays", doc, "{ \"b\":1.0, \"a\":1e5,\"a\":\"\\u00e9\" }\n", "{ \"b\":1.0, \"a\":1e5,\"a\":\"\\u00e9\" }\n", "", ""},
		{"JSON null stays", doc, "null", "null", "", ""},
		{"SQL NULL in JSON stays", doc, nil, nil, "", ""},
		{"integer in JSON", doc, int64(60), "60", "", ""},
		{"integer beyond 2^53 in JSON", doc, int64(9007199254740993), "9007199254740993", "", ""},
		{"real in JSON", doc, 0.5, "0.5", "", ""},
		{"long real in JSON", doc, 0.30000000000000004, "0.30000000000000004", "", ""},
		{"large real in JSON", doc, 1.8446744073709552e19, "1.8446744073709552e+19", "", ""},
		{"infinity in JSON", doc, math.Inf(1), "null", RepairedJSON, ""},
		{"BLOB in JSON", doc, []byte(`{"a":1}`), `{"a":1}`, FromBlob, ""},
		{"u0000 in JSON", doc, `{"a":"x\u0000y","b":"\\u0000"}`, `{"a":"xy","b":"\\u0000"}`, NUL, ""},
		{"raw NUL in JSON", doc, "{\"a\":\"x\x00y\"}\x00", `{"a":"xy"}`, NUL, ""},
		{"half a surrogate pair in JSON", doc, `{"a":"x\ud83dy\ud83d\ude00"}`, `{"a":"xy\ud83d\ude00"}`, Surrogates, ""},
		{"surrogate bytes in JSON", doc, "\"\xed\xa0\xbd\"", "\"\ufffd\"", BrokenText, ""},
		{"empty text in JSON", doc, "", nil, EmptyJSON, ""},
		{"blanks in JSON", doc, " \n", nil, EmptyJSON, ""},
		{"empty text in NOT NULL JSON", must(doc), "", "null", EmptyJSON, ""},
		{"single quotes", doc, `{'a': 1}`, `"{'a': 1}"`, NotJSON, ""},
		{"trailing comma", doc, `{"a":1,}`, `"{\"a\":1,}"`, NotJSON, ""},
		{"bare word", doc, "hello", `"hello"`, NotJSON, ""},
		{"cut off", doc, "{\"a\":\"\\ud83d\x00\n", `"{\"a\":\"\\ud83d\n"`, NotJSON, ""},
		{"raw tab and newline", doc, "{\"a\":\"x\ty\n\"}", `{"a":"x\ty\n"}`, RepairedJSON, ""},
		{"byte order mark", doc, "\xef\xbb\xbf{\"a\":1}", `{"a":1}`, RepairedJSON, ""},
		{"NaN and Infinity", doc, `{"a":NaN,"b":[-Infinity,Infinity]}`, `{"a":null,"b":[null,null]}`, RepairedJSON, ""},
		{"1e400 and thirty digits", doc, `[1e400,123456789012345678901234567890]`, `[1e400,123456789012345678901234567890]`, "", ""},
		{"6000 deep", doc, strings.Repeat("[", 6000) + strings.Repeat("]", 6000), strings.Repeat("[", 6000) + strings.Repeat("]", 6000), "", ""},
		{"100000 deep", doc, strings.Repeat("[", 100000) + strings.Repeat("]", 100000), nil, "", DeepJSON},
		{"NULL in NOT NULL JSON", must(doc), nil, nil, "", pipeline.NotNull},

		{"date stays", birth, "1990-02-28", "1990-02-28", "", ""},
		{"empty date", birth, "", nil, NotDate, ""},
		{"number as a date", birth, int64(1990), nil, NotDate, ""},
		{"no such day", birth, "1990-02-30", nil, NotDate, ""},
		{"date with a time", birth, "1990-02-28 10:00:00", "1990-02-28", NotDate, ""},
		{"timestamp stays", stamp, "2024-01-02 03:04:05.120000", "2024-01-02 03:04:05.120000", "", ""},
		{"timestamp without a fraction", stamp, "2024-01-02 03:04:05.000000", "2024-01-02 03:04:05", "", ""},
		{"timestamp with a zone", stamp, "2024-01-02T03:04:05+01:00", "2024-01-02 02:04:05", NotDate, ""},
		{"word as a timestamp", must(stamp), "x", "1970-01-01 00:00:00", NotDate, ""},
	} {
		out, fix, problem := Convert(c.col, c.in)
		if problem != nil || c.refuse != "" {
			if problem == nil || problem.Reason != c.refuse || problem.Detail == "" {
				t.Errorf("%s: refused %v, want %q", c.name, problem, c.refuse)
			}
			continue
		}
		if !reflect.DeepEqual(out, c.want) {
			t.Errorf("%s: %#v, want %#v", c.name, out, c.want)
		}
		var reason pipeline.Reason
		if fix != nil {
			reason = fix.Reason
			if fix.Note == "" {
				t.Errorf("%s: changed without a note", c.name)
			}
		}
		if reason != c.reason {
			t.Errorf("%s: changed for %q, want %q", c.name, reason, c.reason)
		}
		if again, fix, problem := Convert(c.col, out); fix != nil || problem != nil || !reflect.DeepEqual(again, out) {
			t.Errorf("%s: converting %#v again gives %#v, %v, %v", c.name, out, again, fix, problem)
		}
	}
}

func TestTransform(t *testing.T) {
	unit := pipeline.Unit{Lane: pipeline.Rows, Name: "file"}
	tr := Transform(map[string][]Column{"file": {
		{Name: "id", Type: Varchar, NotNull: true, InPrimaryKey: true},
		{Name: "path", Type: Text},
		{Name: "data", Type: JSON},
		{Name: "later", Type: Text},
	}}, Options{FilePath: func(old string) (string, string) {
		return strings.Replace(old, "/app/", "/srv/", 1), "the data folder is elsewhere"
	}})
	header := &pipeline.Table{Name: "file", Columns: []string{"data", "extra", "path", "id"}, Key: []int{3}}
	row := func(vals ...any) *pipeline.Row { return &pipeline.Row{Table: header, Values: vals} }

	in := row("{\"a\":\"\\u0000\"}", int64(1), "/app/x\x00.txt", "f1")
	got, changes, refused := tr(unit, in)
	if refused != nil || !reflect.DeepEqual(got.Values, []any{"f1", "/srv/x.txt", `{"a":""}`}) || !reflect.DeepEqual(got.Table.Columns, []string{"id", "path", "data"}) || got.Key() != "f1" {
		t.Fatalf("%v %v %v", got, changes, refused)
	}
	want := []pipeline.Change{
		{Unit: "rows/file", Key: "f1", Column: "path", Reason: NUL, Before: pipeline.Digest("/app/x\x00.txt"), After: pipeline.Digest("/app/x.txt"), Note: "NUL characters taken out"},
		{Unit: "rows/file", Key: "f1", Column: "path", Reason: pipeline.PathRewritten, Before: pipeline.Digest("/app/x.txt"), After: pipeline.Digest("/srv/x.txt"), Note: "the data folder is elsewhere"},
		{Unit: "rows/file", Key: "f1", Column: "data", Reason: NUL, Before: pipeline.Digest(`{"a":"\u0000"}`), After: pipeline.Digest(`{"a":""}`), Note: `the escapes \u0000 taken out`},
	}
	if !reflect.DeepEqual(changes, want) {
		t.Errorf("changes %v\nwant %v", changes, want)
	}
	if in.Values[0] != "{\"a\":\"\\u0000\"}" {
		t.Error("the row that was read was changed")
	}
	// The same row again, and canonical once more.
	if again, _, _ := tr(unit, in); !reflect.DeepEqual(again, got) {
		t.Errorf("not a pure function: %v", again)
	}
	if again, changes, _ := tr(unit, got); !reflect.DeepEqual(again.Values, got.Values) || changes != nil {
		t.Errorf("canonical rows change: %v %v", again, changes)
	}

	deep := strings.Repeat("[", 7000) + strings.Repeat("]", 7000)
	got, changes, refused = tr(unit, row(deep, nil, "/app/y", "f2"))
	if got != nil || changes != nil || len(refused) != 1 || refused[0].Key != "f2" || refused[0].Column != "data" || refused[0].Reason != DeepJSON {
		t.Fatalf("%v %v %v", got, changes, refused)
	}
	var kept struct{ Values map[string]any }
	if err := json.Unmarshal(refused[0].Record, &kept); err != nil || kept.Values["data"] != deep || kept.Values["path"] != "/app/y" {
		t.Errorf("the refused row is not kept whole: %v", err)
	}
	_, _, one := tr(unit, row(nil, nil, "a", nil))
	_, _, two := tr(unit, row(nil, nil, "b", nil))
	if len(one) != 1 || one[0].Reason != pipeline.NullKeyReason || one[0].Key == two[0].Key {
		t.Errorf("rows without a key must stay apart: %v %v", one, two)
	}
	other := &pipeline.Row{Table: &pipeline.Table{Name: "mine", Columns: []string{"id"}, Key: []int{0}}, Values: []any{"x"}}
	if got, _, refused := tr(unit, other); got != nil || len(refused) != 1 {
		t.Errorf("a table that the target does not have: %v %v", got, refused)
	}
}

func BenchmarkTransform(b *testing.B) {
	cols := []string{"id", "user_id", "title", "created_at", "archived", "chat", "meta"}
	target := []Column{{Name: "id", Type: Varchar}, {Name: "user_id", Type: Varchar}, {Name: "title", Type: Text}, {Name: "created_at", Type: Bigint},
		{Name: "archived", Type: Boolean}, {Name: "chat", Type: JSON}, {Name: "meta", Type: JSON, NotNull: true}}
	row := &pipeline.Row{Table: &pipeline.Table{Name: "chat", Columns: cols, Key: []int{0}},
		Values: []any{"5f0c7a3e-9b1d-4c55-8f0a-2a4b6c8d0e1f", "u", "A title", int64(1700000000), int64(0), chatJSON(16 << 10), "{}"}}
	tr := Transform(map[string][]Column{"chat": target}, Options{})
	unit := pipeline.Unit{Lane: pipeline.Rows, Name: "chat"}
	b.SetBytes(int64(row.Size()))
	b.ReportAllocs()
	for b.Loop() {
		tr(unit, row)
	}
}
