package rows

import (
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver

	"outgrow/pipeline"
)

func TestAffinityOf(t *testing.T) {
	t.Parallel()
	for declared, want := range map[string]Affinity{
		"BIGINT": AffinityInteger, "INTEGER": AffinityInteger, "VARCHAR(255)": AffinityText, "VARCHAR": AffinityText, "TEXT": AffinityText,
		"JSON": AffinityNumeric, "BOOLEAN": AffinityNumeric, "DATETIME": AffinityNumeric, "DATE": AffinityNumeric, "": AffinityBlob, "BLOB": AffinityBlob,
		"FLOAT": AffinityReal, "REAL": AffinityReal, "json": AffinityNumeric, "CHARINT": AffinityInteger, "DECIMAL(10,5)": AffinityNumeric,
	} {
		if got := AffinityOf(declared); got != want {
			t.Errorf("%q: %s, want %s", declared, got, want)
		}
	}
}

const huge = "123456789012345678901234567890"

func TestToSQLite(t *testing.T) {
	t.Parallel()
	text, json, integer, number := SQLiteColumn{Affinity: AffinityText}, SQLiteColumn{Affinity: AffinityNumeric}, SQLiteColumn{Affinity: AffinityInteger}, SQLiteColumn{Affinity: AffinityReal}
	for _, c := range []struct {
		name   string
		col    SQLiteColumn
		in     any
		out    any
		fix    pipeline.Reason
		refuse pipeline.Reason
	}{
		{"text", text, "naïve", "naïve", "", ""},
		{"text of a number", text, "0123", "0123", "", ""},
		{"text of a huge number", text, huge, huge, "", ""},
		{"not UTF-8, with NUL", text, "a\xff\x00b", "a\xff\x00b", "", ""},
		{"blob", text, []byte{0, 1}, []byte{0, 1}, "", ""},
		{"blob in JSON", json, []byte("60"), []byte("60"), "", ""},
		{"NULL", text, nil, nil, "", ""},
		{"NULL where it may not be", SQLiteColumn{Affinity: AffinityText, NotNull: true}, nil, nil, "", pipeline.NotNull},
		{"NULL in a key", SQLiteColumn{Affinity: AffinityText, InPrimaryKey: true}, nil, nil, "", pipeline.NullKeyReason},
		{"true", json, true, int64(1), "", ""},
		{"false", json, false, int64(0), "", ""},
		{"JSON true", json, "true", "true", "", ""},
		{"JSON null", json, "null", "null", "", ""},
		{"JSON object", json, `{"a": 1.0}`, `{"a": 1.0}`, "", ""},
		{"JSON string of a number", json, `"60"`, `"60"`, "", ""},
		{"JSON 60", json, "60", int64(60), "", ""},
		{"JSON -1", json, "-1", int64(-1), "", ""},
		{"JSON 0.5", json, "0.5", 0.5, "", ""},
		{"JSON 1.0", json, "1.0", int64(1), Folded, ""},
		{"JSON 1e3", json, "1e3", int64(1000), Folded, ""},
		{"JSON -0.0", json, "-0.0", int64(0), Folded, ""},
		{"JSON 60 with spaces", json, " 60\n", int64(60), Folded, ""},
		{"JSON 1e300", json, "1e300", 1e300, Folded, ""},
		{"JSON in 64 bits", json, "9223372036854775807", int64(math.MaxInt64), "", ""},
		{"JSON in 64 bits, negative", json, "-9223372036854775808", int64(math.MinInt64), "", ""},
		{"JSON of 65 bits", json, "9223372036854775809", nil, "", OutOfRange},
		{"JSON of 98 bits", json, huge, nil, "", OutOfRange},
		{"JSON of 65 bits that a REAL holds", json, "18446744073709551616", nil, "", OutOfRange},
		{"JSON beyond a REAL", json, "1e400", nil, "", OutOfRange},
		{"JSON of many digits", json, "0.1234567890123456789", 0.12345678901234568, Folded, ""},
		{"JSON near zero", json, "1e-400", int64(0), Folded, ""},
		{"number found in JSON", json, int64(60), int64(60), "", ""},
		{"real found in JSON", json, 0.5, 0.5, "", ""},
		{"infinite", json, math.Inf(1), math.Inf(1), "", ""},
		{"NaN", json, math.NaN(), nil, "", OutOfRange},
		{"date", json, "2024-02-29", "2024-02-29", "", ""},
		{"time", json, "2024-02-29 01:02:03.040500", "2024-02-29 01:02:03.040500", "", ""},
		{"nanoseconds", integer, int64(1732592927854177123), int64(1732592927854177123), "", ""},
		{"word in a number", integer, "abc", "abc", "", ""},
		{"empty word in a number", integer, "", "", "", ""},
		{"huge text in a number", integer, huge, nil, "", OutOfRange},
		{"whole real in a number", integer, 2.0, int64(2), "", ""},
		{"real in a number", integer, 2.5, 2.5, "", ""},
		{"number in text", text, int64(7), "7", NotText, ""},
		{"real in text", text, 0.5, "0.5", NotText, ""},
		{"number in REAL", number, int64(7), 7.0, "", ""},
		{"number that REAL rounds", number, int64(1<<53 + 1), nil, "", OutOfRange},
		{"text in REAL", number, "7", 7.0, "", ""},
		{"unknown", text, struct{}{}, nil, "", UnknownType},
	} {
		out, fix, problem := ToSQLite(c.col, c.in)
		switch {
		case problem != nil:
			if problem.Reason != c.refuse || problem.Detail == "" {
				t.Errorf("%s: refused: %+v", c.name, *problem)
			}
			continue
		case c.refuse != "":
			t.Errorf("%s: not refused: %#v", c.name, out)
		case !reflect.DeepEqual(out, c.out):
			t.Errorf("%s: %#v, want %#v", c.name, out, c.out)
		case (fix == nil) != (c.fix == "") || fix != nil && (fix.Reason != c.fix || fix.Note == ""):
			t.Errorf("%s: fix %+v, want %q", c.name, fix, c.fix)
		}
	}
}

// What ToSQLite gives, SQLite stores in that storage class, and ToSQLite leaves
// alone; what SQLite made of the text by itself is the same but for the last
// digit of a long fraction.
func TestSQLiteStoresWhatToSQLiteGives(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE x (i BIGINT, t TEXT, b, r REAL, n JSON)"); err != nil {
		t.Fatal(err)
	}
	stored := func(col string, v any) (out any) {
		t.Helper()
		_, err := db.Exec("REPLACE INTO x (rowid, "+col+") VALUES (1, ?)", v)
		if err == nil {
			err = db.QueryRow("SELECT +" + col + " FROM x").Scan(&out)
		}
		if err != nil {
			t.Fatalf("%q: %v", v, err)
		}
		return out
	}
	columns := map[string]SQLiteColumn{"i": {Affinity: AffinityInteger}, "t": {Affinity: AffinityText}, "b": {Affinity: AffinityBlob},
		"r": {Affinity: AffinityReal}, "n": {Affinity: AffinityNumeric}}
	values := []any{"", " ", "+", "-", ".", "5.", ".5", "+5", "--5", "+-5", "5e", "5e+", "5e5", "5E-5", "1_000", "0x10", "inf", "-inf", "Infinity", "NaN", "nan", "1\x00", "1\x00x", "1 \x002",
		"\x001", "１", "1 2", "\v1\f", "\u00a01", "1e", ".e5", "e5", "-9223372036854775808", "9223372036854775807", "9223372036854775808", "9223372036854774784.0",
		"-9223372036854775808.0", "1.5e308", "4.9e-324", "00012", "-0", "0.0", "true", `"1"`, "[1]", "2024-02-29", int64(math.MaxInt64), int64(math.MinInt64),
		1e19, -1e19, 9.2e18, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(-1), math.Copysign(0, -1), 1.5, []byte{}, []byte("1"), true, false, nil}
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var b strings.Builder
		for range random.IntN(24) {
			b.WriteByte("0123456789012345678901234567890123456789.-+eE x\n"[random.IntN(48)])
		}
		values = append(values, b.String())
	}
	for range 500 {
		values = append(values, random.Int64()-random.Int64(), random.NormFloat64()*math.Pow(10, float64(random.IntN(40)-20)), fmt.Sprint(random.NormFloat64()))
	}
	for _, v := range values {
		for name, c := range columns {
			out, _, problem := ToSQLite(c, v)
			if problem != nil {
				continue
			}
			got := stored(name, out)
			if s, ok := v.(string); ok && !SameSQLite(got, out) {
				t.Errorf("%s %q: %#v is stored as %#v", name, s, out, got)
			} else if !SameSQLite(got, out) {
				t.Errorf("%s %#v: %#v is stored as %#v", name, v, out, got)
			}
			if again, fix, problem := ToSQLite(c, got); problem != nil || fix != nil || !SameSQLite(again, got) {
				t.Errorf("%s %#v: %#v becomes %#v, %v, %v", name, v, got, again, fix, problem)
			}
			if s, ok := v.(string); ok {
				own := stored(name, s)
				a, isA := out.(float64)
				b, isB := own.(float64)
				if !SameSQLite(own, out) && !(isA && isB && math.Abs(a-b) <= math.Abs(a)*1e-15) {
					t.Errorf("%s %q: SQLite makes %#v of it, ToSQLite %#v", name, s, own, out)
				}
			}
		}
	}
}

func TestSQLiteTransform(t *testing.T) {
	t.Parallel()
	tables := map[string][]SQLiteColumn{
		"file": {{Name: "id", Affinity: AffinityText, InPrimaryKey: true}, {Name: "path", Affinity: AffinityText}, {Name: "meta", Affinity: AffinityNumeric}, {Name: "created_at", Affinity: AffinityInteger}},
		"tag":  {{Name: "id", Affinity: AffinityText, InPrimaryKey: true}, {Name: "user_id", Affinity: AffinityText, InPrimaryKey: true}},
	}
	f := SQLiteTransform(tables, Options{FilePath: func(old string) (string, string) { return "/new" + old, "moved" }})
	from := &pipeline.Table{Name: "file", Columns: []string{"created_at", "meta", "extra", "path", "id"}, Key: []int{4}}
	unit := pipeline.Unit{Lane: pipeline.Rows, Name: "file"}
	out, changes, refused := f(unit, &pipeline.Row{Table: from, Values: []any{int64(5), "2.0", "x", "/a", "f1"}})
	if len(refused) > 0 || !reflect.DeepEqual(out.Values, []any{"f1", "/new/a", int64(2), int64(5)}) || out.Key() != "f1" {
		t.Fatalf("%+v, %+v", out, refused)
	}
	if len(changes) != 2 || changes[0].Reason != pipeline.PathRewritten || changes[1].Reason != Folded || changes[1].Key != "f1" || changes[1].Column != "meta" ||
		changes[1].Before != pipeline.Digest("2.0") || changes[1].After != pipeline.Digest(int64(2)) {
		t.Errorf("%+v", changes)
	}
	if _, changes, refused = f(unit, &pipeline.Row{Table: from, Values: []any{int64(5), huge, nil, nil, "f2"}}); len(refused) != 1 || len(changes) > 0 ||
		refused[0].Key != "f2" || refused[0].Column != "meta" || refused[0].Reason != OutOfRange || !strings.Contains(string(refused[0].Record), huge) {
		t.Errorf("%+v, %+v", changes, refused)
	}
	tag := &pipeline.Table{Name: "tag", Columns: []string{"id", "user_id"}, Key: []int{0, 1}}
	keys := map[string]bool{}
	for _, id := range []string{"a", "b"} {
		_, _, refused := f(pipeline.Unit{Lane: pipeline.Rows, Name: "tag"}, &pipeline.Row{Table: tag, Values: []any{id, nil}})
		if len(refused) != 1 || refused[0].Reason != pipeline.NullKeyReason {
			t.Fatalf("%+v", refused)
		}
		keys[refused[0].Key] = true
	}
	if len(keys) != 2 {
		t.Errorf("keys %v", keys)
	}
	if _, _, refused := f(unit, &pipeline.Row{Table: &pipeline.Table{Name: "other", Columns: []string{"id"}, Key: []int{0}}, Values: []any{"x"}}); len(refused) != 1 {
		t.Error("a table that is not there")
	}
}
