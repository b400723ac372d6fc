package rows

import (
	"slices"
	"sync"

	"outgrow/pipeline"
)

// SQLiteTransform is [Transform] for a target in SQLite: it gives rows in the
// storage classes of [ToSQLite], with the columns of the target that the source
// has, in the target's order. Applied once more, to what was read back, it
// changes nothing.
func SQLiteTransform(tables map[string][]SQLiteColumn, opt Options) pipeline.Transform[*pipeline.Row] {
	var plans sync.Map // table → *sqlitePlan, of the header last seen
	return func(unit pipeline.Unit, row *pipeline.Row) (*pipeline.Row, []pipeline.Change, []pipeline.Refusal) {
		cols, ok := tables[row.Table.Name]
		if !ok {
			return nil, nil, []pipeline.Refusal{pipeline.NewRefusal(unit, row, "", pipeline.Invalid, "the target has no table "+row.Table.Name)}
		}
		var p *sqlitePlan
		if known, ok := plans.Load(row.Table.Name); ok {
			p = known.(*sqlitePlan)
		}
		if p == nil || p.from != row.Table && !(slices.Equal(p.from.Columns, row.Table.Columns) && slices.Equal(p.from.Key, row.Table.Key)) {
			p = newSQLitePlan(row.Table, cols)
			plans.Store(row.Table.Name, p)
		}
		return p.convert(unit, row, opt)
	}
}

// sqlitePlan is how rows with one header become rows of a table in SQLite.
type sqlitePlan struct {
	from, to *pipeline.Table
	cols     []SQLiteColumn // as in to
	at       []int          // where each stands in from
	path     int            // where file.path stands, -1 for none
}

func newSQLitePlan(from *pipeline.Table, cols []SQLiteColumn) *sqlitePlan {
	p := &sqlitePlan{from: from, to: &pipeline.Table{Name: from.Name}, path: -1}
	for _, c := range cols {
		i := slices.Index(from.Columns, c.Name)
		if i < 0 {
			continue
		}
		if from.Name == "file" && c.Name == "path" {
			p.path = len(p.cols)
		}
		p.cols, p.at = append(p.cols, c), append(p.at, i)
		p.to.Columns = append(p.to.Columns, c.Name)
	}
	for _, k := range from.Key {
		if i := slices.Index(p.at, k); i >= 0 {
			p.to.Key = append(p.to.Key, i)
		}
	}
	return p
}

func (p *sqlitePlan) convert(unit pipeline.Unit, row *pipeline.Row, opt Options) (*pipeline.Row, []pipeline.Change, []pipeline.Refusal) {
	out := &pipeline.Row{Table: p.to, Values: make([]any, len(p.cols))}
	var changes []pipeline.Change
	var refusals []pipeline.Refusal
	for i, c := range p.cols {
		old := row.Values[p.at[i]]
		v, fix, problem := ToSQLite(c, old)
		if problem != nil {
			refusals = append(refusals, pipeline.NewRefusal(unit, row, c.Name, problem.Reason, problem.Detail))
			out.Values[i] = old // should it be part of the key
			continue
		}
		if fix != nil {
			changes = append(changes, change(unit, &Column{Name: c.Name}, fix, old, v))
		}
		if path, ok := v.(string); ok && path != "" && i == p.path && opt.FilePath != nil {
			if moved, note := opt.FilePath(path); moved != path {
				changes = append(changes, change(unit, &Column{Name: c.Name}, &Fix{pipeline.PathRewritten, note}, v, moved))
				v = moved
			}
		}
		out.Values[i] = v
	}
	return named(out, changes, refusals)
}
