// Package pg is what the PostgreSQL readers and writers share: dialling,
// quoting and the meaning of the server's errors.
package pg

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// Options of a connection pool.
type Options struct {
	// Schema is put in front of the search path; "" leaves the role's own.
	Schema string
	// MaxConns bounds the pool; 0 means 8.
	MaxConns int32
	// AfterConnect is called on every new connection, e.g. to register types.
	AfterConnect func(context.Context, *pgx.Conn) error
}

// Open dials the database and proves that it answers. Every connection has
// synchronous_commit on (an answered COMMIT is durable), none of the
// server's timeouts, and lz4 for TOAST where the server was built with it. Errors are
// *pipeline.Error and hold no secret.
func Open(ctx context.Context, url env.Secret, opt Options) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url.Reveal())
	if err != nil {
		// The parser's own message may quote the URL, so it is left out.
		return nil, pipeline.Usage("reading the PostgreSQL address", fmt.Errorf("the URL cannot be parsed"),
			"check DATABASE_URL: postgresql://user:password@host:5432/database, special characters in the password percent-encoded")
	}
	cfg.MaxConns = opt.MaxConns
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 8
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = "outgrow"
	var compress atomic.Pointer[string] // nil before the first connection
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		if compress.Load() == nil {
			sql, err := compressSQL(ctx, c)
			if err != nil {
				return err
			}
			compress.Store(&sql)
		}
		if _, err := c.Exec(ctx, sessionSQL+*compress.Load(), pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		if opt.Schema != "" {
			if _, err := c.Exec(ctx, "SET search_path TO "+Ident(opt.Schema)+", public"); err != nil {
				return err
			}
		}
		if opt.AfterConnect != nil {
			return opt.AfterConnect(ctx, c)
		}
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, Classify("opening PostgreSQL", err)
	}
	pooled, err := Pooler(ctx, pool)
	if err != nil {
		pool.Close()
		return nil, Classify("connecting to PostgreSQL at "+Where(cfg), err)
	}
	if !pooled {
		return pool, nil
	}
	// Prepared statements belong to a session, which a transaction pooler
	// shares: without them the checks at least can be made.
	pool.Close()
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	if pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, Classify("opening PostgreSQL", err)
	}
	return pool, nil
}

// MinVersion is the oldest server that is supported, as server_version_num.
const MinVersion = 140000

// OtherSessions is an expression that counts the sessions of other programs on
// the database. What kind of session another role's is, an ordinary role is not
// told.
const OtherSessions = `(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usesysid IS NOT NULL
 AND coalesce(backend_type, 'client backend') = 'client backend' AND application_name <> 'outgrow')::int`

// sessionSQL makes a session the same whatever ALTER ROLE or ALTER DATABASE say.
// The timeouts come first, so that they bound nothing of it but their own setting.
const sessionSQL = `SET statement_timeout = 0; SET lock_timeout = 0; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; SET quote_all_identifiers = off; SET array_nulls = on;
SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on;
SET idle_in_transaction_session_timeout = 0; SET client_min_messages = warning; SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'; SET extra_float_digits = 3;
SELECT set_config(name, '0', false) FROM unnest(ARRAY['idle_session_timeout', 'transaction_timeout']) AS name WHERE current_setting(name, true) IS NOT NULL;
`

// compressSQL asks for lz4 for large values, if the server has it.
func compressSQL(ctx context.Context, c *pgx.Conn) (sql string, err error) {
	const ask = `SET statement_timeout = 0; SET lock_timeout = 0;
SELECT count(*) FROM pg_catalog.pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)`
	results, err := c.PgConn().Exec(ctx, ask).ReadAll()
	if err != nil {
		return "", err
	}
	if last := results[len(results)-1]; len(last.Rows) == 1 && string(last.Rows[0][0]) == "1" {
		return "SET default_toast_compression = lz4", nil
	}
	return "", nil
}

// Where is "host:port/database" of a pool's configuration.
func Where(cfg *pgxpool.Config) string {
	c := cfg.ConnConfig
	return fmt.Sprintf("%s:%d/%s", c.Host, c.Port, c.Database)
}

// Ident quotes an identifier, or a dotted one given in parts.
func Ident(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

// Literal quotes a text for where no parameter can stand.
func Literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Idents quotes each name and joins them with commas.
func Idents(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = Ident(n)
	}
	return strings.Join(q, ", ")
}

// Fingerprint identifies the database and schema without naming the host.
func Fingerprint(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	database, err := Database(ctx, pool)
	if err != nil {
		return "", err
	}
	var schema string
	err = pool.QueryRow(ctx, "SELECT coalesce(current_schema()::text, '')").Scan(&schema)
	return database + schema, Classify("identifying the schema", err)
}

// Database gives what the fingerprints of all the database's schemas begin with:
// the system identifier where the role may read it, else the database's oid and
// the oldest facts of its catalog.
func Database(ctx context.Context, pool *pgxpool.Pool) (s string, err error) {
	const q = `SELECT 'pg:' || coalesce((SELECT system_identifier::text FROM pg_control_system()), '?')
	 || ':' || (SELECT oid::text FROM pg_database WHERE datname = current_database()) || ':'`
	const plain = `SELECT 'pg:?:' || (SELECT oid::text || ':' || datdba::text FROM pg_database WHERE datname = current_database()) || ':'`
	err = pool.QueryRow(ctx, q).Scan(&s)
	if HasCode(err, "42501") { // insufficient_privilege
		err = pool.QueryRow(ctx, plain).Scan(&s)
	}
	return s, Classify("identifying the database", err)
}

// Pooler reports whether a transaction pooler (PgBouncer) stands between: the
// process id it announces is not that of the backend which answers. Temporary
// tables, session locks and COPY over several statements need a direct
// connection.
func Pooler(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	c, err := pool.Acquire(ctx)
	if err != nil {
		return false, Classify("connecting to PostgreSQL at "+Where(pool.Config()), err)
	}
	defer c.Release()
	var pid uint32
	if err := c.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid); err != nil {
		return false, Classify("asking for the backend's process id", err)
	}
	return pid != c.Conn().PgConn().PID(), nil
}

// FingerprintOf is [Fingerprint] bound to a pool.
func FingerprintOf(pool *pgxpool.Pool) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return Fingerprint(ctx, pool) }
}
