package pgstate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

var _ pipeline.Rebaser = (*Store)(nil)

// Rebase takes another state of the source for that of the start; ErrFenced when
// another process has begun since.
func (s *Store) Rebase(ctx context.Context, source pipeline.Identity) error {
	return pg.Classify("noting the source's state", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var text string
		err := tx.QueryRow(ctx, "SELECT run FROM "+s.t("run")+" WHERE lane = $1 AND epoch = $2 FOR UPDATE", s.lane, s.epoch).Scan(&text)
		if errors.Is(err, pgx.ErrNoRows) {
			return pipeline.ErrFenced
		}
		if err != nil {
			return err
		}
		var run pipeline.Run
		if err := json.Unmarshal([]byte(text), &run); err != nil {
			return fmt.Errorf("reading the stored run: %w", err)
		}
		run.Source = source
		body, err := json.Marshal(run)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE "+s.t("run")+" SET run = $2, source_state = $3, changed = false WHERE lane = $1", s.lane, string(body), source.State)
		return err
	}))
}
