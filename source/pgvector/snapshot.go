package pgvector

import (
	"context"

	"outgrow/mappings/pg"
)

// view lets f read: through the pool, or on the snapshot.
func (s *Source) view(ctx context.Context, f func(pg.Querier) error) error {
	if s.shared == nil {
		return f(s.pool)
	}
	tx, err := s.shared.BeginOn(ctx, s.pool)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	return f(tx)
}
