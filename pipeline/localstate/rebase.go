package localstate

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"outgrow/pipeline"
)

var _ pipeline.Rebaser = (*Store)(nil)

// Rebase takes another state of the source for that of the start; ErrFenced when
// another process has begun since.
func (s *Store) Rebase(ctx context.Context, source pipeline.Identity) error {
	return s.mine(ctx, "noting the source's state", func(tx *sql.Tx) error {
		var text string
		if err := tx.QueryRowContext(ctx, "SELECT run FROM run").Scan(&text); err != nil {
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
		_, err = tx.ExecContext(ctx, "UPDATE run SET run = ?, changed = 0", string(body))
		return err
	})
}
