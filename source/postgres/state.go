package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// facts is what one scan over the rows' heads tells.
type facts struct {
	counts map[string]int64 // by table
	id     pipeline.Identity
}

// Identity gives alembic head and id of the first user (Stable), and a digest of
// which transactions wrote how many rows of each of its tables (State): an insert, an
// update and a delete each change it, VACUUM and ANALYZE do not. It costs one
// scan of the tables without their long values, on a snapshot only once.
func (s *Source) Identity(ctx context.Context) (pipeline.Identity, error) {
	f, err := s.state(ctx)
	if err != nil {
		return pipeline.Identity{}, err
	}
	return f.id, nil
}

// IdentityNow is Identity at this moment, beside the snapshot: equal to it as
// long as nobody has written.
func (s *Source) IdentityNow(ctx context.Context) (pipeline.Identity, error) {
	f, err := s.scan(ctx, s.pool)
	if err != nil {
		return pipeline.Identity{}, pg.Classify("looking at the source's state", err)
	}
	return f.id, nil
}

// state is the facts of the snapshot, or of now where there is none.
func (s *Source) state(ctx context.Context) (f *facts, err error) {
	s.scanning.Lock()
	defer s.scanning.Unlock()
	if s.facts != nil {
		return s.facts, nil
	}
	err = s.view(ctx, func(q pg.Querier) error { f, err = s.scan(ctx, q); return err })
	if err != nil {
		return nil, pg.Classify("looking at the source's state", err)
	}
	if s.shared != nil {
		s.facts = f
	}
	return f, nil
}

func (s *Source) scan(ctx context.Context, q pg.Querier) (*facts, error) {
	var parts []string
	for name := range s.tables {
		if s.ours(name) {
			// A row's xmin stays what it was when the row is frozen. Two sums, so that
			// no two changes undo each other.
			parts = append(parts, fmt.Sprintf("SELECT %s AS name, count(*) AS n, coalesce(sum(xmin::text::bigint), 0)::text || ' ' || coalesce(sum(hashint8(xmin::text::bigint)::bigint), 0)::text AS sums FROM %s",
				pg.Literal(name), s.t(name)))
		}
	}
	f := &facts{counts: map[string]int64{}}
	if len(parts) == 0 {
		f.id = pipeline.Identity{Stable: "postgres", State: "empty"}
		return f, nil
	}
	rows, err := q.Query(ctx, strings.Join(parts, " UNION ALL "))
	if err != nil {
		return nil, err
	}
	var lines []string
	var name, sums string
	var n, total int64
	if _, err := pgx.ForEachRow(rows, []any{&name, &n, &sums}, func() error {
		f.counts[name] = n
		total += n
		lines = append(lines, fmt.Sprintf("%q %d %s\n", name, n, sums))
		return nil
	}); err != nil {
		return nil, err
	}
	slices.Sort(lines)
	h := sha256.Sum256([]byte(strings.Join(lines, "")))
	f.id.State = fmt.Sprintf("%d rows %s", total, hex.EncodeToString(h[:16]))
	head, user := "", ""
	if s.has(version) {
		if head, err = s.head(ctx, q); err != nil {
			return nil, err
		}
	}
	if s.has("user", "id") {
		order := `id::text COLLATE "C"`
		if s.has("user", "created_at") {
			order = "created_at, " + order
		}
		if err := q.QueryRow(ctx, "SELECT coalesce((SELECT id::text FROM "+s.t("user")+" ORDER BY "+order+" LIMIT 1), '')").Scan(&user); err != nil {
			return nil, err
		}
	}
	f.id.Stable = "postgres " + head + "/" + user
	return f, nil
}
