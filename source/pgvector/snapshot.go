package pgvector

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// querier is a pool, or a transaction on the shared snapshot.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// snapshot is what one transaction sees, for others to see it too.
type snapshot struct {
	conn *pgxpool.Conn
	id   string
}

// export begins the transaction that keeps the snapshot alive.
func export(ctx context.Context, pool *pgxpool.Pool) (*snapshot, error) {
	const op = "taking a snapshot"
	c, err := pool.Acquire(ctx)
	if err != nil {
		return nil, pg.Classify(op, err)
	}
	s := &snapshot{conn: c}
	if _, err = c.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err == nil {
		err = c.QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&s.id)
	}
	if err != nil {
		s.close()
		return nil, pg.Classify(op, err)
	}
	return s, nil
}

func (s *snapshot) close() {
	if s.conn == nil {
		return
	}
	_, _ = s.conn.Exec(context.Background(), "ROLLBACK")
	s.conn.Release()
	s.conn = nil
}

// view lets f read: through the pool, or on the snapshot.
func (s *Source) view(ctx context.Context, f func(querier) error) error {
	if s.shared == nil {
		return f(s.pool)
	}
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// The id is the server's own word: digits and hyphens.
	if _, err := tx.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+s.shared.id+"'"); err != nil {
		if pg.HasCode(err, "22023", "42704", "55000") {
			return pipeline.Environment("reading on the snapshot", err, "the connection that held the snapshot was lost: run the same command again, it resumes on a new one")
		}
		return err
	}
	return f(tx)
}
