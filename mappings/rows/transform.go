package rows

import (
	"slices"
	"strings"
	"sync"

	"outgrow/pipeline"
)

// Options of a Transform.
type Options struct {
	// FilePath gives the path that the target's storage provider expects in
	// place of one in file.path, and says in words what was done; nil leaves
	// paths alone.
	FilePath func(old string) (path, note string)
}

// Transform converts rows as read from SQLite (or canonical ones) to canonical
// rows with the columns of the target that the source has, in the target's
// order. Every changed value is a Change with the digests of both; a row with
// a value that cannot be converted is refused whole.
//
// Tables are the target's columns by table; rows of other tables are refused.
func Transform(tables map[string][]Column, opt Options) pipeline.Transform[*pipeline.Row] {
	var plans sync.Map // table → *plan, of the header last seen
	return func(unit pipeline.Unit, row *pipeline.Row) (*pipeline.Row, []pipeline.Change, []pipeline.Refusal) {
		cols, ok := tables[row.Table.Name]
		if !ok {
			return nil, nil, []pipeline.Refusal{pipeline.NewRefusal(unit, row, "", pipeline.Invalid, "the target has no table "+row.Table.Name)}
		}
		var p *plan
		if known, ok := plans.Load(row.Table.Name); ok {
			p = known.(*plan)
		}
		if p == nil || !p.fits(row.Table) {
			p = newPlan(row.Table, cols)
			plans.Store(row.Table.Name, p)
		}
		return p.convert(unit, row, opt)
	}
}

// plan is how rows with one header become rows of a table.
type plan struct {
	from, to *pipeline.Table
	cols     []Column // as in to
	at       []int    // where each stands in from
	slabs    sync.Pool
}

// slab is room for some rows, so that a row costs no allocation of its own.
type slab struct {
	rows   []pipeline.Row
	values []any
}

// row is an empty one of the table's.
func (p *plan) row() *pipeline.Row {
	s, _ := p.slabs.Get().(*slab)
	if s == nil {
		s = &slab{}
	}
	if len(s.rows) == 0 {
		const rows = 32
		s.rows, s.values = make([]pipeline.Row, rows), make([]any, rows*len(p.cols))
	}
	row, n := &s.rows[0], len(p.cols)
	row.Table, row.Values = p.to, s.values[:n:n]
	s.rows, s.values = s.rows[1:], s.values[n:]
	p.slabs.Put(s)
	return row
}

func newPlan(from *pipeline.Table, cols []Column) *plan {
	p := &plan{from: from, to: &pipeline.Table{Name: from.Name}}
	for _, c := range cols {
		i := slices.Index(from.Columns, c.Name)
		if i < 0 {
			continue
		}
		c.Table = from.Name
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

func (p *plan) fits(t *pipeline.Table) bool {
	return p.from == t || slices.Equal(p.from.Columns, t.Columns) && slices.Equal(p.from.Key, t.Key)
}

func (p *plan) convert(unit pipeline.Unit, row *pipeline.Row, opt Options) (*pipeline.Row, []pipeline.Change, []pipeline.Refusal) {
	out := p.row()
	var changes []pipeline.Change
	var refusals []pipeline.Refusal
	for i := range p.cols {
		c := &p.cols[i]
		old := row.Values[p.at[i]]
		v, fix, problem := convert(c, old)
		if problem != nil {
			refusals = append(refusals, pipeline.NewRefusal(unit, row, c.Name, problem.Reason, problem.Detail))
			if s, ok := old.(string); ok {
				out.Values[i], _ = sound(s) // should it be part of the key
			}
			continue
		}
		if fix != nil {
			changes = append(changes, change(unit, c, fix, old, v))
		}
		if path, ok := v.(string); ok && path != "" && opt.FilePath != nil && c.Name == "path" && c.Table == "file" {
			if moved, note := opt.FilePath(path); moved != path {
				changes = append(changes, change(unit, c, &Fix{pipeline.PathRewritten, note}, v, moved))
				v = moved
			}
		}
		out.Values[i] = v
	}
	return named(out, changes, refusals)
}

// named gives the lines the key that the row has on the target, and the row only
// where nothing of it was refused.
func named(out *pipeline.Row, changes []pipeline.Change, refusals []pipeline.Refusal) (*pipeline.Row, []pipeline.Change, []pipeline.Refusal) {
	key := out.Key()
	if len(refusals) > 0 {
		if strings.Contains(key, pipeline.NullKey) {
			// SQLite allows any number of rows with NULL in their key.
			key += "#" + pipeline.Digest(string(refusals[0].Record))[:16]
		}
		for i := range refusals {
			refusals[i].Key = key
		}
		return nil, nil, refusals
	}
	for i := range changes {
		changes[i].Key = key
	}
	return out, changes, nil
}

func change(unit pipeline.Unit, c *Column, fix *Fix, before, after any) pipeline.Change {
	return pipeline.Change{Unit: unit.ID(), Column: c.Name, Reason: fix.Reason,
		Before: pipeline.Digest(before), After: pipeline.Digest(after), Note: fix.Note}
}
