package postgres

import (
	"context"
	"iter"

	"outgrow/mappings/pg"
)

// IDs lists the column id of a table, in no particular order; NULL ids are left
// out, and a table that is not there has none.
func (s *Source) IDs(ctx context.Context, table string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		found := s.tables[table]
		if found == nil {
			return
		}
		if _, ok := found.Column("id"); !ok {
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		rows, err := s.pool.Query(ctx, "SELECT id::text FROM "+pg.Ident(s.schema, table)+" WHERE id IS NOT NULL")
		if err != nil {
			yield("", pg.Classify("listing the ids of "+table, err))
			return
		}
		defer func() { cancel(); rows.Close() }()
		for rows.Next() {
			var id string
			err := rows.Scan(&id)
			if !yield(id, pg.Classify("listing the ids of "+table, err)) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield("", pg.Classify("listing the ids of "+table, err))
		}
	}
}
