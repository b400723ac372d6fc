package filepaths

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
	"outgrow/sink/pgstate"
)

const ddl = `
CREATE TABLE IF NOT EXISTS %[1]s (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, target text NOT NULL, at timestamptz NOT NULL DEFAULT now(), back timestamptz);
CREATE TABLE IF NOT EXISTS %[2]s (n bigint, id text, before text NOT NULL, after text NOT NULL, PRIMARY KEY (n, id));`

// Switched is what a switch did.
type Switched struct {
	Rows int64 // changed now
	Here int64 // had the path already
	Left int64 // keep theirs, as decide said
}

// Decide gives the new path of each row, "" for one that is to keep its own. It
// is called with a page of rows at a time.
type Decide func(ctx context.Context, rows []Row) ([]string, error)

// Switch changes the paths of all rows in one transaction, each only if it is
// still what decide was told, and keeps the old values. It waits ten seconds at
// most for others who write to the table. It may be repeated, and does then what
// is left. target names the store that the new paths lead to; it is kept.
func (s *Store) Switch(ctx context.Context, target string, decide Decide) (out Switched, err error) {
	err = s.locked(ctx, func(tx pgx.Tx) error {
		out = Switched{}
		if err := pgstate.Create(ctx, tx, s.prefix, fmt.Sprintf(ddl, s.t(switches), s.t(values))); err != nil {
			return err
		}
		n := int64(0)
		for rows, err := range s.rows(ctx, tx, "") {
			if err != nil {
				return err
			}
			var ids, before, after []string
			paths, err := decide(ctx, rows)
			if err != nil {
				return err
			}
			for i, r := range rows {
				switch paths[i] {
				case "":
					out.Left++
				case r.Path:
					out.Here++
				default:
					ids, before, after = append(ids, r.ID), append(before, r.Path), append(after, paths[i])
				}
			}
			if len(ids) == 0 {
				continue
			}
			if n == 0 {
				if n, err = s.begin(ctx, tx, target); err != nil {
					return err
				}
			}
			tag, err := tx.Exec(ctx, `WITH c AS (SELECT * FROM unnest($2::text[], $3::text[], $4::text[]) c(id, before, after)),
				u AS (UPDATE `+s.file()+` f SET path = c.after FROM c WHERE f.id = c.id AND f.path = c.before RETURNING f.id, c.before, c.after)
				INSERT INTO `+s.t(values)+` (n, id, before, after) SELECT $1, id, before, after FROM u
				ON CONFLICT (n, id) DO UPDATE SET before = EXCLUDED.before, after = EXCLUDED.after`, n, ids, before, after)
			if err != nil {
				return err
			}
			out.Rows += tag.RowsAffected()
			if k := int64(len(ids)) - tag.RowsAffected(); k > 0 {
				return fmt.Errorf("%d rows changed meanwhile", k)
			}
		}
		return nil
	})
	if err == nil {
		s.there = true
	}
	return out, err
}

// begin gives the switch to add to: the newest, when it leads to the same target
// and was not taken back, else a new one.
func (s *Store) begin(ctx context.Context, tx pgx.Tx, target string) (n int64, err error) {
	all, err := s.list(ctx, tx)
	if err != nil {
		return 0, err
	}
	for _, w := range all {
		if w.Back != nil {
			continue
		}
		if w.Target == target {
			return w.N, nil
		}
		break
	}
	err = tx.QueryRow(ctx, "INSERT INTO "+s.t(switches)+" (target) VALUES ($1) RETURNING n", target).Scan(&n)
	return n, err
}

// locked runs f in a transaction in which nobody else writes to the table file.
func (s *Store) locked(ctx context.Context, f func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '10s'"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "LOCK TABLE "+s.file()+" IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
		return f(tx)
	})
	if pg.HasCode(err, "55P03") { // lock_not_available
		return pipeline.Environment("locking the table file", err, "stop Open WebUI, then run the same command")
	}
	return pg.Classify("changing file.path", err)
}

// Reverted is what taking a switch back did.
type Reverted struct {
	Switch Switch
	Rows   int64 // have their old path again
	// Changed lists rows whose path was changed since the switch; they keep it.
	Changed []Row
	// Gone counts rows that were deleted since.
	Gone int64
}

// Errors that have a reason of their own.
var (
	ErrNoSwitch = errors.New("file.path was never switched to this store by outgrow")
	ErrNewer    = errors.New("file.path was switched again since, to another store")
)

// Revert puts the old paths of the newest switch to target back, in one
// transaction. It may be repeated. It fails with ErrNoSwitch or ErrNewer, and
// then changes nothing.
func (s *Store) Revert(ctx context.Context, target string) (out Reverted, err error) {
	if !s.there {
		return out, pipeline.Usage("taking the switch back", ErrNoSwitch, "name the env file of the store that file.path was switched to")
	}
	err = s.locked(ctx, func(tx pgx.Tx) error {
		out = Reverted{}
		all, err := s.list(ctx, tx)
		if err != nil {
			return err
		}
		found := false
		for _, w := range all {
			if found = w.Target == target; found {
				out.Switch = w
				break
			}
			if w.Back == nil {
				return pipeline.Usage("taking the switch back", ErrNewer, "take that one back first: name its env file with --to")
			}
		}
		if !found {
			return pipeline.Usage("taking the switch back", ErrNoSwitch, "name the env file of the store that file.path was switched to")
		}
		return s.back(ctx, tx, &out)
	})
	return out, err
}

func (s *Store) back(ctx context.Context, tx pgx.Tx, out *Reverted) error {
	n := out.Switch.N
	if out.Switch.Back == nil {
		if _, err := tx.Exec(ctx, "UPDATE "+s.file()+" f SET path = v.before FROM "+s.t(values)+" v WHERE v.n = $1 AND f.id = v.id AND f.path = v.after", n); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "UPDATE "+s.t(switches)+" SET back = now() WHERE n = $1 RETURNING back", n).Scan(&out.Switch.Back); err != nil {
			return err
		}
	}
	rows, err := tx.Query(ctx, "SELECT f.id::text, coalesce(f.path::text, '') FROM "+s.t(values)+" v JOIN "+s.file()+" f ON f.id = v.id"+
		" WHERE v.n = $1 AND f.path IS DISTINCT FROM v.before ORDER BY f.id", n)
	if err != nil {
		return err
	}
	if out.Changed, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Row]); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM "+s.t(values)+" v WHERE v.n = $1 AND NOT EXISTS (SELECT FROM "+s.file()+" f WHERE f.id = v.id)", n).Scan(&out.Gone); err != nil {
		return err
	}
	out.Rows = out.Switch.Rows - int64(len(out.Changed)) - out.Gone
	return nil
}
