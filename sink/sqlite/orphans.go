package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"outgrow/pipeline"
)

// fetch is how many orphans are in memory at a time, with all they hold.
const fetch = 100

// settle does to every row whose parent is missing what the foreign key would
// have done when the parent was deleted, which SQLite does not while its foreign
// keys are off, as they are for Open WebUI: the row leaves the table, for the
// quarantine, or its key is set to NULL, with a line in the ledger. A row that
// leaves may be the parent of others, so this is repeated until none is left.
func (s *Sink) settle(ctx context.Context, step func(string)) error {
	step("looking for rows without a parent")
	for again := true; again; {
		again = false
		for _, name := range sorted(s.tables) {
			for _, k := range s.tables[name].keys {
				if s.tables[k.parent] == nil {
					continue
				}
				left, err := s.settleKey(ctx, k, step)
				if err != nil {
					return fmt.Errorf("settling rows of %s without a parent in %s: %w", k.table, k.parent, err)
				}
				again = again || left
			}
		}
	}
	return nil
}

// orphans is the FROM and WHERE of the rows c that have no parent.
func (k foreignKey) orphans() string {
	var set, same []string
	for i, c := range k.columns {
		set = append(set, "c."+ident(c)+" IS NOT NULL")
		same = append(same, "p."+ident(k.refColumns[i])+" = c."+ident(c))
	}
	return "FROM " + ident(k.table) + " c WHERE " + strings.Join(set, " AND ") +
		" AND NOT EXISTS (SELECT 1 FROM " + ident(k.parent) + " p WHERE " + strings.Join(same, " AND ") + ")"
}

// settleKey settles the orphans of one foreign key, a few at a time: their lines
// are in the journal before they are touched. It reports whether rows left.
func (s *Sink) settleKey(ctx context.Context, k foreignKey, step func(string)) (left bool, err error) {
	t, unit := s.tables[k.table], pipeline.Unit{Lane: pipeline.Rows, Name: k.table}
	h, clears := t.header(), k.clears(t)
	for {
		var ids []any
		var refused []pipeline.Refusal
		var changed []pipeline.Change
		err := each(ctx, s.conn, "SELECT c.rowid, "+plain("c.", h.Columns)+" "+k.orphans()+fmt.Sprintf(" ORDER BY c.rowid LIMIT %d", fetch), nil, func(r *sql.Rows) error {
			var id int64
			row, err := scanRow(r, h, &id)
			if err != nil {
				return err
			}
			ids = append(ids, id)
			if clears {
				changed = append(changed, k.cleared(unit, row)...)
			} else {
				refused = append(refused, pipeline.NewRefusal(unit, row, k.columns[0], pipeline.Orphan,
					fmt.Sprintf("its parent in %s (%s) is not there", k.parent, strings.Join(k.refColumns, ", "))))
			}
			return nil
		})
		if err != nil || len(ids) == 0 {
			return left, err
		}
		step("settling rows of " + k.table + " without a parent in " + k.parent)
		if err := s.cfg.Journal.AddLines(ctx, refused, changed); err != nil {
			return left, err
		}
		s.about("settle")
		these := " WHERE rowid IN (?" + strings.Repeat(", ?", len(ids)-1) + ")"
		sql := "DELETE FROM " + ident(k.table) + these
		if clears {
			sql = "UPDATE " + ident(k.table) + " SET " + k.nulls() + these
		}
		left = left || !clears
		if err := s.tx(ctx, func() error {
			_, err := s.conn.ExecContext(ctx, sql, ids...)
			return err
		}); err != nil {
			return left, err
		}
	}
}

// clears reports whether the key's columns are set to NULL when the parent is
// deleted. A key that may not be NULL cannot be cleared: its row leaves.
func (k foreignKey) clears(t *table) bool {
	for _, name := range k.columns {
		if c := t.column(name); c == nil || c.NotNull || c.InPrimaryKey {
			return false
		}
	}
	return k.action == "SET NULL"
}

func (k foreignKey) nulls() string {
	set := make([]string, len(k.columns))
	for i, c := range k.columns {
		set[i] = ident(c) + " = NULL"
	}
	return strings.Join(set, ", ")
}

// cleared makes the ledger lines of a row whose key is set to NULL.
func (k foreignKey) cleared(unit pipeline.Unit, r *pipeline.Row) []pipeline.Change {
	var out []pipeline.Change
	for i, name := range r.Table.Columns {
		if slices.Contains(k.columns, name) {
			out = append(out, pipeline.Change{Unit: unit.ID(), Key: r.Key(), Column: name, Reason: pipeline.ParentCleared,
				Before: pipeline.Digest(r.Values[i]), After: pipeline.Digest(nil), Note: "its parent in " + k.parent + " is not there"})
		}
	}
	return out
}
