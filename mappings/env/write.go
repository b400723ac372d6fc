package env

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// nothing is the name of a variable that nobody sets: its default stands for
// what dotenv syntax has no escape for.
const nothing = "OUTGROW_NOTHING"

var errName = errors.New("not the name of an environment variable")

// Assign is the line of an env file that gives the variable this value, read by
// python-dotenv (compared with 1.2.4; see [Load]). plain reports whether docker
// --env-file, which knows neither quotes nor ${…}, reads the same value from it.
// A value that no variable can have (a NUL, not UTF-8) or a name that is none is
// an error.
func Assign(name, value string) (line string, plain bool, err error) {
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) {
		return "", false, fmt.Errorf("%q: %w", name, errName)
	}
	if reads(name, value, name+"="+value) {
		return name + "=" + value, true, nil
	}
	// Every value is expanded, however it is quoted: a "$" before "{" comes
	// from a default.
	v := strings.ReplaceAll(value, "${", "${"+nothing+":-$}{")
	if reads(name, value, name+"="+v) {
		return name + "=" + v, false, nil
	}
	v = strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v)
	if strings.HasSuffix(v, `\`) {
		// python-dotenv takes \' at the end for a quote, even after another backslash.
		v += "${" + nothing + ":-}"
	}
	line = name + "='" + v + "'"
	if !reads(name, value, line) {
		return "", false, fmt.Errorf("%s: %w", name, errEncoding)
	}
	return line, false, nil
}

// reads reports whether a line gives exactly this value, in a file with others.
func reads(name, value, line string) bool {
	binds, bad, err := parseEnv([]byte("A='b'\n" + line + "\nC='d'\n"))
	if err != nil || len(bad) > 0 || len(binds) != 3 || binds[1].name != name || !binds[1].set || binds[2].name != "C" {
		return false
	}
	got, missing := expand(binds[1].value, func(string) (string, bool) { return "", false })
	return got == value && len(missing) == 0 && (binds[1].value == got || strings.Contains(line, nothing))
}
