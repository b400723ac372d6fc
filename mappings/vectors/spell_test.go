package vectors

import (
	"encoding/json"
	"testing"
)

func TestSpelling(t *testing.T) {
	for f, want := range map[float64]string{0: "0.0", 3: "3.0", -2.5: "-2.5", 1e-4: "0.0001", 9.9e-5: "9.9e-05", 1e16: "1e+16", 9999999999999998: "9999999999999998.0", 1e300: "1e+300"} {
		if got := string(AppendFloat([]byte("x"), f)); got != "x"+want {
			t.Errorf("%g is spelled %s", f, got)
		}
	}
	for s, want := range map[string]string{"": `""`, "é \u2028 <b>": "\"é \u2028 <b>\"", "a\"\\\n\r\t\x00\x1f": `"a\"\\\n\r\t\u0000\u001f"`, "\x7f": "\"\x7f\""} {
		got := AppendText(nil, s)
		var back string
		if string(got) != want || json.Unmarshal(got, &back) != nil || back != s {
			t.Errorf("%q is spelled %s", s, got)
		}
	}
	for name, want := range map[string]string{"user-memory-1": "memories", "file-1": "files", "web-search-1": "web-search", "knowledge-bases": "knowledge",
		"00112233445566778899aabbccddeeff00112233445566778899aabbccddeef": "hash-based", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff": "knowledge"} {
		if got := Class(name); got != want {
			t.Errorf("%s is of class %s", name, got)
		}
	}
}
