package pgvector

import (
	"context"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/pipeline"
)

// Search asks as Open WebUI does: by cosine distance within the collection,
// with the iterative scan that its variables ask for where pgvector 0.8 has
// one, the query padded or cut off to the column's width, the hits put in order
// again; the score is (2 - distance) / 2. exact orders by an expression that no
// index has.
func (s *Source) Search(ctx context.Context, u pipeline.Unit, queries [][]float32, k int, exact bool) ([][]pipeline.Hit, error) {
	out := make([][]pipeline.Hit, len(queries))
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// A plan made for any query would be kept for the next one; Open WebUI has
		// the server plan each.
		if _, err := tx.Exec(ctx, "SET LOCAL plan_cache_mode = force_custom_plan"); err != nil {
			return err
		}
		distance := "vector <=> $1::text::" + s.layout.ColumnType()
		setting, order := "", distance
		if exact {
			order = "(" + distance + ") + 0"
		} else {
			var version string
			if err := tx.QueryRow(ctx, "SELECT coalesce((SELECT extversion FROM pg_extension WHERE extname = 'vector'), '')").Scan(&version); err != nil {
				return err
			}
			setting = s.layout.IterativeScan(s.cfg.PG, version)
		}
		if setting != "" {
			if _, err := tx.Exec(ctx, setting); err != nil {
				return err
			}
		}
		sql := "SELECT id, distance FROM (SELECT id, " + distance + " AS distance FROM " + s.table +
			" WHERE collection_name = $2 ORDER BY " + order + " LIMIT $3) AS hits ORDER BY distance"
		for i, v := range queries {
			rows, err := tx.Query(ctx, sql, s.literal(v), u.Name, k)
			if err != nil {
				return err
			}
			if out[i], err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h pipeline.Hit, err error) {
				var distance float64
				err = row.Scan(&h.ID, &distance)
				h.Score = (2 - distance) / 2
				return h, err
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return out, classify("searching "+u.ID(), err)
}

// literal is a query of the column's width as text.
func (s *Source) literal(v []float32) string {
	var b strings.Builder
	for i := range s.layout.MaxLength {
		if b.WriteByte(','); i < len(v) {
			b.Write(strconv.AppendFloat(nil, float64(v[i]), 'g', -1, 32))
		} else {
			b.WriteByte('0')
		}
	}
	return "[" + strings.TrimPrefix(b.String(), ",") + "]"
}
