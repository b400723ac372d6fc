package env

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNotYet marks a configuration that is right, but that this version of
// outgrow cannot work with.
var ErrNotYet = errors.New("not yet supported by this version")

// ConfigError is one thing that is wrong with the configuration of a side. It
// never holds a secret.
type ConfigError struct {
	Side     string `json:"side"`     // "from" or "to"
	Variable string `json:"variable"` // the variable at fault, "" for the whole
	Problem  string `json:"problem"`
	Fix      string `json:"fix,omitempty"` // the next step, a sentence without a full stop
	Err      error  `json:"-"`             // may be nil
}

// Error joins side, variable, problem and fix in one line.
func (e *ConfigError) Error() string {
	var b strings.Builder
	if e.Side != "" {
		fmt.Fprintf(&b, "--%s: ", e.Side)
	}
	if e.Variable != "" {
		b.WriteString(e.Variable + ": ")
	}
	b.WriteString(e.Problem)
	if e.Fix != "" {
		fmt.Fprintf(&b, "; %s", e.Fix)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// ConfigErrors takes an error of [Load] apart.
func ConfigErrors(err error) []*ConfigError {
	var out []*ConfigError
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) { //nolint:errorlint // it takes the tree apart itself
		case nil:
		case *ConfigError:
			out = append(out, e)
		case interface{ Unwrap() []error }:
			for _, x := range e.Unwrap() {
				walk(x)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
	}
	walk(err)
	return out
}
