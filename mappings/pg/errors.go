package pg

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"outgrow/pipeline"
)

// HasCode reports whether the server answered with one of these SQLSTATEs; a
// code of two characters stands for its whole class.
func HasCode(err error, codes ...string) bool {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return false
	}
	for _, c := range codes {
		if pe.Code == c || (len(c) == 2 && len(pe.Code) == 5 && pe.Code[:2] == c) {
			return true
		}
	}
	return false
}

// IsData reports whether the server refused values rather than failed: classes
// 22 (data exception), 23 (constraint) and 54 (limit exceeded). Such a batch is
// bisected.
func IsData(err error) bool { return HasCode(err, "22", "23", "54") }

// hints for SQLSTATEs that an operator can mend. Source: PostgreSQL's appendix
// of error codes.
var hints = map[string]string{
	"28P01": "check the user and the password in DATABASE_URL (special characters percent-encoded) or set OUTGROW_TO_DATABASE_URL",
	"28000": "the server refuses this user: check pg_hba.conf and the user in DATABASE_URL",
	"3D000": "create the database first: CREATE DATABASE name OWNER user",
	"3F000": "create the schema named by DATABASE_SCHEMA first: CREATE SCHEMA name AUTHORIZATION user",
	"42501": "grant the role the right it lacks, or let it own the database",
	"53100": "free disk space on the database server, then run the same command: it resumes",
	"53200": "the server is out of memory: lower --writers, then run the same command",
	"53300": "the server has no free connection slot: lower --writers or raise max_connections",
	"25006": "the server is read-only (a replica?): name the primary in DATABASE_URL",
	"57P03": "the server is starting or shutting down: run the same command again",
	"0A000": "the server lacks a feature that is needed: PostgreSQL 14 or later, pgvector for VECTOR_DB=pgvector",
}

// Classify wraps an error of the driver: connection troubles become transient,
// what the operator can mend an environment error with a hint. Errors that are
// classified already, and cancellations, stay as they are. nil stays nil.
func Classify(op string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	var done *pipeline.Error
	if errors.As(err, &done) {
		return err
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		hint := hints[pe.Code]
		e := &pipeline.Error{Op: op, Err: err, Hint: hint}
		if hint != "" {
			e.Exit = pipeline.ExitEnvironment
		}
		// Serialization failures, shutdowns, timeouts of sessions, lock and slot
		// shortage pass.
		if HasCode(err, "40", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "53300", "55P03", "08") {
			e.Err = pipeline.Transient(err)
		}
		return e
	}
	if connectionLost(err) {
		return &pipeline.Error{Op: op, Err: pipeline.Transient(err), Exit: pipeline.ExitEnvironment,
			Hint: "check that the server runs and can be reached from here, then run the same command"}
	}
	return &pipeline.Error{Op: op, Err: err}
}

func connectionLost(err error) bool {
	var ne net.Error
	var ce *pgconn.ConnectError
	return errors.As(err, &ne) || errors.As(err, &ce) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) ||
		pgconn.SafeToRetry(err)
}
