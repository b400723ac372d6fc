package filepaths

import (
	"context"

	"outgrow/mappings/pg"
	"outgrow/sink/pgstate"
)

// Forget removes what is kept of all switches: none can be taken back any more.
// It may be repeated.
func (s *Store) Forget(ctx context.Context) error {
	if !s.there {
		return nil
	}
	if _, err := s.pool.Exec(ctx, "DROP TABLE IF EXISTS "+s.t(values)+", "+s.t(switches)); err != nil {
		return pg.Classify("removing the old paths", err)
	}
	s.there = false
	return pgstate.DropSchema(ctx, s.pool, s.prefix)
}
