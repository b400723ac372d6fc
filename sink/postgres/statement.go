package postgres

import (
	"fmt"
	"slices"
	"strings"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// toasted is from what length on a value is so large that the server stores it beside
// its row, mostly, in bytes: what is the same there is better left as it is.
const toasted = 2000

// given are columns of rows as a statement gets them: an array of texts for each.
type given struct {
	columns []pg.Column
	long    []bool // whether a value is toasted
	args    []any
}

// give takes the values of these columns, as positions, out of rows that have the same.
func give(unit pipeline.Unit, table *pg.Table, rows []*pipeline.Row, at []int) (given, error) {
	g := given{columns: make([]pg.Column, len(at)), long: make([]bool, len(at)), args: make([]any, len(at))}
	for i, k := range at {
		name := rows[0].Table.Columns[k]
		c, ok := table.Column(name)
		if !ok {
			return g, &pipeline.Error{Op: "writing", Unit: unit.ID(), Key: rows[0].Key(), Err: fmt.Errorf("the table has no column %q", name)}
		}
		column := make([]*string, len(rows))
		for n, r := range rows {
			switch v := r.Values[k].(type) {
			case nil:
			case string:
				column[n] = &v // not a copy of the text
				g.long[i] = g.long[i] || len(v) >= toasted
			default:
				column[n] = new(fmt.Sprint(v))
			}
		}
		g.columns[i], g.args[i] = c, column
	}
	return g, nil
}

// from is what stands behind FROM: the rows as v.
func (g given) from() string {
	arrays, names := make([]string, len(g.columns)), make([]string, len(g.columns))
	for i := range g.columns {
		arrays[i], names[i] = fmt.Sprintf("$%d::text[]", i+1), fmt.Sprintf("c%d", i)
	}
	return "unnest(" + strings.Join(arrays, ", ") + ") AS v(" + strings.Join(names, ", ") + ")"
}

// value is a column's value of v.
func (g given) value(i int) string { return fmt.Sprintf("v.c%d::%s", i, g.columns[i].Type) }

// set gives a column of old the value now; where any is large, those that are the same
// stay.
func (g given) set(i int, now string) string {
	name := pg.Ident(g.columns[i].Name)
	if !g.long[i] {
		return name + " = " + now
	}
	const same = `%[1]s::text COLLATE "C" IS NOT DISTINCT FROM %[2]s::text COLLATE "C"`
	return name + fmt.Sprintf(" = CASE WHEN "+same+" THEN %[1]s ELSE %[2]s END", "old."+name, now)
}

// upsertSQL is the statement that inserts rows of the same columns, or updates
// those that have their keys.
func (s *Sink) upsertSQL(unit pipeline.Unit, table *pg.Table, rows []*pipeline.Row) (sql string, args []any, err error) {
	columns := rows[0].Table.Columns
	at := make([]int, len(columns))
	for i := range at {
		at[i] = i
	}
	g, err := give(unit, table, rows, at)
	if err != nil {
		return "", nil, err
	}
	var values, set []string
	for i, c := range g.columns {
		values = append(values, g.value(i))
		if !c.InKey {
			set = append(set, g.set(i, "excluded."+pg.Ident(c.Name)))
		}
	}
	sql = "INSERT INTO " + s.t(table.Name) + " AS old (" + pg.Idents(columns) + ") SELECT " + strings.Join(values, ", ") +
		" FROM " + g.from() + " ON CONFLICT (" + pg.Idents(table.Key) + ") DO "
	if len(set) == 0 {
		return sql + "NOTHING", g.args, nil
	}
	return sql + "UPDATE SET " + strings.Join(set, ", "), g.args, nil
}

// updateSQL is the statement that updates these columns, as positions, of rows that
// are there. None of them is of the key.
func (s *Sink) updateSQL(unit pipeline.Unit, table *pg.Table, rows []*pipeline.Row, at []int) (sql string, args []any, err error) {
	keys := len(table.Key)
	all := make([]int, keys, keys+len(at))
	for i, name := range table.Key {
		all[i] = slices.Index(rows[0].Table.Columns, name)
	}
	g, err := give(unit, table, rows, append(all, at...))
	if err != nil {
		return "", nil, err
	}
	var where, set []string
	for i, c := range g.columns {
		if i < keys {
			where = append(where, "old."+pg.Ident(c.Name)+" = "+g.value(i))
		} else {
			set = append(set, g.set(i, g.value(i)))
		}
	}
	return "UPDATE ONLY " + s.t(table.Name) + " AS old SET " + strings.Join(set, ", ") + " FROM " + g.from() + " WHERE " + strings.Join(where, " AND "), g.args, nil
}
