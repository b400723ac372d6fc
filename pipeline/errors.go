package pipeline

import (
	"errors"
	"fmt"
	"strings"
)

// Exit codes of the command, by what went wrong.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2 // usage, or a plan refused
	ExitEnvironment = 3 // cannot connect, no space, no permission
	ExitDiffers     = 4 // differences, unaccepted quarantine, or a sync pass is needed
	ExitStopped     = 130
)

// Error says what failed, on what, and what to do next. It never holds a
// secret.
type Error struct {
	Op   string // in the gerund: "writing batch"
	Unit string // Unit.ID or a name for people, may be empty
	Key  string // the record, may be empty
	Err  error
	Hint string // the next step for the operator, a sentence without a full stop
	Exit int    // one of the Exit codes; 0 means ExitFailed
}

// Error joins operation, unit, key and cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Unit != "" {
		fmt.Fprintf(&b, " %s", e.Unit)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, " (%s)", e.Key)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Environment marks an error as the environment's (exit code 3).
func Environment(op string, err error, hint string) *Error {
	return &Error{Op: op, Err: err, Hint: hint, Exit: ExitEnvironment}
}

// Usage marks an error as the caller's (exit code 2).
func Usage(op string, err error, hint string) *Error {
	return &Error{Op: op, Err: err, Hint: hint, Exit: ExitUsage}
}

// ExitCode finds the exit code of an error: that of the outermost *Error which
// has one, else ExitFailed; ExitOK for nil.
func ExitCode(err error) int {
	for e := err; e != nil; {
		var pe *Error
		if !errors.As(e, &pe) {
			break
		}
		if pe.Exit != 0 {
			return pe.Exit
		}
		e = pe.Err
	}
	if err == nil {
		return ExitOK
	}
	return ExitFailed
}

// HintOf finds the innermost hint: the one closest to the cause.
func HintOf(err error) string {
	hint := ""
	for e := err; e != nil; {
		var pe *Error
		if !errors.As(e, &pe) {
			break
		}
		if pe.Hint != "" {
			hint = pe.Hint
		}
		e = pe.Err
	}
	return hint
}

// Retryable is implemented by errors that know whether the same call may
// succeed later. Backends classify, the engine retries.
type Retryable interface {
	Retryable() bool
}

type transient struct{ err error }

func (t *transient) Error() string   { return t.err.Error() }
func (t *transient) Unwrap() error   { return t.err }
func (t *transient) Retryable() bool { return true }

// Transient marks an error as worth a retry; nil stays nil.
func Transient(err error) error {
	if err == nil {
		return nil
	}
	return &transient{err}
}

// IsRetryable reports whether the error says that a retry may help.
func IsRetryable(err error) bool {
	var r Retryable
	return errors.As(err, &r) && r.Retryable()
}
