package env

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// What python-dotenv 1.2.4 makes of the same text.
func TestParseEnv(t *testing.T) {
	lookup := func(n string) (string, bool) {
		v, ok := map[string]string{"A": "x", "EMPTY": ""}[n]
		return v, ok
	}
	for in, want := range map[string]string{
		"K=v":                              "K=v",
		"\xef\xbb\xbfK=v":                  "K=v",
		"K=v\r\nL=w\rM=x\n":                "K=v L=w M=x",
		"export K=v":                       "K=v",
		"export  \tK = v ":                 "K=v",
		"exportK=v":                        "exportK=v",
		"'quoted key'=v":                   "quoted key=v",
		"K=":                               "K=",
		"K=  # c":                          "K=",
		"K=#v":                             "K=#v",
		"K=a#b # c":                        "K=a#b",
		"K=a\t#c":                          "K=a",
		"K=a b  ":                          "K=a b",
		"# K=v\n\n  L=w":                   "L=w",
		`K='a "b" # \' \\ \n'`:             `K=a "b" # ' \ \n`,
		`K="a 'b' # \" \\ \n\t" # c`:       "K=a 'b' # \" \\ \n\t",
		"K=\"two\nlines\"\nL=w":            "K=two\nlines L=w",
		`K=p@ss"w'd`:                       `K=p@ss"w'd`,
		"K=${A}-${A:-d}-${N:-d}-${EMPTY}|": "K=x-x-d-|",
		"K='${A}'":                         "K=x",
		"K=${A:+y} $A ${":                  "K=${A:+y} $A ${",
		"K=a\nK=b":                         "K=a K=b",
		"K=postgresql://u:p%40@h/d?a=b":    "K=postgresql://u:p%40@h/d?a=b",
		"K=naïve café":                     "K=naïve café",
		"":                                 "",
	} {
		got, bad, err := parseEnv([]byte(in))
		if err != nil || len(bad) > 0 {
			t.Errorf("%q: bad lines %v, error %v", in, bad, err)
		}
		var parts []string
		for _, b := range got {
			v, _ := expand(b.value, lookup)
			parts = append(parts, b.name+"="+v)
		}
		if s := strings.Join(parts, " "); s != want {
			t.Errorf("%q: got %q, want %q", in, s, want)
		}
	}
}

func TestParseEnvBadLines(t *testing.T) {
	got, bad, err := parseEnv([]byte("A=1\n=x\nB='open\nC=\"a\" b\nD\nE=5"))
	if err != nil || !slices.Equal(bad, []int{2, 3, 4}) {
		t.Fatalf("bad lines %v, error %v", bad, err)
	}
	if len(got) != 3 || got[0].name != "A" || got[1].set || got[2].line != 6 {
		t.Fatalf("got %+v", got)
	}
	for _, in := range []string{"K=\xff", "\xff\xfeK\x00=\x00v\x00", "SQLite format 3\x00"} {
		if _, _, err := parseEnv([]byte(in)); !errors.Is(err, errEncoding) {
			t.Errorf("%q: error %v", in, err)
		}
	}
}
