package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// Finish puts back what was taken away for the load: it analyzes, settles the
// rows without a parent, adds the foreign keys, then builds the plain indexes,
// validates the foreign keys and sets the sequences; the revision is left to
// Release. Each step is done when its mark is gone, so a second call goes on
// where the first stopped; when all is done it does nothing. Lines are stored
// already when they come back in the outcome, which has only those of this call,
// without the records.
func (s *Sink) Finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	out, err := s.finish(ctx, step)
	return out, pg.Classify("finishing the target", err)
}

func (s *Sink) finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	var out pipeline.Outcome
	marks, err := s.store.Marked(ctx)
	if err != nil || marks[markFinished] != "" {
		return out, err
	}
	if marks[markPrepared] == "" {
		return out, &pipeline.Error{Op: "finishing the target", Err: fmt.Errorf("it was not prepared"), Exit: pipeline.ExitUsage}
	}
	there, err := s.writable(ctx)
	if err != nil {
		return out, err
	}
	if err := pg.Sizes(ctx, s.pool, s.schema, there); err != nil {
		return out, err
	}
	indexes, keys := map[string]index{}, []foreignKey{}
	for name, value := range marks {
		if n, ok := strings.CutPrefix(name, markIndex); ok {
			var x index
			if err := json.Unmarshal([]byte(value), &x); err != nil {
				return out, fmt.Errorf("reading the mark %s: %w", name, err)
			}
			indexes[n] = x
		} else if strings.HasPrefix(name, markKey) {
			var k foreignKey
			if err := json.Unmarshal([]byte(value), &k); err != nil {
				return out, fmt.Errorf("reading the mark %s: %w", name, err)
			}
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b foreignKey) int { return strings.Compare(a.mark(), b.mark()) })
	room, err := s.roomy(ctx)
	if err != nil {
		return out, err
	}

	// Both only read, so they stand beside each other, and nothing waits for a
	// lock; what is rebuilt below wants each table for itself.
	step("analyzing, looking for rows without a parent")
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.analyze(gctx, there) })
	dirty := map[string]bool{}
	if marks[markSettled] == "" {
		g.Go(func() (err error) {
			dirty, err = s.dirty(gctx, keys, room)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return out, err
	}
	if marks[markSettled] == "" {
		if out, err = s.settle(ctx, keys, dirty, there, room, step); err != nil {
			return out, err
		}
		if err := s.store.Mark(ctx, markSettled, "yes"); err != nil {
			return out, err
		}
	}
	if err := s.addKeys(ctx, keys, step); err != nil {
		return out, err
	}
	step(fmt.Sprintf("building %d indexes, validating %d foreign keys, setting sequences", len(indexes), len(keys)))
	g, gctx = errgroup.WithContext(ctx)
	g.Go(func() error { return s.restore(gctx, restorations(indexes, keys, there, s.t), room) })
	g.Go(func() error { return s.sequences(gctx, sorted(there)) })
	if err := g.Wait(); err != nil {
		return out, err
	}
	return out, s.store.Mark(ctx, markFinished, "yes")
}

// Release writes the revision: from then on Open WebUI may start on the target.
// It refuses until Finish is through, and does nothing the second time.
func (s *Sink) Release(ctx context.Context) error {
	marks, err := s.store.Marked(ctx)
	if err != nil || marks[markComplete] != "" {
		return err
	}
	head := marks[markVersion]
	if marks[markFinished] == "" || head == "" {
		return &pipeline.Error{Op: "releasing the target", Err: fmt.Errorf("it is not finished"), Hint: "run migrate to its end first"}
	}
	return pg.Classify("recording the revision", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM "+s.t(versionTable)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT INTO "+s.t(versionTable)+" (version_num) VALUES ($1)", head); err != nil {
			return err
		}
		if err := s.store.MarkTx(ctx, tx, markVersion, ""); err != nil {
			return err
		}
		return s.store.MarkTx(ctx, tx, markComplete, head)
	}))
}

// bySize lists tables, the largest first.
func bySize(tables map[string]*pg.Table) []string {
	names := sorted(tables)
	slices.SortStableFunc(names, func(a, b string) int { return int(min(max(tables[b].Bytes-tables[a].Bytes, -1), 1)) })
	return names
}

// connections is how many statements work on the finish at a time: as many as
// there are writers, at most three.
func (s *Sink) connections() int { return max(1, min(3, s.cfg.Writers)) }

// parallel calls f for every name on several connections.
func (s *Sink) parallel(ctx context.Context, names []string, f func(context.Context, *pgxpool.Conn, string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.connections())
	for _, name := range names {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return f(ctx, c, name) })
		})
	}
	return g.Wait()
}

// roomy makes the statements that raise a transaction's memory for sorting and
// hashing. The server's own settings stay where they are larger.
func (s *Sink) roomy(ctx context.Context) (string, error) {
	var sql string
	err := s.pool.QueryRow(ctx, `SELECT string_agg(format('SET LOCAL %I = %s', name, greatest(setting::bigint, CASE name WHEN 'work_mem' THEN $1::bigint / 4 ELSE $1 END)), '; ')
		FROM pg_settings WHERE name IN ('work_mem', 'maintenance_work_mem')`, int64(s.cfg.IndexMemory)<<10).Scan(&sql)
	return sql, err
}

// addKeys adds all foreign keys without looking at the rows, which locks both
// tables for a moment.
func (s *Sink) addKeys(ctx context.Context, keys []foreignKey, step func(string)) error {
	if len(keys) == 0 {
		return nil
	}
	step(fmt.Sprintf("adding %d foreign keys", len(keys)))
	return pg.Classify("adding the foreign keys", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		for _, k := range keys {
			if k.Added {
				continue
			}
			if _, err := tx.Exec(ctx, k.SQL+" NOT VALID"); err != nil {
				return pg.Classify("adding the foreign key "+k.Name, err)
			}
			k.Added = true
			if err := s.mark(ctx, tx, k.mark(), k); err != nil {
				return err
			}
		}
		return nil
	}))
}

// sequences sets every sequence that a column of these tables owns to the
// column's largest value.
func (s *Sink) sequences(ctx context.Context, names []string) error {
	rows, err := s.pool.Query(ctx, `SELECT t.relname::text, a.attname::text, q.relname::text FROM pg_class q
		JOIN pg_depend d ON d.objid = q.oid AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
		JOIN pg_class t ON t.oid = d.refobjid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
		JOIN pg_namespace n ON n.oid = t.relnamespace
		WHERE q.relkind = 'S' AND q.relnamespace = t.relnamespace AND n.nspname = $1 AND t.relname = ANY ($2::text[])`, s.schema, names)
	if err != nil {
		return err
	}
	type seq struct{ Table, Column, Name string }
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[seq])
	if err != nil {
		return err
	}
	for _, q := range list {
		if _, err := s.pool.Exec(ctx, fmt.Sprintf("SELECT setval(%s, coalesce(m, 1), m IS NOT NULL) FROM (SELECT max(%s) AS m FROM %s) AS x",
			pg.Literal(s.t(q.Name)), pg.Ident(q.Column), s.t(q.Table))); err != nil {
			return pg.Classify("setting the sequence "+q.Name, err)
		}
	}
	return nil
}
