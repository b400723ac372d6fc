package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// Remove deletes rows by key in one transaction. What refers to them is not left
// to the server, which would not tell: rows that the foreign keys would delete
// are removed first and come back whole in Outcome.Refused, keys that they would
// set to NULL are, as Outcome.Changed says.
func (s *Sink) Remove(ctx context.Context, unit pipeline.Unit, keys []string, before func(pipeline.Outcome) error) error {
	if err := s.Prepare(ctx, unit); err != nil || len(keys) == 0 {
		return err
	}
	s.mu.Lock()
	tables, all := s.tables, s.keys
	s.mu.Unlock()
	var err error
	if all == nil {
		if all, err = s.foreignKeys(ctx, sorted(tables)); err != nil {
			return pg.Classify("reading the foreign keys", err)
		}
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		r := remover{sink: s, tx: tx, tables: tables, keys: all}
		if err := r.remove(ctx, unit, keys); err != nil {
			return err
		}
		return r.out.Beside(unit, keys, before)
	})
	return pg.Classify("removing from "+unit.ID(), err)
}

// foreignKeys lists the foreign keys of these tables to any table of the schema
// that is among Open WebUI's.
func (s *Sink) foreignKeys(ctx context.Context, names []string) ([]foreignKey, error) {
	s.mu.Lock()
	all := sorted(s.tables)
	s.mu.Unlock()
	keys, err := s.keysOf(ctx, s.pool, all)
	return slices.DeleteFunc(keys, func(k foreignKey) bool { return !slices.Contains(names, k.Table) }), err
}

// Levels puts tables after those that they refer to. A reference to the table
// itself counts for nothing: such rows may have to be tried again. The foreign keys
// are remembered for Remove: nobody makes others while the lock is held.
func (s *Sink) Levels(ctx context.Context, units []pipeline.Unit) ([][]pipeline.Unit, error) {
	for _, u := range units {
		if err := s.Prepare(ctx, u); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	names := sorted(s.tables)
	s.mu.Unlock()
	keys, err := s.foreignKeys(ctx, names)
	if err != nil {
		return nil, pg.Classify("reading the foreign keys", err)
	}
	s.mu.Lock()
	s.keys = keys
	s.mu.Unlock()
	refers := make([][2]string, len(keys))
	for i, k := range keys {
		refers[i] = [2]string{k.Table, k.RefTable}
	}
	return pipeline.LevelsOf(units, refers), nil
}

// remover removes rows and what refers to them inside one transaction.
type remover struct {
	sink   *Sink
	tx     pgx.Tx
	tables map[string]*pg.Table
	keys   []foreignKey
	out    pipeline.Outcome
}

func (r *remover) remove(ctx context.Context, unit pipeline.Unit, keys []string) error {
	for _, k := range r.keys {
		if k.RefTable == unit.Name && r.tables[k.Table] != nil {
			if err := r.referring(ctx, k, keys); err != nil {
				return fmt.Errorf("settling what refers to it by %s: %w", k.Name, err)
			}
		}
	}
	table := r.tables[unit.Name]
	from, where, args := pg.KeyJoin(table, "t", keys, 1)
	if args == nil {
		return nil
	}
	_, err := r.tx.Exec(ctx, "DELETE FROM ONLY "+r.sink.t(table.Name)+" t USING "+from+" WHERE "+where, args...)
	return err
}

// referring settles the rows that refer to removed ones by this key, a few at a
// time.
func (r *remover) referring(ctx context.Context, k foreignKey, parents []string) error {
	child, unit := r.tables[k.Table], pipeline.Unit{Lane: pipeline.Rows, Name: k.Table}
	reader, err := pg.NewReader(child, nil)
	if err != nil {
		return err
	}
	from, where, args := pg.KeyJoin(r.tables[k.RefTable], "p", parents, 1)
	if args == nil {
		return nil
	}
	same := make([]string, len(k.Columns))
	for i, c := range k.Columns {
		same[i] = "c." + pg.Ident(c) + " = p." + pg.Ident(k.RefColumns[i])
	}
	more := ""
	if k.Table == k.RefTable { // those that leave anyway do not count
		_, own, _ := pg.KeyJoin(child, "c", parents, 1)
		more = " AND NOT EXISTS (SELECT FROM " + from + " WHERE " + own + ")"
	}
	sql := "SELECT " + reader.Select("c") + " FROM ONLY " + r.sink.t(k.Table) + " c, ONLY " + r.sink.t(k.RefTable) + " p, " + from +
		" WHERE " + where + " AND " + strings.Join(same, " AND ") + more + fmt.Sprintf(" LIMIT %d", fetch)
	for {
		list, err := r.read(ctx, reader, sql, args)
		if err != nil || len(list) == 0 {
			return err
		}
		keys := make([]string, len(list))
		for i, row := range list {
			keys[i] = row.Key()
		}
		if k.clears(child) {
			for _, row := range list {
				r.out.Changed = append(r.out.Changed, cleared(unit, row, k)...)
			}
			if err := r.clear(ctx, k, child, keys); err != nil {
				return err
			}
			continue
		}
		for _, row := range list {
			r.out.Refused = append(r.out.Refused, pipeline.NewRefusal(unit, row, k.Columns[0], pipeline.Orphan,
				fmt.Sprintf("its parent in %s (%s) was removed [%s]", k.RefTable, strings.Join(k.RefColumns, ", "), k.Name)))
		}
		if err := r.remove(ctx, unit, keys); err != nil {
			return err
		}
	}
}

func (r *remover) read(ctx context.Context, reader *pg.Reader, sql string, args []any) ([]*pipeline.Row, error) {
	rows, err := r.tx.Query(ctx, sql, append([]any{reader.Formats()}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*pipeline.Row
	for rows.Next() {
		row, err := reader.Row(rows.RawValues())
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

func (r *remover) clear(ctx context.Context, k foreignKey, child *pg.Table, keys []string) error {
	set := make([]string, len(k.Columns))
	for i, c := range k.Columns {
		set[i] = pg.Ident(c) + " = NULL"
	}
	from, where, args := pg.KeyJoin(child, "t", keys, 1)
	if args == nil {
		return nil
	}
	_, err := r.tx.Exec(ctx, "UPDATE ONLY "+r.sink.t(k.Table)+" t SET "+strings.Join(set, ", ")+" FROM "+from+" WHERE "+where, args...)
	return err
}
