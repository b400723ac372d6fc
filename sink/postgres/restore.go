package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"outgrow/mappings/pg"
)

// lazily lets a transaction's COMMIT be answered before it is on the disk. Used
// where nothing outside the database is told of it and, should the server die,
// the step is simply done again: its mark is gone with it or is back with it.
// The mark that Finish sets at its end is written through, and with it all that
// was committed before.
const lazily = "SET LOCAL synchronous_commit = off"

// analyze analyzes the tables, several at a time, the largest first.
func (s *Sink) analyze(ctx context.Context, tables map[string]*pg.Table) error {
	return s.parallel(ctx, bySize(tables), func(ctx context.Context, c *pgxpool.Conn, table string) error {
		_, err := c.Exec(ctx, "BEGIN; "+lazily+"; ANALYZE "+s.t(table)+"; COMMIT", pgx.QueryExecModeSimpleProtocol)
		return pg.Classify("analyzing the table "+table, err)
	})
}

// restoration brings back one thing that was taken away for the load.
type restoration struct {
	op, sql, mark string
}

// large is the size of a table, in bytes, from which each of its indexes is
// worth a connection.
const large = 8 << 20

// restorations lists what goes into one transaction each: every index of the
// large tables, those of the largest first, then the foreign keys of each of
// them, and all of a small table together. So a table's foreign keys, which
// cannot be validated while an index of it is built, seldom wait for one, and
// the small tables fill the gaps at the end.
func restorations(indexes map[string]index, keys []foreignKey, tables map[string]*pg.Table, ident func(string) string) [][]restoration {
	builds, validations := map[string][]restoration{}, map[string][]restoration{}
	for _, name := range sorted(indexes) {
		x := indexes[name]
		// Measured on two processors: several indexes at a time, each by one
		// process, take a quarter less time of them than with the server's
		// own parallel workers.
		builds[x.Table] = append(builds[x.Table], restoration{"building the index " + name, "SET LOCAL max_parallel_maintenance_workers = 0; " + x.SQL, markIndex + name})
	}
	for _, k := range keys {
		validations[k.Table] = append(validations[k.Table], restoration{"validating the foreign key " + k.Name,
			"ALTER TABLE ONLY " + ident(k.Table) + " VALIDATE CONSTRAINT " + pg.Ident(k.Name), k.mark()})
	}
	var first, second, last [][]restoration
	for _, name := range bySize(tables) {
		b, v := builds[name], validations[name]
		switch {
		case tables[name].Bytes < large:
			last = append(last, slices.Concat(v, b))
		default:
			first = slices.AppendSeq(first, slices.Chunk(b, 1))
			second = append(second, v)
		}
	}
	return slices.DeleteFunc(slices.Concat(first, second, last), func(one []restoration) bool { return len(one) == 0 })
}

// restore works the transactions off on as many connections as parallel does.
func (s *Sink) restore(ctx context.Context, todo [][]restoration, room string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.connections())
	for _, list := range todo {
		g.Go(func() error {
			return pg.Classify(list[0].op, pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, lazily+"; "+room, pgx.QueryExecModeSimpleProtocol); err != nil {
					return err
				}
				for _, r := range list {
					if _, err := tx.Exec(ctx, r.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
						return pg.Classify(r.op, err)
					}
					if err := s.store.MarkTx(ctx, tx, r.mark, ""); err != nil {
						return pg.Classify(r.op, err)
					}
				}
				return nil
			}))
		})
	}
	return g.Wait()
}
