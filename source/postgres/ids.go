package postgres

import (
	"context"
	"iter"

	"outgrow/mappings/pg"
)

// IDs lists the column id of a table, in no particular order; NULL ids are left
// out, and a table that is not there has none.
func (s *Source) IDs(ctx context.Context, table string) iter.Seq2[string, error] {
	if !s.has(table, "id") {
		return func(func(string, error) bool) {}
	}
	return each(ctx, s, "listing the ids of "+table, "SELECT id::text FROM "+s.t(table)+" WHERE id IS NOT NULL", func(scan scanner) (id string, keep bool, err error) {
		err = scan(&id)
		return id, true, err
	})
}

type scanner func(into ...any) error

// each yields what take makes of the rows of a query.
func each[T any](ctx context.Context, s *Source, op, sql string, take func(scanner) (v T, keep bool, err error), args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		over := false
		err := s.view(ctx, func(q pg.Querier) error {
			rows, err := q.Query(ctx, sql, args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				v, keep, err := take(rows.Scan)
				if err != nil {
					return err
				}
				if keep && !yield(v, nil) {
					over = true
					cancel() // must not read the rest
					return nil
				}
			}
			return rows.Err()
		})
		if err != nil && !over {
			var none T
			yield(none, pg.Classify(op, err))
		}
	}
}
