package pgstate

import (
	"context"
	"crypto/sha256"
	"errors"
	"iter"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// Move sets the part's cursor from prev to next inside a batch's transaction;
// ErrFenced when it is not at prev or another process has begun since. Call it
// first: it locks the part's line, so a zombie writer waits here.
func (s *Store) Move(ctx context.Context, tx pgx.Tx, part pipeline.Part, prev, next pipeline.Cursor) error {
	tag, err := tx.Exec(ctx, "UPDATE "+s.t("part")+" SET at = $1 WHERE lane = $2 AND unit = $3 AND n = $4 AND at = $5"+
		" AND (SELECT epoch FROM "+s.t("run")+" WHERE lane = $2) = $6",
		quoteCursor(next), s.lane, part.Unit.Name, part.N, quoteCursor(prev), s.epoch)
	if err != nil {
		return pg.Classify("moving the cursor of "+part.Unit.ID(), err)
	}
	if tag.RowsAffected() != 1 {
		return &pipeline.Error{Op: "moving the cursor of", Unit: part.Unit.ID(), Err: pipeline.ErrFenced}
	}
	return nil
}

// Record adds a batch's counts and lines inside its transaction.
func (s *Store) Record(ctx context.Context, tx pgx.Tx, step pipeline.Step) error {
	if _, err := tx.Exec(ctx, "UPDATE "+s.t("part")+" SET written = written + $1, refused = refused + $2, bytes = bytes + $3"+
		" WHERE lane = $4 AND unit = $5 AND n = $6",
		step.Written, len(step.Refused), step.Bytes, s.lane, step.Part.Unit.Name, step.Part.N); err != nil {
		return pg.Classify("counting a batch", err)
	}
	return s.Lines(ctx, tx, step.Refused, step.Changed)
}

// Lines stores quarantine and ledger lines inside a transaction. Lines of the
// quarantine that are there already stay as they are; those of the ledger tell of
// the last change.
func (s *Store) Lines(ctx context.Context, tx pgx.Tx, refused []pipeline.Refusal, changed []pipeline.Change) error {
	if len(refused)+len(changed) == 0 {
		return nil
	}
	var b pgx.Batch
	for _, r := range refused {
		b.Queue("INSERT INTO "+s.t("quarantine")+" (lane, unit, keyhash, key, col, reason, detail, record)"+
			" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
			s.lane, r.Unit, hash(r.Key), []byte(r.Key), r.Column, string(r.Reason), clean(r.Detail), clean(string(r.Record)))
	}
	for _, c := range changed {
		b.Queue("INSERT INTO "+s.t("ledger")+" (lane, unit, keyhash, key, col, reason, before, after, note)"+
			" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (lane, unit, keyhash, col, reason)"+
			" DO UPDATE SET before = excluded.before, after = excluded.after, note = excluded.note",
			s.lane, c.Unit, hash(c.Key), []byte(c.Key), c.Column, string(c.Reason), c.Before, c.After, clean(c.Note))
	}
	return pg.Classify("storing quarantine and ledger lines", tx.SendBatch(ctx, &b).Close())
}

func hash(key string) []byte {
	h := sha256.Sum256([]byte(key))
	return h[:16]
}

// clean makes text that PostgreSQL can hold: records are JSON already, only
// messages can need it.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", `\x00`)
}

// Advance does what Move and Record do, in a transaction of its own: for
// batches that had nothing to write.
func (s *Store) Advance(ctx context.Context, step pipeline.Step) error {
	return pg.Classify("advancing the cursor", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.Move(ctx, tx, step.Part, step.Prev, step.Next); err != nil {
			return err
		}
		return s.Record(ctx, tx, step)
	}))
}

// FinishPart marks a part as read to its end; ErrFenced when another process
// has begun since.
func (s *Store) FinishPart(ctx context.Context, part pipeline.Part) error {
	tag, err := s.pool.Exec(ctx, "UPDATE "+s.t("part")+" SET done = true WHERE lane = $1 AND unit = $2 AND n = $3"+
		" AND (SELECT epoch FROM "+s.t("run")+" WHERE lane = $1) = $4", s.lane, part.Unit.Name, part.N, s.epoch)
	if err == nil && tag.RowsAffected() != 1 {
		return &pipeline.Error{Op: "finishing a part of", Unit: part.Unit.ID(), Err: pipeline.ErrFenced}
	}
	return pg.Classify("finishing a part", err)
}

// Mark keeps a named fact; an empty value removes it.
func (s *Store) Mark(ctx context.Context, name, value string) error {
	return pg.Classify("marking "+name, pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.MarkTx(ctx, tx, name, value) }))
}

// MarkTx is Mark inside the transaction of what it tells of.
func (s *Store) MarkTx(ctx context.Context, tx pgx.Tx, name, value string) error {
	var err error
	if value == "" {
		_, err = tx.Exec(ctx, "DELETE FROM "+s.t("mark")+" WHERE lane = $1 AND name = $2", s.lane, name)
	} else {
		_, err = tx.Exec(ctx, "INSERT INTO "+s.t("mark")+" VALUES ($1, $2, $3) ON CONFLICT (lane, name) DO UPDATE SET value = excluded.value", s.lane, name, value)
	}
	return err
}

// Marked gives the named facts.
func (s *Store) Marked(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	if has, err := s.Exists(ctx); err != nil || !has {
		return out, err
	}
	rows, err := s.pool.Query(ctx, "SELECT name, value FROM "+s.t("mark")+" WHERE lane = $1", s.lane)
	if err != nil {
		return nil, pg.Classify("reading marks", err)
	}
	var name, value string
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error { out[name] = value; return nil })
	return out, pg.Classify("reading marks", err)
}

// AddLines stores lines outside any batch.
func (s *Store) AddLines(ctx context.Context, refused []pipeline.Refusal, changed []pipeline.Change) error {
	if len(refused) == 0 && len(changed) == 0 {
		return nil
	}
	return pg.Classify("storing lines", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.Lines(ctx, tx, refused, changed) }))
}

const quarantineCols, ledgerCols = "unit, key, col, reason, detail, record", "unit, key, col, reason, before, after, note"

// Refusals streams the quarantine of a unit, or of the lane for "".
func (s *Store) Refusals(ctx context.Context, unit string) iter.Seq2[pipeline.Refusal, error] {
	return stream(ctx, s, "quarantine", quarantineCols, unit, scanRefusal)
}

// Changes streams the ledger of a unit, or of the lane for "".
func (s *Store) Changes(ctx context.Context, unit string) iter.Seq2[pipeline.Change, error] {
	return stream(ctx, s, "ledger", ledgerCols, unit, scanChange)
}

func stream[T any](ctx context.Context, s *Store, table, cols, unit string, scan func(pgx.Rows) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		if has, err := s.Exists(ctx); err != nil || !has {
			if err != nil {
				yield(zero, err)
			}
			return
		}
		rows, err := s.pool.Query(ctx, "SELECT "+cols+" FROM "+s.t(table)+" WHERE lane = $1 AND ($2 = '' OR unit = $2) ORDER BY id", s.lane, unit)
		if err != nil {
			yield(zero, pg.Classify("reading "+table, err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			v, err := scan(rows)
			if !yield(v, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(zero, pg.Classify("reading "+table, err))
		}
	}
}

func scanRefusal(rows pgx.Rows) (r pipeline.Refusal, err error) {
	var key []byte
	var record string
	err = rows.Scan(&r.Unit, &key, &r.Column, &r.Reason, &r.Detail, &record)
	r.Key, r.Record = string(key), []byte(record)
	return r, err
}

func scanChange(rows pgx.Rows) (c pipeline.Change, err error) {
	var key []byte
	err = rows.Scan(&c.Unit, &key, &c.Column, &c.Reason, &c.Before, &c.After, &c.Note)
	c.Key = string(key)
	return c, err
}

// Refused looks one key up in the quarantine.
func (s *Store) Refused(ctx context.Context, unit, key string) ([]pipeline.Refusal, error) {
	return lookup(ctx, s, "quarantine", quarantineCols, unit, key, scanRefusal)
}

// Changed looks one key up in the ledger.
func (s *Store) Changed(ctx context.Context, unit, key string) ([]pipeline.Change, error) {
	return lookup(ctx, s, "ledger", ledgerCols, unit, key, scanChange)
}

func lookup[T any](ctx context.Context, s *Store, table, cols, unit, key string, scan func(pgx.Rows) (T, error)) ([]T, error) {
	if has, err := s.Exists(ctx); err != nil || !has {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, "SELECT "+cols+" FROM "+s.t(table)+" WHERE lane = $1 AND unit = $2 AND keyhash = $3", s.lane, unit, hash(key))
	if err != nil {
		return nil, pg.Classify("looking a key up in "+table, err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (T, error) { return scan(rows) })
	return out, pg.Classify("looking a key up in "+table, err)
}

// Release takes keys of a unit out of the quarantine.
func (s *Store) Release(ctx context.Context, unit string, keys []string) error {
	return pg.Classify("releasing from the quarantine", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.ReleaseTx(ctx, tx, unit, keys) }))
}

// ReleaseTx is Release inside the transaction that writes the records.
func (s *Store) ReleaseTx(ctx context.Context, tx pgx.Tx, unit string, keys []string) error {
	hs := make([][]byte, len(keys))
	for i, k := range keys {
		hs[i] = hash(k)
	}
	_, err := tx.Exec(ctx, "DELETE FROM "+s.t("quarantine")+" WHERE lane = $1 AND unit = $2 AND keyhash = ANY ($3)", s.lane, unit, hs)
	return err
}

// ReplayedTx tells which of these keys the ledger lists as replayed.
func (s *Store) ReplayedTx(ctx context.Context, tx pgx.Tx, unit string, keys []string) (map[string]bool, error) {
	hs := make([][]byte, len(keys))
	for i, k := range keys {
		hs[i] = hash(k)
	}
	rows, err := tx.Query(ctx, "SELECT key FROM "+s.t("ledger")+" WHERE lane = $1 AND unit = $2 AND reason = $3 AND keyhash = ANY ($4)",
		s.lane, unit, string(pipeline.Replayed), hs)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	var key []byte
	_, err = pgx.ForEachRow(rows, []any{&key}, func() error { out[string(key)] = true; return nil })
	return out, err
}

// Tallies counts the lines by unit and reason.
func (s *Store) Tallies(ctx context.Context) (refused, changed []pipeline.Tally, err error) {
	if has, err := s.Exists(ctx); err != nil || !has {
		return nil, nil, err
	}
	count := func(q string) ([]pipeline.Tally, error) {
		rows, err := s.pool.Query(ctx, q, s.lane)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowToStructByPos[pipeline.Tally])
	}
	refused, err = count("SELECT unit, reason, count(DISTINCT keyhash), reason IN (SELECT reason FROM " + s.t("accepted") + " WHERE lane = $1) FROM " +
		s.t("quarantine") + " WHERE lane = $1 GROUP BY 1, 2 ORDER BY 1, 2")
	if err == nil {
		changed, err = count("SELECT unit, reason, count(*), false FROM " + s.t("ledger") + " WHERE lane = $1 GROUP BY 1, 2 ORDER BY 1, 2")
	}
	return refused, changed, pg.Classify("counting quarantine and ledger", err)
}

// Accept records consent to reasons.
func (s *Store) Accept(ctx context.Context, reasons []pipeline.Reason) error {
	for _, r := range reasons {
		if _, err := s.pool.Exec(ctx, "INSERT INTO "+s.t("accepted")+" VALUES ($1, $2) ON CONFLICT DO NOTHING", s.lane, string(r)); err != nil {
			return pg.Classify("recording consent", err)
		}
	}
	return nil
}

// Accepted lists the reasons accepted so far.
func (s *Store) Accepted(ctx context.Context) ([]pipeline.Reason, error) {
	if has, err := s.Exists(ctx); err != nil || !has {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, "SELECT reason FROM "+s.t("accepted")+" WHERE lane = $1 ORDER BY 1", s.lane)
	if err != nil {
		return nil, pg.Classify("reading consent", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[pipeline.Reason])
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return out, pg.Classify("reading consent", err)
}
