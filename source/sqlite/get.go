package sqlite

import (
	"context"
	"errors"
	"slices"
	"strings"

	"outgrow/pipeline"
)

// Get fetches rows by key. A key column that holds a blob is not found.
func (s *Source) Get(ctx context.Context, unit pipeline.Unit, keys []string) (map[string]*pipeline.Row, error) {
	_, h, err := s.headed(unit.Name)
	if err != nil {
		return nil, err
	}
	return s.find(ctx, h, keys)
}

// Held tells which keys a table holds, by its primary key; where rows have another
// key, of which there may be no index, that is not supported.
func (s *Source) Held(ctx context.Context, unit pipeline.Unit, keys []string) ([]string, error) {
	t, h, err := s.headed(unit.Name)
	if err != nil {
		return nil, err
	}
	slim := keysOf(h)
	if !slices.Equal(slim.Columns, t.Key) {
		return nil, errors.ErrUnsupported
	}
	found, err := s.find(ctx, slim, keys)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return found[k] == nil }), nil
}

// keysOf is the header of rows of the key alone.
func keysOf(h *pipeline.Table) *pipeline.Table {
	slim := &pipeline.Table{Name: h.Name}
	for i, k := range h.Key {
		slim.Columns, slim.Key = append(slim.Columns, h.Columns[k]), append(slim.Key, i)
	}
	return slim
}

// find fetches the columns of a header by key.
func (s *Source) find(ctx context.Context, h *pipeline.Table, keys []string) (map[string]*pipeline.Row, error) {
	found := make(map[string]*pipeline.Row, len(keys))
	asked := make(map[string]bool, len(keys))
	for _, k := range keys {
		asked[k] = true
	}
	take := func(v []any) error {
		r := &pipeline.Row{Table: h, Values: slices.Clone(v)}
		if k := r.Key(); asked[k] { // an integer equals other texts than its own
			found[k] = r
		}
		return nil
	}
	query := "SELECT " + selection(h.Columns) + " FROM " + ident(h.Name) + " WHERE "
	column := func(i int) string { return ident(h.Columns[i]) }
	const most = 500
	for chunk := range slices.Chunk(keys, most) {
		if len(h.Key) == 1 && !slices.Contains(chunk, pipeline.NullKey) {
			args := make([]any, 0, len(chunk))
			for _, k := range chunk {
				args = append(args, k)
			}
			sql := query + column(h.Key[0]) + " IN (?" + strings.Repeat(",?", len(chunk)-1) + ")"
			if err := s.each(ctx, sql, take, args...); err != nil {
				return nil, openError(s.path, err)
			}
			continue
		}
		for _, k := range chunk {
			var args []any
			var terms []string
			values := strings.SplitN(k, pipeline.KeySeparator, len(h.Key))
			if len(values) != len(h.Key) {
				continue
			}
			for i, p := range values {
				if p == pipeline.NullKey {
					terms = append(terms, column(h.Key[i])+" IS NULL")
					continue
				}
				terms, args = append(terms, column(h.Key[i])+" = ?"), append(args, p)
			}
			if err := s.each(ctx, query+strings.Join(terms, " AND "), take, args...); err != nil {
				return nil, openError(s.path, err)
			}
		}
	}
	return found, nil
}
