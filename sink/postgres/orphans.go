package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// fetch is how many orphans are in memory at a time, with all they hold.
const fetch = 100

// dirty names the marks of the foreign keys that some row violates. It only
// reads.
func (s *Sink) dirty(ctx context.Context, keys []foreignKey, room string) (map[string]bool, error) {
	byMark := map[string]foreignKey{}
	for _, k := range keys {
		byMark[k.mark()] = k
	}
	var mu sync.Mutex
	dirty := map[string]bool{}
	err := s.parallel(ctx, sorted(byMark), func(ctx context.Context, c *pgxpool.Conn, mark string) error {
		k := byMark[mark]
		var has bool
		err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, room, pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
			// Counting them all lets the planner join once; for the first one alone it
			// would look every row's parent up.
			return tx.QueryRow(ctx, "SELECT count(*) > 0 "+s.orphans(k)).Scan(&has)
		})
		mu.Lock()
		defer mu.Unlock()
		dirty[mark] = has
		return pg.Classify("looking for orphans of "+k.Name, err)
	})
	return dirty, err
}

// settle does to every row whose parent is missing what the foreign key would
// have done when the parent was deleted: it leaves the table, for the
// quarantine, or its key is set to NULL, with a line in the ledger. No foreign
// key is in force yet, so nothing cascades unseen; a row that leaves may be the
// parent of others, so this is repeated until none is left.
func (s *Sink) settle(ctx context.Context, keys []foreignKey, dirty map[string]bool, tables map[string]*pg.Table, room string, step func(string)) (pipeline.Outcome, error) {
	var out pipeline.Outcome
	for again := true; again; {
		again = false
		for _, k := range keys {
			if !dirty[k.mark()] {
				continue
			}
			dirty[k.mark()] = false
			step("settling rows of " + k.Table + " without a parent in " + k.RefTable)
			o, err := s.settleKey(ctx, k, tables, room)
			if err != nil {
				return out, pg.Classify("settling orphans of "+k.Name, err)
			}
			out.Add(o)
			again = again || len(o.Refused) > 0
			for _, other := range keys {
				if len(o.Refused) > 0 && other.RefTable == k.Table {
					dirty[other.mark()] = true
				}
			}
		}
	}
	return out, nil
}

// orphans is the FROM and WHERE of the rows c that have no parent.
func (s *Sink) orphans(k foreignKey) string {
	var set, same []string
	for i, c := range k.Columns {
		set = append(set, "c."+pg.Ident(c)+" IS NOT NULL")
		same = append(same, "p."+pg.Ident(k.RefColumns[i])+" = c."+pg.Ident(c))
	}
	return "FROM ONLY " + s.t(k.Table) + " c WHERE " + strings.Join(set, " AND ") +
		" AND NOT EXISTS (SELECT FROM ONLY " + s.t(k.RefTable) + " p WHERE " + strings.Join(same, " AND ") + ")"
}

// settleKey settles the orphans of one foreign key in one transaction, a few at
// a time.
func (s *Sink) settleKey(ctx context.Context, k foreignKey, tables map[string]*pg.Table, room string) (pipeline.Outcome, error) {
	var out pipeline.Outcome
	table := tables[k.Table]
	if table == nil {
		return out, fmt.Errorf("the table %s is gone", k.Table)
	}
	reader, err := pg.NewReader(table, nil)
	if err != nil {
		return out, err
	}
	clear := k.clears(table)
	unit := pipeline.Unit{Lane: pipeline.Rows, Name: k.Table}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, room, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		// The cursor sees the table as it is now, whatever is deleted below.
		if _, err := tx.Exec(ctx, "DECLARE outgrow NO SCROLL CURSOR FOR SELECT c.ctid, "+reader.Select("c")+" "+s.orphans(k)); err != nil {
			return err
		}
		for {
			tids, rows, err := fetchOrphans(ctx, tx, reader)
			if err != nil || len(rows) == 0 {
				return err
			}
			var refused []pipeline.Refusal
			var changed []pipeline.Change
			for _, r := range rows {
				if clear {
					changed = append(changed, cleared(unit, r, k)...)
				} else {
					refused = append(refused, pipeline.NewRefusal(unit, r, k.Columns[0], pipeline.Orphan,
						fmt.Sprintf("its parent in %s (%s) is not there [%s]", k.RefTable, strings.Join(k.RefColumns, ", "), k.Name)))
				}
			}
			sql := "DELETE FROM ONLY " + s.t(k.Table) + " WHERE ctid = ANY ($1::tid[])"
			if clear {
				set := make([]string, len(k.Columns))
				for i, c := range k.Columns {
					set[i] = pg.Ident(c) + " = NULL"
				}
				sql = "UPDATE ONLY " + s.t(k.Table) + " SET " + strings.Join(set, ", ") + " WHERE ctid = ANY ($1::tid[])"
			}
			tag, err := tx.Exec(ctx, sql, tids)
			if err != nil {
				return err
			}
			if tag.RowsAffected() != int64(len(rows)) {
				return fmt.Errorf("%d rows of %s changed under way: another program writes to the target", int64(len(rows))-tag.RowsAffected(), k.Table)
			}
			if err := s.store.Lines(ctx, tx, refused, changed); err != nil {
				return err
			}
			for i := range refused { // the lines are stored; what they held need not stay in memory
				refused[i].Record = nil
			}
			out.Add(pipeline.Outcome{Refused: refused, Changed: changed})
		}
	})
	return out, err
}

func fetchOrphans(ctx context.Context, tx pgx.Tx, reader *pg.Reader) ([]pgtype.TID, []*pipeline.Row, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf("FETCH %d FROM outgrow", fetch), pgx.QueryExecModeDescribeExec, reader.Formats())
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	var tids []pgtype.TID
	var list []*pipeline.Row
	for rows.Next() {
		raw := rows.RawValues()
		var tid pgtype.TID
		if err := rows.Conn().TypeMap().Scan(pgtype.TIDOID, pgx.BinaryFormatCode, raw[0], &tid); err != nil {
			return nil, nil, err
		}
		r, err := reader.Row(raw[1:])
		if err != nil {
			return nil, nil, err
		}
		tids, list = append(tids, tid), append(list, r)
	}
	return tids, list, rows.Err()
}

// cleared makes the ledger lines of a row whose key is set to NULL.
func cleared(unit pipeline.Unit, r *pipeline.Row, k foreignKey) []pipeline.Change {
	var out []pipeline.Change
	for i, name := range r.Table.Columns {
		for _, c := range k.Columns {
			if c == name {
				out = append(out, pipeline.Change{Unit: unit.ID(), Key: r.Key(), Column: name, Reason: pipeline.ParentCleared,
					Before: pipeline.Digest(r.Values[i]), After: pipeline.Digest(nil), Note: "its parent in " + k.RefTable + " is not there"})
			}
		}
	}
	return out
}
