package sqlite

import (
	"context"
	"strings"
)

// maxConfigKeys bounds what is read of table config; Open WebUI 0.12.4 has some
// 430 keys.
const maxConfigKeys = 10000

// ConfigKeys lists the keys of Open WebUI's table config; before 0.10 the paths of
// its one JSON document. Nil where there is no such table.
func (s *Source) ConfigKeys(ctx context.Context) ([]string, error) {
	var out []string
	add := func(v []any) error { // SQLite quotes a part of a path that is not letters and digits alone
		out = append(out, strings.ReplaceAll(strings.TrimPrefix(asText(v[0]), "$."), `"`, ""))
		return nil
	}
	t := s.table("config")
	switch {
	case t == nil:
		return nil, nil
	case t.has("key"):
		err := s.each(ctx, `SELECT key FROM config LIMIT ?`, add, int64(maxConfigKeys))
		return out, err
	case t.has("data"):
		const paths = `SELECT DISTINCT t.fullkey FROM (SELECT data FROM config ORDER BY id DESC LIMIT 1) AS c,
			json_tree(CASE WHEN json_valid(c.data) THEN c.data ELSE '{}' END) AS t WHERE t.fullkey <> '$' LIMIT ?`
		err := s.each(ctx, paths, add, int64(maxConfigKeys))
		return out, err
	}
	return nil, nil
}
