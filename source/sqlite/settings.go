package sqlite

import (
	"context"
	"encoding/json"

	"outgrow/mappings/dependencies"
)

// Settings reads table config; of a release before 0.10 its one JSON document, as
// rows with dotted keys. They hold secrets.
func (s *Source) Settings(ctx context.Context) (out []dependencies.Setting, err error) {
	t := s.table("config")
	switch {
	case t == nil:
	case t.has("key") && t.has("value"):
		err = s.each(ctx, `SELECT key, value FROM config WHERE length(value) <= ? ORDER BY key LIMIT ?`, func(v []any) error {
			out = append(out, dependencies.Setting{Key: asText(v[0]), Value: []byte(asText(v[1]))})
			return nil
		}, int64(dependencies.MaxValue), int64(dependencies.MaxSettings))
	case t.has("data"):
		err = s.each(ctx, `SELECT data FROM config ORDER BY id DESC LIMIT 1`, func(v []any) error {
			out = dependencies.Flatten(json.RawMessage(asText(v[0])))
			return nil
		})
	}
	return out, err
}

// Plugins reads the beginnings of tools and functions.
func (s *Source) Plugins(ctx context.Context) (out []dependencies.Plugin, err error) {
	for _, q := range []struct{ kind, column, installs, from string }{
		{"function", "is_active", "is_active", "function AS p"},
		{"tool", "user_id", "coalesce(u.role, '') = 'admin'", "tool AS p LEFT JOIN user AS u ON u.id = p.user_id"},
	} {
		t := s.table(q.kind)
		if t == nil || !t.has("content") || !t.has(q.column) || s.table("user") == nil {
			continue
		}
		err = s.each(ctx, `SELECT p.id, substr(p.content, 1, ?), `+q.installs+` FROM `+q.from+` ORDER BY p.id LIMIT ?`, func(v []any) error {
			installs, _ := v[2].(int64)
			out = append(out, dependencies.Plugin{Kind: q.kind, ID: asText(v[0]), Content: asText(v[1]), Installs: installs != 0})
			return nil
		}, int64(dependencies.MaxFrontmatter), int64(dependencies.MaxPlugins))
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
