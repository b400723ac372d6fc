package scratch

import (
	"context"
	"fmt"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// tablesSQL counts what somebody has made in a database, extensions left out.
const tablesSQL = `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f', 'S') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`

// Take marks a database that somebody has made for a rehearsal as that rehearsal's.
// It must be empty, and have the mark alone: of two rehearsals that want it at the
// same time one gets it.
func Take(ctx context.Context, url env.Secret, name, id string) error {
	const op = "taking the scratch database"
	pool, err := pg.Open(ctx, url, pg.Options{MaxConns: 1})
	if err != nil {
		return err
	}
	defer pool.Close()
	tx, err := pool.Begin(ctx)
	if err != nil {
		return pg.Classify(op, err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after the commit there is nothing to undo
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", Mark); err != nil {
		return pg.Classify(op, err)
	}
	var is, comment string
	var n int64
	if err := tx.QueryRow(ctx, "SELECT current_database()::text, "+commentSQL+" FROM pg_database WHERE datname = current_database()").Scan(&is, &comment); err != nil {
		return pg.Classify(op, err)
	}
	if is != name || comment != Mark {
		return NotOurs(op, name)
	}
	if err := tx.QueryRow(ctx, tablesSQL).Scan(&n); err != nil {
		return pg.Classify(op, err)
	}
	if n > 0 {
		return pipeline.Usage(op, fmt.Errorf("the database %s is marked for a rehearsal, but it is not empty (%d tables and the like)", name, n), "make an empty one, or name another with --database")
	}
	if _, err := tx.Exec(ctx, markSQL(name, id)); err != nil {
		return pg.Classify(op, err)
	}
	return pg.Classify(op, tx.Commit(ctx))
}

// Prepare makes in a scratch database what the target's was given by hand: the
// schema of the tables, "" for none, and extensions. without says why one of them
// cannot be had, "" when all are there.
func Prepare(ctx context.Context, url env.Secret, schema string, extensions ...string) (without string, err error) {
	const op = "preparing the scratch database"
	pool, err := pg.Open(ctx, url, pg.Options{MaxConns: 1})
	if err != nil {
		return "", err
	}
	defer pool.Close()
	if schema != "" {
		if _, err := pool.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+pg.Ident(schema)); err != nil {
			return "", pg.Classify(op, err)
		}
	}
	for _, name := range extensions {
		_, err = pool.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS "+pg.Ident(name))
		switch {
		case pg.HasCode(err, "42501"): // insufficient_privilege
			return "only a superuser may create the extension " + name, nil
		case pg.HasCode(err, "0A000", "58P01"): // feature_not_supported since 15, undefined_file before
			return "the server does not have the extension " + name, nil
		case err != nil:
			return "", pg.Classify(op, err)
		}
	}
	return "", nil
}
