package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"outgrow/pipeline"
)

// Upsert inserts rows, or updates those that have their keys, in one
// transaction, which is held to the foreign keys once the load is finished. With
// how.Final a foreign key that is SET NULL when its parent is deleted is NULL where
// there is no parent.
func (s *Sink) Upsert(ctx context.Context, unit pipeline.Unit, records []*pipeline.Row, how pipeline.Upsert) (pipeline.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.ready(ctx, unit)
	if err != nil || len(records) == 0 {
		return pipeline.Outcome{}, err
	}
	l := loader{sink: s, unit: unit, table: t, again: true, final: how.Final}
	err = s.checked(ctx, func() error {
		for _, r := range records {
			if err := l.insert(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return pipeline.Outcome{}, classify("writing "+unit.ID(), err)
	}
	return l.out, nil
}

// clear gives the row without those keys that may be cleared and have no parent.
func (l *loader) clear(ctx context.Context, r *pipeline.Row) (*pipeline.Row, []pipeline.Change, error) {
	out := &pipeline.Row{Table: r.Table, Values: slices.Clone(r.Values)}
	var changed []pipeline.Change
next:
	for _, k := range l.table.keys {
		if !k.clears(l.table) {
			continue
		}
		terms, args := make([]string, len(k.columns)), make([]any, len(k.columns))
		for i, c := range k.columns {
			at := slices.Index(r.Table.Columns, c)
			if at < 0 || r.Values[at] == nil {
				continue next
			}
			terms[i], args[i] = ident(k.refColumns[i])+" = ?", r.Values[at]
		}
		n, err := one[int](ctx, l.sink.conn, "SELECT count(*) FROM "+ident(k.parent)+" WHERE "+strings.Join(terms, " AND "), args...)
		if err != nil {
			return nil, nil, err
		}
		if n > 0 {
			continue
		}
		changed = append(changed, k.cleared(l.unit, r)...)
		for _, c := range k.columns {
			out.Values[slices.Index(r.Table.Columns, c)] = nil
		}
	}
	return out, changed, nil
}

// Remove deletes rows by key in one transaction. Rows that the foreign keys would
// delete with them come back whole in Outcome.Refused, keys that they would set to
// NULL are, as Outcome.Changed says.
func (s *Sink) Remove(ctx context.Context, unit pipeline.Unit, keys []string, before func(pipeline.Outcome) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.ready(ctx, unit); err != nil || len(keys) == 0 {
		return err
	}
	err := s.tx(ctx, func() error {
		r := remover{sink: s}
		if err := r.remove(ctx, unit, keys); err != nil {
			return err
		}
		return r.out.Beside(unit, keys, before)
	})
	return classify("removing from "+unit.ID(), err)
}

// remover removes rows and what refers to them inside one transaction.
type remover struct {
	sink *Sink
	out  pipeline.Outcome
}

func (r *remover) remove(ctx context.Context, unit pipeline.Unit, keys []string) error {
	t := r.sink.tables[unit.Name]
	for part := range slices.Chunk(keys, chunk) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		for _, name := range sorted(r.sink.tables) {
			for _, k := range r.sink.tables[name].keys {
				if k.parent != unit.Name {
					continue
				}
				if err := r.referring(ctx, k, part); err != nil {
					return fmt.Errorf("settling what refers to it in %s: %w", name, err)
				}
			}
		}
		where, args := t.having("", part)
		if _, err := r.sink.conn.ExecContext(ctx, "DELETE FROM "+ident(t.name)+" WHERE "+where, args...); err != nil {
			return err
		}
	}
	return nil
}

// referring settles the rows that refer to removed ones by this key, a few at a
// time.
func (r *remover) referring(ctx context.Context, k foreignKey, parents []string) error {
	child, unit := r.sink.tables[k.table], pipeline.Unit{Lane: pipeline.Rows, Name: k.table}
	h, clears := child.header(), k.clears(child)
	same := make([]string, len(k.columns))
	for i, c := range k.columns {
		same[i] = "c." + ident(c) + " = p." + ident(k.refColumns[i])
	}
	where, args := r.sink.tables[k.parent].having("p.", parents)
	query := "SELECT c.rowid, " + plain("c.", h.Columns) + " FROM " + ident(k.parent) + " p JOIN " + ident(k.table) + " c ON " + strings.Join(same, " AND ") + " WHERE " + where
	if k.table == k.parent { // those that leave anyway do not count
		own, more := child.having("c.", parents)
		query, args = query+" AND NOT "+own, append(slices.Clone(args), more...)
	}
	for {
		var ids []any
		var keys []string
		var changed []pipeline.Change
		var refused []pipeline.Refusal
		err := each(ctx, r.sink.conn, query+fmt.Sprintf(" LIMIT %d", fetch), args, func(list *sql.Rows) error {
			var id int64
			row, err := scanRow(list, h, &id)
			if err != nil {
				return err
			}
			ids, keys = append(ids, id), append(keys, row.Key())
			if clears {
				changed = append(changed, k.cleared(unit, row)...)
			} else {
				refused = append(refused, pipeline.NewRefusal(unit, row, k.columns[0], pipeline.Orphan,
					fmt.Sprintf("its parent in %s (%s) was removed", k.parent, strings.Join(k.refColumns, ", "))))
			}
			return nil
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		r.out.Add(pipeline.Outcome{Changed: changed, Refused: refused})
		if clears {
			_, err = r.sink.conn.ExecContext(ctx, "UPDATE "+ident(k.table)+" SET "+k.nulls()+" WHERE rowid IN (?"+strings.Repeat(", ?", len(ids)-1)+")", ids...)
		} else {
			err = r.remove(ctx, unit, keys)
		}
		if err != nil {
			return err
		}
	}
}

// Levels puts tables after those that they refer to. A reference to the table
// itself counts for nothing: such rows may have to be tried again.
func (s *Sink) Levels(ctx context.Context, units []pipeline.Unit) ([][]pipeline.Unit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range units {
		if _, err := s.ready(ctx, u); err != nil {
			return nil, err
		}
	}
	var refers [][2]string
	for name, t := range s.tables {
		for _, k := range t.keys {
			refers = append(refers, [2]string{name, k.parent})
		}
	}
	return pipeline.LevelsOf(units, refers), nil
}
