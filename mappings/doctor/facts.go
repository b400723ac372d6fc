package doctor

import (
	"strconv"
	"strings"
)

// get is a variable's value, "" where it is not set. It may be a secret.
func (f Facts) get(name string) string { return f.Vars[name].Reveal() }

// is reads a boolean as Open WebUI does: "true" in any case, nothing else.
func (f Facts) is(name string, def bool) bool {
	v, ok := f.Vars[name]
	if !ok {
		return def
	}
	return strings.EqualFold(v.Reveal(), "true")
}

// number reads an integer; ok is false where there is none.
func (f Facts) number(name string) (n int, ok bool) {
	n, err := strconv.Atoi(strings.TrimSpace(f.get(name)))
	return n, err == nil
}

// workers is how many processes an instance has.
func (f Facts) workers() int {
	if f.Workers > 0 {
		return f.Workers
	}
	n, _ := f.number("UVICORN_WORKERS")
	return max(n, 1)
}

// Instances guesses how many instances are started with the variables: two where
// something is set that only several need, else one.
func (f Facts) Instances() int {
	if f.get("REDIS_URL") != "" || f.get("WEBSOCKET_MANAGER") != "" || !f.Migrates() {
		return 2
	}
	return 1
}

// Migrates reports whether an instance with these variables runs the database
// migrations.
func (f Facts) Migrates() bool { return f.is("ENABLE_DB_MIGRATIONS", true) }

// Processes is how many processes share everything.
func (f Facts) Processes() int { return max(f.Replicas, 1) * f.workers() }

// several reports whether more than one process shares everything.
func (f Facts) several() bool { return f.Processes() > 1 }

// verdict is what a check comes to: all is well, something was found, or it
// cannot be known and why.
type verdict struct{ found, line, unknown string }

// when gives the finding if the condition holds.
func when(condition bool, found, line string) verdict {
	if condition {
		return verdict{found: found, line: line}
	}
	return verdict{}
}

// unknown says why a check cannot come to anything.
func unknown(why string) verdict { return verdict{unknown: why} }
