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

// Empty refuses a database in which somebody has made something.
func Empty(ctx context.Context, url env.Secret, name string) error {
	const op = "looking into the scratch database"
	pool, err := pg.Open(ctx, url, pg.Options{MaxConns: 1})
	if err != nil {
		return err
	}
	defer pool.Close()
	var n int64
	if err := pool.QueryRow(ctx, tablesSQL).Scan(&n); err != nil {
		return pg.Classify(op, err)
	}
	if n > 0 {
		return pipeline.Usage(op, fmt.Errorf("the database %s is marked for a rehearsal, but it is not empty (%d tables and the like)", name, n), "make an empty one, or name another with --database")
	}
	return nil
}

// Prepare makes in a scratch database what the target's was given by hand: the
// schema of the tables, "" for none, and pgvector where vectors says that it is
// wanted. without says why it cannot be had, "" when it is there.
func Prepare(ctx context.Context, url env.Secret, schema string, vectors bool) (without string, err error) {
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
	if !vectors {
		return "", nil
	}
	_, err = pool.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS vector")
	switch {
	case pg.HasCode(err, "42501"): // insufficient_privilege
		return "only a superuser may create the extension vector", nil
	case pg.HasCode(err, "0A000", "58P01"): // feature_not_supported since 15, undefined_file before
		return "the server does not have pgvector", nil
	}
	return "", pg.Classify(op, err)
}
