package localstate

import (
	"context"
	"database/sql"
	"encoding/json"
	"iter"

	"outgrow/pipeline"
)

func addLines(ctx context.Context, tx *sql.Tx, refused []pipeline.Refusal, changed []pipeline.Change) error {
	for _, r := range refused {
		record := r.Record
		if record == nil {
			record = json.RawMessage("null")
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO quarantine (unit, key, col, reason, detail, record) VALUES (?, CAST(? AS BLOB), ?, ?, ?, ?)
			ON CONFLICT (unit, key, col, reason) DO UPDATE SET detail = excluded.detail, record = excluded.record`,
			r.Unit, r.Key, r.Column, string(r.Reason), r.Detail, string(record)); err != nil {
			return err
		}
	}
	for _, c := range changed {
		if _, err := tx.ExecContext(ctx, `INSERT INTO ledger (unit, key, col, reason, before, after, note) VALUES (?, CAST(? AS BLOB), ?, ?, ?, ?, ?)
			ON CONFLICT (unit, key, col, reason) DO UPDATE SET before = excluded.before, after = excluded.after, note = excluded.note`,
			c.Unit, c.Key, c.Column, string(c.Reason), c.Before, c.After, c.Note); err != nil {
			return err
		}
	}
	return nil
}

// AddLines stores quarantine and ledger lines outside any batch.
func (s *Store) AddLines(ctx context.Context, refused []pipeline.Refusal, changed []pipeline.Change) error {
	if len(refused)+len(changed) == 0 {
		return nil
	}
	return s.mine(ctx, "storing lines", func(tx *sql.Tx) error { return addLines(ctx, tx, refused, changed) })
}

// page is how many lines are held at a time.
const page = 500

// pages lists lines in the order in which they came, by pages, so that the
// caller may use the journal meanwhile.
func pages[L any](ctx context.Context, s *Store, query, unit string, scan func(*sql.Rows) (int64, L, error)) iter.Seq2[L, error] {
	return func(yield func(L, error) bool) {
		var none L
		last := int64(0)
		for {
			list, id, err := readPage(ctx, s, query, unit, last, scan)
			if err != nil {
				yield(none, wrap("listing lines", err))
				return
			}
			for _, l := range list {
				if !yield(l, nil) {
					return
				}
			}
			if len(list) < page {
				return
			}
			last = id
		}
	}
}

func readPage[L any](ctx context.Context, s *Store, query, unit string, after int64, scan func(*sql.Rows) (int64, L, error)) (out []L, last int64, err error) {
	rows, err := s.db.QueryContext(ctx, query+" WHERE id > ? AND (? = '' OR unit = ?) ORDER BY id LIMIT ?", after, unit, unit, page)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close() //nolint:errcheck // Err is checked
	for rows.Next() {
		id, l, err := scan(rows)
		if err != nil {
			return nil, 0, err
		}
		out, last = append(out, l), id
	}
	return out, last, rows.Err()
}

const (
	refusals = "SELECT id, unit, key, col, reason, detail, record FROM quarantine"
	changes  = "SELECT id, unit, key, col, reason, before, after, note FROM ledger"
)

func scanRefusal(rows *sql.Rows) (id int64, r pipeline.Refusal, err error) {
	var key, record []byte
	err = rows.Scan(&id, &r.Unit, &key, &r.Column, &r.Reason, &r.Detail, &record)
	r.Key, r.Record = string(key), record
	return id, r, err
}

func scanChange(rows *sql.Rows) (id int64, c pipeline.Change, err error) {
	var key []byte
	err = rows.Scan(&id, &c.Unit, &key, &c.Column, &c.Reason, &c.Before, &c.After, &c.Note)
	c.Key = string(key)
	return id, c, err
}

// Refusals lists the quarantine of a unit ("" for all).
func (s *Store) Refusals(ctx context.Context, unit string) iter.Seq2[pipeline.Refusal, error] {
	return pages(ctx, s, refusals, unit, scanRefusal)
}

// Changes lists the ledger of a unit ("" for all).
func (s *Store) Changes(ctx context.Context, unit string) iter.Seq2[pipeline.Change, error] {
	return pages(ctx, s, changes, unit, scanChange)
}

// Refused looks one key up in the quarantine.
func (s *Store) Refused(ctx context.Context, unit, key string) ([]pipeline.Refusal, error) {
	return byKey(ctx, s, refusals, unit, key, scanRefusal)
}

// Changed looks one key up in the ledger.
func (s *Store) Changed(ctx context.Context, unit, key string) ([]pipeline.Change, error) {
	return byKey(ctx, s, changes, unit, key, scanChange)
}

func byKey[L any](ctx context.Context, s *Store, query, unit, key string, scan func(*sql.Rows) (int64, L, error)) ([]L, error) {
	rows, err := s.db.QueryContext(ctx, query+" WHERE unit = ? AND key = CAST(? AS BLOB) ORDER BY id", unit, key)
	if err != nil {
		return nil, wrap("looking up lines", err)
	}
	defer rows.Close() //nolint:errcheck // Err is checked
	var out []L
	for rows.Next() {
		_, l, err := scan(rows)
		if err != nil {
			return nil, wrap("looking up lines", err)
		}
		out = append(out, l)
	}
	return out, wrap("looking up lines", rows.Err())
}

// Release takes lines out of the quarantine.
func (s *Store) Release(ctx context.Context, unit string, keys []string) error {
	return s.mine(ctx, "releasing lines", func(tx *sql.Tx) error {
		for _, k := range keys {
			if _, err := tx.ExecContext(ctx, "DELETE FROM quarantine WHERE unit = ? AND key = CAST(? AS BLOB)", unit, k); err != nil {
				return err
			}
		}
		return nil
	})
}

// Tallies counts the quarantined records and the ledger's lines by unit and
// reason: a record refused twice for one reason is one record.
func (s *Store) Tallies(ctx context.Context) (refused, changed []pipeline.Tally, err error) {
	refused, err = s.tally(ctx, "quarantine")
	if err == nil {
		changed, err = s.tally(ctx, "ledger")
	}
	return refused, changed, wrap("counting lines", err)
}

func (s *Store) tally(ctx context.Context, table string) ([]pipeline.Tally, error) {
	count, accepted := "count(DISTINCT key)", "reason IN (SELECT reason FROM accepted)"
	if table == "ledger" {
		count, accepted = "count(*)", "0"
	}
	rows, err := s.db.QueryContext(ctx, "SELECT unit, reason, "+count+", "+accepted+" FROM "+table+" GROUP BY unit, reason ORDER BY unit, reason")
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err is checked
	var out []pipeline.Tally
	for rows.Next() {
		var t pipeline.Tally
		if err := rows.Scan(&t.Unit, &t.Reason, &t.Count, &t.Accepted); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// Mark keeps a named fact; an empty value removes it.
func (s *Store) Mark(ctx context.Context, name, value string) error {
	return s.mine(ctx, "marking "+name, func(tx *sql.Tx) error {
		if value == "" {
			_, err := tx.ExecContext(ctx, "DELETE FROM mark WHERE name = ?", name)
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO mark (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
		return err
	})
}

// Marked gives the named facts.
func (s *Store) Marked(ctx context.Context) (map[string]string, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT name, value FROM mark")
	if err != nil {
		return nil, wrap("reading the marks", err)
	}
	defer rows.Close() //nolint:errcheck // Err is checked
	out := map[string]string{}
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, wrap("reading the marks", err)
		}
		out[k] = v
	}
	return out, wrap("reading the marks", rows.Err())
}

// Accept records consent to refusals of these reasons. It may be called before
// Begin, and while another process works.
func (s *Store) Accept(ctx context.Context, reasons []pipeline.Reason) error {
	return wrap("recording consent", s.tx(ctx, func(tx *sql.Tx) error {
		for _, r := range reasons {
			if _, err := tx.ExecContext(ctx, "INSERT INTO accepted (reason) VALUES (?) ON CONFLICT DO NOTHING", string(r)); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Accepted lists the reasons accepted so far.
func (s *Store) Accepted(ctx context.Context) ([]pipeline.Reason, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT reason FROM accepted ORDER BY reason")
	if err != nil {
		return nil, wrap("reading what is accepted", err)
	}
	defer rows.Close() //nolint:errcheck // Err is checked
	var out []pipeline.Reason
	for rows.Next() {
		var r pipeline.Reason
		if err := rows.Scan(&r); err != nil {
			return nil, wrap("reading what is accepted", err)
		}
		out = append(out, r)
	}
	return out, wrap("reading what is accepted", rows.Err())
}
