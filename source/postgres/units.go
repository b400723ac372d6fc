package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

// Units lists the tables. On a snapshot: all but what the migration tools keep
// for themselves, the largest first and those with Unit.After last, Records
// exact and Bytes an estimate of the sizes of the rows; which of them the target
// knows is for the caller to say. Else, by name and with estimates of the
// planner: those of the recorded head, or, when that is unknown or not there,
// all but the ones known to be somebody else's.
func (s *Source) Units(ctx context.Context) ([]pipeline.Unit, error) {
	if s.shared != nil {
		return s.moved(ctx)
	}
	head, err := s.Head(ctx)
	if err != nil {
		return nil, err
	}
	known, err := schema.Load(head)
	if err != nil && !errors.Is(err, schema.ErrUnknownHead) {
		return nil, err
	}
	// Sizes and estimates change while the connection is open.
	tables, err := pg.Tables(ctx, s.pool, s.schema)
	if err != nil {
		return nil, err
	}
	if err := pg.Sizes(ctx, s.pool, s.schema, tables); err != nil {
		return nil, err
	}
	var units []pipeline.Unit
	for _, name := range sorted(tables) {
		if known != nil {
			if _, ok := known.Table(name); !ok {
				continue
			}
		} else if others(name) || name == "migratehistory" {
			continue
		}
		if name == version {
			continue
		}
		units = append(units, pipeline.Unit{Lane: pipeline.Rows, Name: name, Records: tables[name].Rows, Bytes: tables[name].Bytes})
	}
	return units, nil
}

// moved is Units of a migration's source.
func (s *Source) moved(ctx context.Context) ([]pipeline.Unit, error) {
	var units []pipeline.Unit
	for _, name := range sorted(s.tables) {
		if others(name) || leftover(name) && !s.wanted(name) {
			continue
		}
		u := pipeline.Unit{Lane: pipeline.Rows, Name: name, After: s.cfg.SpecialAfter[name]}
		var err error
		if u.Records, err = s.Count(ctx, u); err != nil {
			return nil, err
		}
		units = append(units, u)
	}
	if err := s.weigh(ctx, units); err != nil {
		return nil, pg.Classify("estimating the sizes of the tables", err)
	}
	slices.SortStableFunc(units, func(a, b pipeline.Unit) int {
		return cmp.Or(cmp.Compare(min(len(a.After), 1), min(len(b.After), 1)), cmp.Compare(b.Bytes, a.Bytes))
	})
	return units, nil
}

// wanted reports whether SetColumns named the table: the targets of releases up
// to 0.9.5 need migratehistory.
func (s *Source) wanted(table string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.cols[table]
	return ok
}

// samples is how many rows of a table are looked at for their size.
const samples = 64

// weigh estimates the bytes of the rows as Row.Size counts them.
func (s *Source) weigh(ctx context.Context, units []pipeline.Unit) error {
	average := map[string]float64{}
	for _, all := range []bool{false, true} { // a sample of pages may be empty
		var parts []string
		for _, u := range units {
			if _, done := average[u.Name]; done || u.Records == 0 {
				continue
			}
			from := s.t(u.Name)
			if !all {
				from += sample(u.Records, 4*samples)
			}
			parts = append(parts, fmt.Sprintf("SELECT %s, avg(size)::float8 FROM (SELECT %s AS size FROM %s LIMIT %d) s", pg.Literal(u.Name), rowBytes(s.tables[u.Name]), from, samples))
		}
		if len(parts) == 0 {
			break
		}
		err := s.view(ctx, func(q pg.Querier) error {
			rows, err := q.Query(ctx, strings.Join(parts, " UNION ALL "))
			if err != nil {
				return err
			}
			var name string
			var size *float64
			_, err = pgx.ForEachRow(rows, []any{&name, &size}, func() error {
				if size != nil {
					average[name] = *size
				}
				return nil
			})
			return err
		})
		if err != nil {
			return err
		}
	}
	for i, u := range units {
		units[i].Bytes = int64(average[u.Name] * float64(u.Records))
	}
	return nil
}

// sample is a clause that takes about n of so many rows, the same ones each
// time, by taking whole pages.
func sample(records int64, n float64) string {
	percent := 100.0
	if records > 0 && n < float64(records) {
		percent = max(0.01, 100*n/float64(records))
	}
	return fmt.Sprintf(" TABLESAMPLE SYSTEM (%g) REPEATABLE (1)", percent)
}

// rowBytes is an expression for the bytes of a row as Row.Size counts them.
func rowBytes(t *pg.Table) string {
	words := []string{fmt.Sprint(16 * len(t.Columns))}
	for _, c := range t.Columns {
		switch c.Type {
		case schema.Bigint, schema.Integer, schema.Boolean:
		default:
			words = append(words, "coalesce(octet_length("+pg.Ident(c.Name)+"::text), 0)")
		}
	}
	return strings.Join(words, " + ")
}

// Count counts the rows of a table.
func (s *Source) Count(ctx context.Context, unit pipeline.Unit) (n int64, err error) {
	if s.shared != nil {
		f, err := s.state(ctx)
		if err != nil {
			return 0, err
		}
		if n, ok := f.counts[unit.Name]; ok {
			return n, nil
		}
	}
	err = s.view(ctx, func(q pg.Querier) error {
		return q.QueryRow(ctx, "SELECT count(*) FROM "+s.t(unit.Name)).Scan(&n)
	})
	return n, pg.Classify("counting "+unit.ID(), err)
}

// Split cuts a table into up to n parts of about the same number of stored
// bytes, by keys from a sample of its pages; long values are not read.
func (s *Source) Split(ctx context.Context, unit pipeline.Unit, n int) ([]pipeline.Part, error) {
	t, err := s.open(ctx, unit)
	if err != nil {
		return nil, err
	}
	parts := []pipeline.Part{{Unit: unit}}
	if n <= 1 {
		return parts, nil
	}
	sizes := join(t.shape.Columns, " + ", func(c pg.Column) string { return "coalesce(pg_column_size(" + pg.Ident(c.Name) + "), 0)" })
	sql := "SELECT json_build_array(" + t.texts("") + ")::text, (" + sizes + ")::bigint FROM " + t.name + sample(unit.Records, float64(n)*400) + " ORDER BY " + t.orderBy("")
	type point struct {
		key   string
		bytes int64
	}
	var points []point
	err = s.view(ctx, func(q pg.Querier) error {
		rows, err := q.Query(ctx, sql)
		if err != nil {
			return err
		}
		points, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p point, err error) {
			err = row.Scan(&p.key, &p.bytes)
			return p, err
		})
		return err
	})
	if err != nil {
		return nil, pg.Classify("cutting "+unit.ID(), err)
	}
	if len(points) < 2*n {
		return parts, nil
	}
	var total, sum int64
	for _, p := range points {
		total += p.bytes
	}
	for _, p := range points[:len(points)-1] {
		sum += p.bytes
		if done := int64(len(parts)); done == int64(n) || sum < total/int64(n)*done {
			continue
		}
		// PostgreSQL spells the array its own way; a cursor has one spelling.
		var key []string
		if err := json.Unmarshal([]byte(p.key), &key); err != nil {
			return nil, err
		}
		body, _ := json.Marshal(key)
		last := &parts[len(parts)-1]
		last.To = pipeline.Cursor(body)
		parts = append(parts, pipeline.Part{Unit: unit, N: len(parts), From: last.To})
	}
	return parts, nil
}
