package localstate

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"outgrow/pipeline"
)

// storedPart is a part whose cursors may be any bytes, quoted as in Go.
type storedPart struct {
	Part     pipeline.Part
	From, To string
}

func encodePart(p pipeline.Part) (string, error) {
	s := storedPart{Part: p, From: quote(p.From), To: quote(p.To)}
	s.Part.From, s.Part.To = "", ""
	body, err := json.Marshal(s)
	return string(body), err
}

func decodePart(text string) (pipeline.Part, error) {
	var s storedPart
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s.Part, err
	}
	from, err := strconv.Unquote(s.From)
	if err != nil {
		return s.Part, err
	}
	to, err := strconv.Unquote(s.To)
	s.Part.From, s.Part.To = pipeline.Cursor(from), pipeline.Cursor(to)
	return s.Part, err
}

func quote(c pipeline.Cursor) string { return strconv.QuoteToASCII(string(c)) }

// Parts gives the unit's parts in their order, nil when none were fixed.
func (s *Store) Parts(ctx context.Context, unit pipeline.Unit) ([]pipeline.Progress, error) {
	return s.progress(ctx, s.db, "WHERE unit = ?", unit.ID())
}

// All gives every fixed part of the lane.
func (s *Store) All(ctx context.Context) ([]pipeline.Progress, error) {
	return s.progress(ctx, s.db, "")
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (s *Store) progress(ctx context.Context, db querier, where string, args ...any) ([]pipeline.Progress, error) {
	rows, err := db.QueryContext(ctx, "SELECT part, at, done, written, refused, bytes FROM part "+where+" ORDER BY unit, n", args...)
	if err != nil {
		return nil, wrap("reading the parts", err)
	}
	defer rows.Close() //nolint:errcheck // Err is checked
	var out []pipeline.Progress
	for rows.Next() {
		var p pipeline.Progress
		var part, at string
		if err := rows.Scan(&part, &at, &p.Done, &p.Written, &p.Refused, &p.Bytes); err != nil {
			return nil, wrap("reading the parts", err)
		}
		if p.Part, err = decodePart(part); err != nil {
			return nil, wrap("reading the parts", err)
		}
		cur, err := strconv.Unquote(at)
		if err != nil {
			return nil, wrap("reading the parts", err)
		}
		p.At = pipeline.Cursor(cur)
		out = append(out, p)
	}
	return out, wrap("reading the parts", rows.Err())
}

// Fix fixes the unit's parts. The same parts once more are no error.
func (s *Store) Fix(ctx context.Context, unit pipeline.Unit, parts []pipeline.Part) error {
	return s.mine(ctx, "fixing the parts of "+unit.ID(), func(tx *sql.Tx) error {
		have, err := s.progress(ctx, tx, "WHERE unit = ?", unit.ID())
		if err != nil {
			return err
		}
		if have != nil {
			same := len(have) == len(parts)
			for i := range have {
				same = same && reflect.DeepEqual(have[i].Part, parts[i])
			}
			if !same {
				return errOtherParts
			}
			return nil
		}
		for _, p := range parts {
			body, err := encodePart(p)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO part (unit, n, part, at) VALUES (?, ?, ?, ?)", unit.ID(), p.N, body, quote(p.From)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Advance moves the cursor and stores the lines.
func (s *Store) Advance(ctx context.Context, step pipeline.Step) error {
	id := step.Part.Unit.ID()
	return s.mine(ctx, fmt.Sprintf("moving the cursor of %s, part %d", id, step.Part.N), func(tx *sql.Tx) error {
		if err := touch(tx.ExecContext(ctx, `UPDATE part SET at = ?, written = written + ?, refused = refused + ?, bytes = bytes + ?
			WHERE unit = ? AND n = ? AND at = ?`, quote(step.Next), step.Written, len(step.Refused), step.Bytes, id, step.Part.N, quote(step.Prev))); err != nil {
			if errors.Is(err, errNoPart) {
				return pipeline.ErrFenced
			}
			return err
		}
		return addLines(ctx, tx, step.Refused, step.Changed)
	})
}

// FinishPart marks the part as read to its end.
func (s *Store) FinishPart(ctx context.Context, part pipeline.Part) error {
	id := part.Unit.ID()
	return s.mine(ctx, fmt.Sprintf("finishing %s, part %d", id, part.N), func(tx *sql.Tx) error {
		return touch(tx.ExecContext(ctx, "UPDATE part SET done = 1 WHERE unit = ? AND n = ?", id, part.N))
	})
}

// touch checks that exactly one row was changed.
func touch(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = errNoPart
	}
	return err
}
