package servers

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Option says what a test wants of its database.
type Option int

const (
	// NoExtension leaves CREATE EXTENSION vector to the test; the server does have it, and only a superuser may.
	NoExtension Option = iota + 1
	// Plain is for a test that needs no pgvector: where only Debian's PostgreSQL is here, that will do.
	Plain
)

// PostgreSQL returns the DSN of a new, empty database (UTF-8, C collation rules) with the extension vector, owned by
// an ordinary role of its own. Both are dropped when the test ends. All tests of a process share one server: the one
// whose superuser OUTGROW_TEST_DATABASE_URL names, else one that postgres.sh fetches and starts. Without either the
// test is skipped.
func PostgreSQL(tb testing.TB, options ...Option) string {
	tb.Helper()
	super, err := standard(tb)
	if err != nil && has(options, Plain) {
		super, err = debian(tb)
	}
	if err != nil {
		Skip(tb, "no PostgreSQL with pgvector: %v", err)
	}
	return Database(tb, super, options...)
}

// PostgreSQL15 is PostgreSQL on Debian's server: it has lz4 and pgcrypto, and no pgvector.
func PostgreSQL15(tb testing.TB, options ...Option) string {
	tb.Helper()
	super, err := debian(tb)
	if err != nil {
		Skip(tb, "no Debian PostgreSQL 15: %v", err)
	}
	return Database(tb, super, append(options, Plain)...)
}

// SuperDSN returns the DSN of a superuser on the database of dsn, which [PostgreSQL], [PostgreSQL15] or [Database]
// returned in this process.
func SuperDSN(tb testing.TB, dsn string) string {
	tb.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal("the DSN is not a URL")
	}
	super, ok := supers.Load(u.Host)
	if !ok {
		tb.Fatalf("%s is no server of this package", u.Host)
	}
	s := super.(*url.URL)
	u.User, u.RawQuery = s.User, s.RawQuery
	return u.String()
}

// Database returns the DSN of a new, empty database on the server whose superuser's DSN (a URL) is given, as
// [PostgreSQL] describes it.
func Database(tb testing.TB, super string, options ...Option) string {
	tb.Helper()
	base, err := url.Parse(super)
	if err != nil || base.Host == "" {
		tb.Fatal("the superuser's DSN is not of the form postgres://user@host:port/database")
	}
	supers.Store(base.Host, base)
	name, password := "outgrow_"+token(), token()

	execute(tb, base.String(),
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", name, password),
		fmt.Sprintf("CREATE DATABASE %s OWNER %s TEMPLATE template0 ENCODING 'UTF8'", name, name))
	tb.Cleanup(func() {
		execute(tb, base.String(),
			fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name),
			fmt.Sprintf("DROP ROLE IF EXISTS %s", name))
	})

	mine := *base
	mine.Path = "/" + name
	if !has(options, NoExtension) && !has(options, Plain) {
		execute(tb, mine.String(), "CREATE EXTENSION vector")
	}
	mine.User = url.UserPassword(name, password)
	return mine.String()
}

// The servers that this process shares, and the superusers of every server that it made a database on.
var (
	supers   sync.Map // host:port → *url.URL
	shared16 sharedServer
	shared15 sharedServer
)

type sharedServer struct {
	once sync.Once
	dsn  string
	err  error
	stop func() // held for as long as the process runs: it owns the pipe that keeps the server alive
}

func (s *sharedServer) start(tb testing.TB, version string) (string, error) {
	s.once.Do(func() { s.dsn, s.stop, s.err = serve(testdata(tb), Settings{Version: version}) })
	return s.dsn, s.err
}

func standard(tb testing.TB) (string, error) {
	if dsn := os.Getenv("OUTGROW_TEST_DATABASE_URL"); dsn != "" {
		return dsn, nil
	}
	return shared16.start(tb, "16")
}

func debian(tb testing.TB) (string, error) {
	if _, err := os.Stat("/usr/lib/postgresql/15/bin/postgres"); err != nil {
		return "", err
	}
	return shared15.start(tb, "15")
}

func has(options []Option, want Option) bool {
	for _, o := range options {
		if o == want {
			return true
		}
	}
	return false
}

func token() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func execute(tb testing.TB, dsn string, statements ...string) {
	tb.Helper()
	ctx := context.Background() // a test's own context is over when its cleanup runs
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		tb.Fatalf("connecting to the test server: %v", err)
	}
	defer Hangup(conn)
	for _, s := range statements {
		_, err := conn.Exec(ctx, s)
		for tries := 0; inUse(err) && tries < 60; tries++ { // the server waits five seconds each time
			_, err = conn.Exec(ctx, s)
		}
		if err != nil {
			tb.Fatalf("preparing a test database: %v", err)
		}
	}
}

// inUse reports whether a database cannot be dropped or copied yet, as a session on it takes its time to end.
func inUse(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "55006"
}

// Hangup ends a session and waits until the server's process of it has gone. Close does not wait: whoever counts the
// sessions on a database soon afterwards may count it. A second call is harmless. Source: PostgreSQL leaves the socket
// open up to the end of the process, so that who reads to the end knows it (pqcomm.c, socket_close).
func Hangup(conn *pgx.Conn) {
	h, err := conn.PgConn().Hijack()
	if err != nil { // closed, or in the middle of something
		_ = conn.Close(context.Background())
		return
	}
	h.Frontend.Send(&pgproto3.Terminate{})
	if h.Frontend.Flush() == nil {
		_, _ = io.Copy(io.Discard, h.Conn)
	}
	_ = h.Conn.Close()
}
