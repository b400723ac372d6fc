package postgres

import (
	"context"
	"encoding/json"

	"outgrow/mappings/dependencies"
	"outgrow/mappings/pg"
)

// Settings reads table config; of a release before 0.10 its one JSON document, as
// rows with dotted keys. They hold secrets.
func (s *Source) Settings(ctx context.Context) (out []dependencies.Setting, err error) {
	err = s.view(ctx, func(q pg.Querier) error {
		switch {
		case s.has("config", "key", "value"):
			rows, err := q.Query(ctx, "SELECT key::text, value::text FROM "+s.t("config")+" WHERE length(value::text) <= $1 ORDER BY key LIMIT $2", dependencies.MaxValue, dependencies.MaxSettings)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var key, value string
				if err := rows.Scan(&key, &value); err != nil {
					return err
				}
				out = append(out, dependencies.Setting{Key: key, Value: []byte(value)})
			}
			return rows.Err()
		case s.has("config", "data"):
			rows, err := q.Query(ctx, "SELECT data::text FROM "+s.t("config")+" ORDER BY id DESC LIMIT 1")
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				out = dependencies.Flatten(json.RawMessage(rows.RawValues()[0]))
			}
			return rows.Err()
		}
		return nil
	})
	return out, pg.Classify("reading the settings of the source", err)
}

// Plugins reads the beginnings of tools and functions.
func (s *Source) Plugins(ctx context.Context) (out []dependencies.Plugin, err error) {
	err = s.view(ctx, func(q pg.Querier) error {
		for _, c := range []struct{ kind, column, installs, from string }{
			{"function", "is_active", "coalesce(p.is_active, false)", s.t("function") + " AS p"},
			{"tool", "user_id", "coalesce(u.role, '') = 'admin'", s.t("tool") + " AS p LEFT JOIN " + s.t("user") + " AS u ON u.id = p.user_id"},
		} {
			if !s.has(c.kind, "id", "content", c.column) || !s.has("user", "id", "role") {
				continue
			}
			rows, err := q.Query(ctx, "SELECT p.id::text, coalesce(left(p.content, $1), ''), "+c.installs+" FROM "+c.from+" ORDER BY p.id LIMIT $2", dependencies.MaxFrontmatter, dependencies.MaxPlugins)
			if err != nil {
				return err
			}
			for rows.Next() {
				p := dependencies.Plugin{Kind: c.kind}
				if err := rows.Scan(&p.ID, &p.Content, &p.Installs); err != nil {
					rows.Close()
					return err
				}
				out = append(out, p)
			}
			if err := rows.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	return out, pg.Classify("reading the tools and functions of the source", err)
}
