package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
)

// FileOwner gives who a file belongs to, "" for what is not known, and whether
// there is a row of the file.
func (s *Source) FileOwner(ctx context.Context, id string) (user, email, name string, ok bool, err error) {
	if !s.has("file") || !s.has("user") {
		return "", "", "", false, nil
	}
	err = s.view(ctx, func(q pg.Querier) error {
		return q.QueryRow(ctx, "SELECT coalesce(f.user_id::text, ''), coalesce(u.email::text, ''), coalesce(u.name::text, '') FROM "+s.t("file")+
			" f LEFT JOIN "+s.t("user")+" u ON u.id = f.user_id WHERE f.id = $1", id).Scan(&user, &email, &name)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return "", "", "", false, nil
	}
	return user, email, name, err == nil, pg.Classify("looking up the owner of a file", err)
}
