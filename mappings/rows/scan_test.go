package rows

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestScan(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		name, text string
		want       Issue
	}{
		{"object", `{"a":1,"b":[true,false,null,"x",-0.5e+10,{}],"c":{"d":[]}}`, 0},
		{"white space", " \t\r\n{ \"a\" : [ 1 , 2 ] } \n", 0},
		{"top level string", `"x"`, 0},
		{"top level number", `60`, 0},
		{"duplicate keys", `{"a":1,"a":2}`, 0},
		{"huge numbers", `[1e400,` + strings.Repeat("9", 300) + `]`, 0},
		{"escapes", `"\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00"`, 0},
		{"escaped backslash before u0000", `"\\u0000"`, 0},
		{"raw alphabets", `"ÄÖÜ 年度报告 ملف 🚀"`, 0},
		{"DEL", "\"\x7f\"", 0},
		{"depth at the limit", nested(MaxDepth), 0},
		{"NUL escape", `{"a":"x\u0000y"}`, NULEscape},
		{"NUL escape in a key", `{"\u0000":1}`, NULEscape},
		{"NUL escape behind an escaped backslash", `"\\\u0000"`, NULEscape},
		{"high surrogate alone", `"x\ud83dy"`, LoneEscape},
		{"high surrogate at the end", `"\ud83d"`, LoneEscape},
		{"high surrogate twice", `"\ud83d\ud83d\ude00"`, LoneEscape},
		{"low surrogate alone", `"\ude00"`, LoneEscape},
		{"surrogates the wrong way round", `"\ude00\ud83d"`, LoneEscape},
		{"surrogate bytes", "\"\xed\xa0\xbd\"", BadUTF8},
		{"latin-1", "[\"caf\xe9\"]", BadUTF8},
		{"overlong", "\"\xc0\x80\"", BadUTF8},
		{"overlong in three", "\"\xe0\x80\x80\"", BadUTF8},
		{"cut off after two of three", "\"\xe4\xb8\"", BadUTF8},
		{"three bytes at the end", "\"\xe4\xb8\xad", Invalid},
		{"non-character", "\"\uffff\ufeff\"", 0},
		{"raw newline", "\"a\nb\"", RawControl},
		{"raw NUL", "\"a\x00b\"", RawControl},
		{"NaN", `{"a":NaN}`, NotFinite},
		{"Infinity", `[Infinity,-Infinity]`, NotFinite},
		{"several", "{\"a\":\"\\u0000\t\",\"b\":NaN}", NULEscape | RawControl | NotFinite},
		{"too deep", nested(MaxDepth + 1), TooDeep},
		{"very deep", nested(100000), TooDeep},
		{"empty", "", Invalid},
		{"blank", "  ", Invalid},
		{"single quotes", `{'a':1}`, Invalid},
		{"trailing comma", `{"a":1,}`, Invalid},
		{"trailing comma in an array", `[1,]`, Invalid},
		{"bare word", `hello`, Invalid},
		{"cut off", `{"a":"b`, Invalid},
		{"cut off in an escape", `"\u00`, Invalid},
		{"unknown escape", `"\x41"`, Invalid},
		{"leading zero", `01`, Invalid},
		{"plus sign", `+1`, Invalid},
		{"bare point", `1.`, Invalid},
		{"two values", `1 2`, Invalid},
		{"byte order mark", "\xef\xbb\xbf{}", Invalid},
		{"wrong closing", `[1}`, Invalid},
		{"comment", `{} // x`, Invalid},
		{"form feed", "\f1", Invalid},
		{"no-break space", "\u00a01", Invalid},
		{"upper case true", `TRUE`, Invalid},
	} {
		if got := Scan(c.text); got != c.want {
			t.Errorf("%s: Scan(%.60q) = %b, want %b", c.name, c.text, got, c.want)
		}
	}
}

// agree says what Scan and encoding/json must have in common: whatever Scan
// passes is valid for both, and repairing yields such a text with nothing left
// to repair. They differ on purpose in depth, in raw invalid UTF-8 and in half
// surrogate pairs, which encoding/json lets pass.
func agree(t *testing.T, text string) {
	issues := Scan(text)
	valid := json.Valid([]byte(text))
	switch {
	case issues == 0 && !valid:
		t.Errorf("Scan passes %q, encoding/json does not", text)
	case issues == 0 && !utf8.ValidString(text):
		t.Errorf("Scan passes %q, which is not UTF-8", text)
	case issues == Invalid && valid:
		t.Errorf("encoding/json passes %q, Scan does not", text)
	case issues&(RawControl|NotFinite) != 0 && valid:
		t.Errorf("encoding/json passes %q, Scan says %b", text, issues)
	case issues&^(NULEscape|LoneEscape|BadUTF8) == 0 && !valid:
		t.Errorf("Scan says only %b of %q, encoding/json refuses it", issues, text)
	}
	out, fix, problem := Convert(Column{Name: "j", Type: JSON, NotNull: true}, text)
	if problem != nil {
		if issues != TooDeep && problem.Reason != DeepJSON {
			t.Errorf("Convert(%q): %v", text, problem)
		}
		return
	}
	s := out.(string)
	if again := Scan(s); again != 0 {
		t.Errorf("Convert(%q) = %q, of which Scan says %b", text, s, again)
	}
	if (fix == nil) != (s == text) {
		t.Errorf("Convert(%q) = %q with fix %v", text, s, fix)
	}
	if issues == 0 && s != text {
		t.Errorf("Convert(%q) = %q: the text must stay", text, s)
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e-3,true,null,"x"]}`, `"\ud83d\ude00\u0000\\"`, "\"\xed\xa0\xbd\xed\xb8\x80\"", "[NaN,-Infinity]",
		"\xef\xbb\xbf{}", "{\"a\":\"\n\"}", `{"a":1,}`, "", " ", "\x00", `"12345678\"12345678"`, `[[[{"a":{}}]]]`, "-", "1e", `"\u12G4"`, "\"\x00\xff\\ud800\""} {
		f.Add(s)
	}
	f.Fuzz(agree)
}

func TestRepairKeepsTheRest(t *testing.T) {
	for _, c := range [][2]string{
		{`{ "b" : "\u0000x\u00e9" , "a":1.0,"a":1e400 }`, `{ "b" : "x\u00e9" , "a":1.0,"a":1e400 }`},
		{`"\\u0000 \\\u0000"`, `"\\u0000 \\"`},
		{`"\ud83d\u0000\ude00"`, `""`},
		{`"\ud83d\ud83d\ude00"`, `"\ud83d\ude00"`},
		{"\"\xed\xa0\xbd\xed\xb8\x80\"", `"😀"`},
		{"\"\xed\xa0\xbd\"", `"` + "\ufffd" + `"`},
		{"{\"a\tb\":\"c\x01\"}", `{"a\tb":"c\u0001"}`},
		{`[NaN, "NaN", -Infinity]`, `[null, "NaN", null]`},
	} {
		if got := repair(c[0]); got != c[1] {
			t.Errorf("repair(%q) = %q, want %q", c[0], got, c[1])
		}
	}
}

func chatJSON(n int) string {
	one := `{"id":"5f0c7a3e-9b1d-4c55-8f0a-2a4b6c8d0e1f","parentId":null,"childrenIds":["a","b"],"role":"assistant","content":"The quick brown fox jumps over the lazy dog. Überraschung: 年度报告 is ready.\n\n1. first\n2. second with a \"quotation\" and more text that goes on for a while","timestamp":1700000000,"done":true,"usage":{"total_tokens":512,"cost":0.25}}`
	return `{"messages":[` + strings.Repeat(one+",", n/len(one)) + one + `]}`
}

func BenchmarkScan(b *testing.B) {
	text := chatJSON(64 << 10)
	if Scan(text) != 0 {
		b.Fatal("the text must be sound")
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		Scan(text)
	}
}
