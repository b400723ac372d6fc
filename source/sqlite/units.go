package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"outgrow/pipeline"
)

// Units lists the tables that can be read, the largest first and those with
// Unit.After last, so that parallel workers end together. Records is exact,
// Bytes an estimate of the sizes of the rows. Tables restricted with SetKeys
// or SetColumns are not the only ones listed: which of them the target knows
// is for the caller to say.
func (s *Source) Units(ctx context.Context) ([]pipeline.Unit, error) {
	tables, err := s.Tables(ctx)
	if err != nil {
		return nil, err
	}
	var units []pipeline.Unit
	for _, t := range tables {
		if (t.Leftover && !s.wanted(t.Name)) || t.WithoutRowID || t.rowid == "" {
			continue
		}
		u := pipeline.Unit{Lane: pipeline.Rows, Name: t.Name, After: s.cfg.SpecialAfter[t.Name]}
		if u.Records, err = s.Count(ctx, u); err != nil {
			return nil, err
		}
		if u.Bytes, err = s.estimate(ctx, &t, u.Records); err != nil {
			return nil, err
		}
		units = append(units, u)
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

// Count counts the rows of a table.
func (s *Source) Count(ctx context.Context, unit pipeline.Unit) (int64, error) {
	n, err := s.number(ctx, "SELECT count(*) FROM "+ident(unit.Name))
	if err != nil {
		return 0, fmt.Errorf("counting table %s: %w", unit.Name, openError(s.path, err))
	}
	return n, nil
}

const samples = 64

// estimate weighs rows at evenly spread rowids by what stands in their
// headers, without reading overflow pages. Small tables are weighed whole.
func (s *Source) estimate(ctx context.Context, t *TableInfo, records int64) (int64, error) {
	if records == 0 {
		return 0, nil
	}
	if records <= 4*samples {
		n, err := s.number(ctx, "SELECT sum("+rowBytes(t)+") FROM "+ident(t.Name))
		if err != nil {
			return 0, openError(s.path, err)
		}
		return n, nil
	}
	lo, hi, err := s.span(ctx, t)
	if err != nil {
		return 0, err
	}
	sql := fmt.Sprintf("SELECT %s FROM %s WHERE %s >= ? ORDER BY %[3]s LIMIT 1", rowBytes(t), ident(t.Name), t.rowid)
	n := min(samples, records)
	var sum int64
	for i := range n {
		size, err := s.number(ctx, sql, between(lo, hi, i, n))
		if err != nil {
			return 0, openError(s.path, err)
		}
		sum += size
	}
	return int64(float64(sum) / float64(n) * float64(records)), nil
}

// rowBytes is an expression for the bytes of a row as Row.Size counts them,
// taken from the record's header alone.
func rowBytes(t *TableInfo) string {
	return strconv.Itoa(16*len(t.Columns)) + " + " + join(t.Columns, " + ", func(c ColumnInfo) string {
		return "ifnull(octet_length(" + ident(c.Name) + "), 0)"
	})
}

func (s *Source) span(ctx context.Context, t *TableInfo) (lo, hi int64, err error) {
	sql := "SELECT " + t.rowid + " FROM " + ident(t.Name) + " ORDER BY 1 "
	if lo, err = s.number(ctx, sql+"LIMIT 1"); err != nil {
		return 0, 0, openError(s.path, err)
	}
	if hi, err = s.number(ctx, sql+"DESC LIMIT 1"); err != nil {
		return 0, 0, openError(s.path, err)
	}
	return lo, hi, nil
}

// between gives the i-th of n evenly spread points, lo for 0; the difference
// of any two rowids fits in a uint64.
func between(lo, hi, i, n int64) int64 {
	return lo + int64(uint64(float64(uint64(hi)-uint64(lo))/float64(n)*float64(i)))
}

// Split cuts a table into up to n ranges of rowids of about equal bytes, by a
// sample. The last is open at its end: rows that come later are in it.
func (s *Source) Split(ctx context.Context, unit pipeline.Unit, n int) ([]pipeline.Part, error) {
	t, err := s.readable(unit.Name)
	if err != nil {
		return nil, err
	}
	whole := []pipeline.Part{{Unit: unit}}
	if n < 2 {
		return whole, nil
	}
	lo, hi, err := s.span(ctx, t)
	if err != nil || hi == lo {
		return whole, err
	}
	points, err := s.weigh(ctx, t, lo, hi, int64(min(max(4*n, 64), 256)))
	if err != nil {
		return nil, err
	}
	var total int64
	for _, p := range points {
		total += p.bytes
	}
	var parts []pipeline.Part
	var from pipeline.Cursor
	var sum int64
	for i, p := range points {
		sum += p.bytes
		done := int64(len(parts)) + 1
		if i == len(points)-1 || done == int64(n) || sum < total/int64(n)*done {
			continue
		}
		to := pipeline.Cursor(strconv.FormatInt(p.last, 10))
		parts = append(parts, pipeline.Part{Unit: unit, N: len(parts), From: from, To: to})
		from = to
	}
	return append(parts, pipeline.Part{Unit: unit, N: len(parts), From: from}), nil
}

type slice struct{ last, bytes int64 }

// weigh cuts the rowids into slices of equal width and weighs a few rows of
// each, taking slices that have any as equally full. Small tables are weighed
// row by row.
func (s *Source) weigh(ctx context.Context, t *TableInfo, lo, hi, slices int64) ([]slice, error) {
	var points []slice
	if uint64(hi)-uint64(lo) < 4*uint64(slices) {
		sql := fmt.Sprintf("SELECT %s, %s FROM %s ORDER BY 1", t.rowid, rowBytes(t), ident(t.Name))
		err := s.each(ctx, sql, func(v []any) error {
			points = append(points, slice{v[0].(int64), v[1].(int64)})
			return nil
		})
		return points, err
	}
	some := fmt.Sprintf("SELECT %s, %s FROM %s WHERE %[1]s > ? AND %[1]s <= ? ORDER BY 1 LIMIT 4", t.rowid, rowBytes(t), ident(t.Name))
	from := int64(math.MinInt64)
	for i := range slices {
		to := between(lo, hi, i+1, slices)
		if i == slices-1 {
			to = hi
		}
		var rows, bytes int64
		err := s.each(ctx, some, func(v []any) error {
			size, _ := v[1].(int64)
			rows, bytes = rows+1, bytes+size
			return nil
		}, from, to)
		if err != nil {
			return nil, err
		}
		if rows > 0 {
			points = append(points, slice{to, bytes / rows})
		}
		from = to
	}
	return points, nil
}
