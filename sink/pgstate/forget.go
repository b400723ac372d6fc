package pgstate

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/pg"
)

// Forget takes the lane's lock and removes everything that is kept of the lane;
// with the last lane the tables, and outgrow's schema if nothing else is in it.
// It may be repeated.
func (s *Store) Forget(ctx context.Context) error {
	const op = "removing outgrow's state"
	if has, err := s.Exists(ctx); err != nil || !has {
		return err
	}
	if err := s.acquire(ctx); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.ResetTx(ctx, tx, ""); err != nil {
			return err
		}
		// Another lane may begin meanwhile.
		if _, err := tx.Exec(ctx, "LOCK TABLE "+s.t("run")+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		var left bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+s.t("run")+")").Scan(&left); err != nil || left {
			return err
		}
		for _, t := range tables {
			if _, err := tx.Exec(ctx, "DROP TABLE "+s.t(t)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return pg.Classify(op, err)
	}
	return DropSchema(ctx, s.pool, s.prefix)
}

// DropSchema drops outgrow's own schema, if the tables of that prefix stood in it
// and nothing is in it any more. Where the role may not, the empty schema stays.
func DropSchema(ctx context.Context, pool *pgxpool.Pool, prefix string) error {
	if prefix != pg.Ident(Schema)+"." {
		return nil
	}
	_, err := pool.Exec(ctx, "DROP SCHEMA IF EXISTS "+pg.Ident(Schema)+" RESTRICT")
	if pg.HasCode(err, "2BP01", "42501") { // something else is in it; not the owner
		return nil
	}
	return pg.Classify("removing outgrow's schema", err)
}
