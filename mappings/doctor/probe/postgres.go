package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/doctor"
	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
	"outgrow/mappings/vectors"
)

// trips is how often the round trip is measured.
const trips = 7

// postgres asks a PostgreSQL server as the deployment's role.
func (p *prober) postgres(ctx context.Context, name string, url env.Secret, in string) *doctor.Postgres {
	out := &doctor.Postgres{Server: doctor.Server{Name: name, Kind: "PostgreSQL"}}
	pool, err := pg.Open(ctx, url, pg.Options{Schema: in, MaxConns: 2})
	if err == nil {
		defer pool.Close()
		err = askPostgres(ctx, pool, in, out)
	}
	if err != nil {
		out.Down = p.why(ctx, err)
	}
	return out
}

func askPostgres(ctx context.Context, pool *pgxpool.Pool, in string, out *doctor.Postgres) error {
	c := pool.Config().ConnConfig
	out.Address = fmt.Sprintf("%s:%d", c.Host, c.Port)
	for _, ask := range []func(context.Context, *pgxpool.Pool, *doctor.Postgres) error{serverFacts, roundTrip, extensions} {
		if err := ask(ctx, pool, out); err != nil {
			return err
		}
	}
	if err := schemaFacts(ctx, pool, in, out); err != nil {
		return err
	}
	var err error
	if out.Chunks, err = chunks(ctx, pool); err != nil {
		return err
	}
	if out.Identity, err = pg.Fingerprint(ctx, pool); err != nil {
		return err
	}
	out.Pooled, err = pg.Pooler(ctx, pool)
	return err
}

// serverFacts asks what every role may see. pg_stat_database counts all
// backends, also where pg_stat_activity hides what kind they are. Sessions of
// this role on this database are Open WebUI's own, or outgrow's.
func serverFacts(ctx context.Context, pool *pgxpool.Pool, out *doctor.Postgres) error {
	const q = `SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('max_connections')::int,
 current_setting('superuser_reserved_connections')::int + coalesce(nullif(current_setting('reserved_connections', true), ''), '0')::int,
 greatest((SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database)
  - (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user), 0)::int,
 (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), (SELECT datconnlimit FROM pg_database WHERE datname = current_database()),
 pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool,
 (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), has_database_privilege(current_database(), 'CREATE')`
	var version string
	err := pool.QueryRow(ctx, q).Scan(&out.Version, &version, &out.MaxConnections, &out.Reserved, &out.InUse, &out.RoleLimit, &out.DatabaseLimit,
		&out.ReadOnly, &out.Superuser, &out.CreateExt)
	var number string
	_, _ = fmt.Sscan(version, &number) // without the packager's words
	out.Kind = "PostgreSQL " + number
	return pg.Classify("asking the server for its settings", err)
}

func roundTrip(ctx context.Context, pool *pgxpool.Pool, out *doctor.Postgres) error {
	c, err := pool.Acquire(ctx)
	if err != nil {
		return pg.Classify("connecting", err)
	}
	defer c.Release()
	var times []time.Duration
	for range trips {
		began := time.Now()
		if _, err := c.Exec(ctx, "SELECT 1", pgx.QueryExecModeSimpleProtocol); err != nil {
			return pg.Classify("measuring the round trip", err)
		}
		times = append(times, time.Since(began))
	}
	out.Trip = median(times)
	return nil
}

func extensions(ctx context.Context, pool *pgxpool.Pool, out *doctor.Postgres) error {
	const q = `SELECT a.name::text, coalesce(a.installed_version, ''), coalesce(a.default_version, ''), coalesce((SELECT bool_or(v.trusted)
 FROM pg_available_extension_versions v WHERE v.name = a.name AND v.version = a.default_version), false)
 FROM pg_available_extensions a WHERE a.name IN ('vector', 'pgcrypto')`
	rows, err := pool.Query(ctx, q)
	if err != nil {
		return pg.Classify("listing the extensions", err)
	}
	out.Extensions = map[string]doctor.Extension{}
	var name string
	var e doctor.Extension
	_, err = pgx.ForEachRow(rows, []any{&name, &e.Installed, &e.Available, &e.Trusted}, func() error {
		out.Extensions[name] = e
		return nil
	})
	return pg.Classify("listing the extensions", err)
}

// schemaFacts asks for the schema that tables go to, and for Open WebUI's tables.
func schemaFacts(ctx context.Context, pool *pgxpool.Pool, in string, out *doctor.Postgres) error {
	const op = "looking at the schema"
	const q = `SELECT nspname::text, has_schema_privilege(oid, 'USAGE'), has_schema_privilege(oid, 'CREATE') FROM pg_namespace
 WHERE nspname = coalesce(nullif($1, ''), current_schema())`
	err := pool.QueryRow(ctx, q, in).Scan(&out.Schema, &out.Usage, &out.Create)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return pg.Classify(op, err)
	}
	const homes = `SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relname IN ('alembic_version', 'chat') GROUP BY 1 HAVING count(*) = 2 ORDER BY 1`
	rows, err := pool.Query(ctx, homes)
	if err != nil {
		return pg.Classify(op, err)
	}
	schemas, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return pg.Classify(op, err)
	}
	for _, s := range schemas {
		if s == out.Schema {
			out.Tables = true
		} else if out.Elsewhere == "" {
			out.Elsewhere = s
		}
	}
	if !out.Tables || !out.Usage {
		return nil
	}
	return denied(ctx, pool, out)
}

// denied lists Open WebUI's tables that the role may not work with.
func denied(ctx context.Context, pool *pgxpool.Pool, out *doctor.Postgres) error {
	heads := schema.Heads()
	s, err := schema.Load(heads[len(heads)-1])
	if err != nil {
		return err
	}
	names := []string{"alembic_version", vectors.Table}
	for _, t := range s.Tables {
		names = append(names, t.Name)
	}
	const q = `SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relname = ANY ($2)
 AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')) ORDER BY 1`
	rows, err := pool.Query(ctx, q, out.Schema, names)
	if err != nil {
		return pg.Classify("looking at the rights", err)
	}
	out.Denied, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return pg.Classify("looking at the rights", err)
}

// counted bounds the count of a table that nobody has analyzed.
const counted = 100_000

// chunks describes pgvector's table; nil when there is none.
func chunks(ctx context.Context, pool *pgxpool.Pool) (*doctor.Chunks, error) {
	const op = "looking at " + vectors.Table
	const q = `SELECT format_type(a.atttypid, a.atttypmod), c.reltuples::bigint, coalesce(m.amname::text, ''), i.indexrelid IS NOT NULL AND NOT i.indisvalid,
 has_table_privilege(c.oid, 'SELECT') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'vector' AND NOT a.attisdropped
 LEFT JOIN (pg_index i JOIN pg_class x ON x.oid = i.indexrelid AND x.relname = $2 JOIN pg_am m ON m.oid = x.relam) ON i.indrelid = c.oid
 WHERE c.oid = to_regclass($1)`
	out := &doctor.Chunks{}
	var readable bool
	err := pool.QueryRow(ctx, q, vectors.Table, vectors.VectorIndex).Scan(&out.Type, &out.Rows, &out.Method, &out.Invalid, &readable)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err == nil && out.Rows < 0 && readable {
		err = pool.QueryRow(ctx, fmt.Sprintf("SELECT count(*) FROM (SELECT 1 FROM %s LIMIT %d) t", vectors.Table, counted)).Scan(&out.Rows)
	}
	return out, pg.Classify(op, err)
}
