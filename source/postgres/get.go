package postgres

import (
	"context"
	"iter"
	"slices"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// chunk is how many keys are asked for at once.
const chunk = 2000

var _ pipeline.Visitor[*pipeline.Row] = (*Source)(nil)

// Get fetches rows by their keys, as Row.Key makes them.
func (s *Source) Get(ctx context.Context, unit pipeline.Unit, keys []string) (map[string]*pipeline.Row, error) {
	out := make(map[string]*pipeline.Row, len(keys))
	err := s.Visit(ctx, unit, keys, func(key string, row *pipeline.Row) error {
		out[key] = row
		return nil
	})
	return out, err
}

// Visit calls f for the rows of these keys as they come from the server, on a
// connection that f cannot use.
func (s *Source) Visit(ctx context.Context, unit pipeline.Unit, keys []string, f func(string, *pipeline.Row) error) error {
	t, err := s.open(ctx, unit)
	if err != nil {
		return err
	}
	var own error
	err = s.view(ctx, func(q pg.Querier) error {
		for part := range slices.Chunk(keys, chunk) {
			err := t.visit(ctx, q, part, func(key string, row *pipeline.Row) error {
				own = f(key, row)
				return own
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if own != nil {
		return own
	}
	return pg.Classify("reading "+unit.ID()+" by key", err)
}

func (t *table) visit(ctx context.Context, q pg.Querier, keys []string, f func(string, *pipeline.Row) error) error {
	from, where, args := pg.KeyJoin(t.shape, "t", keys, 1)
	if args == nil {
		return nil
	}
	wanted := make(map[string]bool, len(keys))
	for _, key := range keys {
		wanted[key] = true
	}
	rows, err := q.Query(ctx, "SELECT "+t.reader.Select("t")+" FROM "+t.name+" t JOIN "+from+" ON "+where, append([]any{t.reader.Formats()}, args...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := t.reader.Row(rows.RawValues())
		if err != nil {
			return err
		}
		if key := row.Key(); wanted[key] {
			if err := f(key, row); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

// Keys lists the keys of a table in no particular order.
func (s *Source) Keys(ctx context.Context, unit pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := s.list(ctx, unit, yield); err != nil {
			yield("", pg.Classify("listing the keys of "+unit.ID(), err))
		}
	}
}

// list returns nil once yield has said no.
func (s *Source) list(ctx context.Context, unit pipeline.Unit, yield func(string, error) bool) error {
	t, err := s.open(ctx, unit)
	if err != nil {
		return err
	}
	reader, err := pg.NewReader(t.shape, t.shape.Key)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return s.view(ctx, func(q pg.Querier) error {
		rows, err := q.Query(ctx, "SELECT "+reader.Select("")+" FROM "+t.name, reader.Formats())
		if err != nil {
			return err
		}
		defer func() { cancel(); rows.Close() }()
		for rows.Next() {
			row, err := reader.Row(rows.RawValues())
			if err != nil {
				return err
			}
			if !yield(row.Key(), nil) {
				return nil
			}
		}
		return rows.Err()
	})
}
