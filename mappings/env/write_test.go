package env

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAssign(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]struct {
		line  string
		plain bool
	}{
		"":                  {"A=", true},
		"postgresql://u@h/": {"A=postgresql://u@h/", true},
		"p#ss$w'rd\"":       {"A=p#ss$w'rd\"", true},
		"with blanks":       {"A=with blanks", true},
		`C:\dir\`:           {`A=C:\dir\`, true},
		" lead":             {"A=' lead'", false},
		"key\n":             {"A='key\n'", false},
		"a #b":              {"A='a #b'", false},
		"'q'":               {`A='\'q\''`, false},
		"${HOME}":           {"A=${OUTGROW_NOTHING:-$}{HOME}", false},
		"${A}\n":            {"A='${OUTGROW_NOTHING:-$}{A}\n'", false},
		" \\":               {"A=' \\\\${OUTGROW_NOTHING:-}'", false},
	} {
		line, plain, err := Assign("A", value)
		if err != nil || line != want.line || plain != want.plain {
			t.Errorf("%q: %s, %t, %v; want %s, %t", value, line, plain, err, want.line, want.plain)
		}
	}
	for _, bad := range [][2]string{{"A B", ""}, {"", ""}, {"1A", ""}, {"A", "\x00"}, {"A", "\xff"}} {
		if line, _, err := Assign(bad[0], bad[1]); err == nil {
			t.Errorf("%q: %s", bad, line)
		}
	}
}

// What Assign writes, Load reads back, whatever it is.
func FuzzAssign(f *testing.F) {
	for _, s := range []string{"", "a", " a", "a\r\n", "'", `\'`, `\\`, `"`, "#", " #", "${A}", "${A", "${A:-b}", "$${A}}", "${OUTGROW_NOTHING:-}", "export", "\u2028", "\ufeff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		line, plain, err := Assign("DATABASE_PASSWORD", value)
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "a.env")
		if err := os.WriteFile(path, []byte("B=1\n"+line+"\nC='2'\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		d, _ := Load("to", path, "", nil)
		if got := d.Vars["DATABASE_PASSWORD"].Reveal(); got != value || d.Vars["C"].Reveal() != "2" {
			t.Errorf("%q became %q by %s", value, got, line)
		}
		if want := "DATABASE_PASSWORD=" + value; plain != (line == want) {
			t.Errorf("plain is %t for %s", plain, line)
		}
	})
}
