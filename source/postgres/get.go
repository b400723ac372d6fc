package postgres

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// chunk is how many keys are asked for at once.
const chunk = 2000

// Get fetches rows by their keys, as Row.Key makes them.
func (s *Source) Get(ctx context.Context, unit pipeline.Unit, keys []string) (map[string]*pipeline.Row, error) {
	t, err := s.open(unit)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*pipeline.Row, len(keys))
	for part := range slices.Chunk(keys, chunk) {
		if err := s.get(ctx, t, part, out); err != nil {
			return nil, pg.Classify("reading "+unit.ID()+" by key", err)
		}
	}
	return out, nil
}

func (s *Source) get(ctx context.Context, t *table, keys []string, out map[string]*pipeline.Row) error {
	cols := make([][]string, len(t.keys))
	wanted := make(map[string]bool, len(keys))
	for _, key := range keys {
		wanted[key] = true
		for _, values := range pieces(key, len(t.keys)) {
			if t.possible(values) {
				for i, v := range values {
					cols[i] = append(cols[i], v)
				}
			}
		}
	}
	if len(cols[0]) == 0 {
		return nil
	}
	args := []any{t.reader.Formats()}
	unnest, names, same := make([]string, len(cols)), make([]string, len(cols)), make([]string, len(cols))
	for i, c := range t.keys {
		args = append(args, cols[i])
		unnest[i] = fmt.Sprintf("$%d::text[]::%s[]", i+1, cast(c))
		names[i] = fmt.Sprintf("k%d", i)
		same[i] = "t." + pg.Ident(c.Name) + " = k." + names[i]
	}
	sql := "SELECT " + t.reader.Select("t") + " FROM " + t.name + " t"
	if len(cols) == 1 {
		sql += " WHERE t." + pg.Ident(t.keys[0].Name) + " = ANY (" + unnest[0] + ")"
	} else {
		sql += " JOIN unnest(" + strings.Join(unnest, ", ") + ") AS k(" + strings.Join(names, ", ") + ") ON " + strings.Join(same, " AND ")
	}
	rows, err := s.pool.Query(ctx, sql, args...)
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
			out[key] = row
		}
	}
	return rows.Err()
}

// possible reports whether the database can hold these key values at all; it
// would refuse the whole question for one that it cannot.
func (t *table) possible(values []string) bool {
	for i, v := range values {
		switch t.keys[i].Type {
		case schema.Bigint:
			if n, err := strconv.ParseInt(v, 10, 64); err != nil || strconv.FormatInt(n, 10) != v {
				return false
			}
		case schema.Integer:
			if n, err := strconv.ParseInt(v, 10, 32); err != nil || strconv.FormatInt(n, 10) != v {
				return false
			}
		case schema.Boolean:
			if v != "true" && v != "false" {
				return false
			}
		default:
			if strings.IndexByte(v, 0) >= 0 || !utf8.ValidString(v) {
				return false
			}
		}
	}
	return true
}

// pieces lists the ways in which a key can be n values joined by KeySeparator:
// one, unless a value holds the separator itself.
func pieces(key string, n int) [][]string {
	if n == 1 {
		return [][]string{{key}}
	}
	var out [][]string
	for from := 0; ; {
		i := strings.Index(key[from:], pipeline.KeySeparator)
		if i < 0 {
			return out
		}
		for _, rest := range pieces(key[from+i+len(pipeline.KeySeparator):], n-1) {
			out = append(out, append([]string{key[:from+i]}, rest...))
		}
		from += i + len(pipeline.KeySeparator)
	}
}

// Keys lists the keys of a table in no particular order.
func (s *Source) Keys(ctx context.Context, unit pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := s.keys(ctx, unit, yield); err != nil {
			yield("", pg.Classify("listing the keys of "+unit.ID(), err))
		}
	}
}

// keys returns nil once yield has said no.
func (s *Source) keys(ctx context.Context, unit pipeline.Unit, yield func(string, error) bool) error {
	t, err := s.open(unit)
	if err != nil {
		return err
	}
	only := &pg.Table{Name: unit.Name, Columns: t.keys}
	for _, c := range t.keys {
		only.Key = append(only.Key, c.Name)
	}
	reader, err := pg.NewReader(only, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, "SELECT "+reader.Select("")+" FROM "+t.name, reader.Formats())
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
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
