package sqlite

import "context"

// FileOwner gives who a file belongs to, "" for what is not known, and whether
// there is a row of the file. Both tables are looked up by their keys.
func (s *Source) FileOwner(ctx context.Context, id string) (user, email, name string, ok bool, err error) {
	if s.table("file") == nil || s.table("user") == nil {
		return "", "", "", false, nil
	}
	err = s.each(ctx, `SELECT f.user_id, u.email, u.name FROM file f LEFT JOIN "user" u ON u.id = f.user_id WHERE f.id = ?`, func(v []any) error {
		user, email, name, ok = asText(v[0]), asText(v[1]), asText(v[2]), true
		return nil
	}, id)
	if err != nil {
		err = openError(s.path, err)
	}
	return user, email, name, ok, err
}
