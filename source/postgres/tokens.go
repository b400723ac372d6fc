package postgres

import (
	"context"
	"encoding/json"
	"iter"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/mappings/secrets"
)

// maxTokens is how many stored secrets of a kind are worth trying.
const maxTokens = 1000

// Tokens lists values that Open WebUI encrypted under WEBUI_SECRET_KEY or one
// of its stand-ins (0.12.4: see package secrets), at most a thousand of each
// place.
func (s *Source) Tokens(ctx context.Context) iter.Seq2[secrets.Token, error] {
	valves := func(path string) string {
		return `SELECT v.value #>> '{}' FROM ` + s.t("user") + ` u, json_each(CASE WHEN json_typeof(u.settings::json #> '` + path + `') = 'object' THEN u.settings::json #> '` + path +
			`' ELSE '{}' END) v WHERE json_typeof(v.value) = 'string' AND v.value #>> '{}' LIKE 'gAAAA%' LIMIT $1`
	}
	stored := []struct {
		kind          secrets.Kind
		table, column string
		query         string
	}{
		{secrets.Session, "oauth_session", "token", "SELECT token::text FROM " + s.t("oauth_session") + " WHERE token <> '' LIMIT $1"},
		{secrets.MFA, "auth", "mfa", "SELECT mfa::json ->> 'secret' FROM " + s.t("auth") + " WHERE mfa::json ->> 'secret' <> '' LIMIT $1"},
		{secrets.App, "app", "api_key", "SELECT api_key::text FROM " + s.t("app") + " WHERE api_key <> '' LIMIT $1"},
		{secrets.App, "app", "data", "SELECT data::json ->> 'connection_token' FROM " + s.t("app") + " WHERE data::json ->> 'connection_token' <> '' LIMIT $1"},
		{secrets.Valves, "function", "valves", "SELECT trim(both '\"' from valves::text) FROM " + s.t("function") + ` WHERE valves::text LIKE '"gAAAA%' LIMIT $1`},
		{secrets.Valves, "tool", "valves", "SELECT trim(both '\"' from valves::text) FROM " + s.t("tool") + ` WHERE valves::text LIKE '"gAAAA%' LIMIT $1`},
		{secrets.Valves, "user", "settings", valves("{functions,valves}")},
		{secrets.Valves, "user", "settings", valves("{tools,valves}")},
	}
	return func(yield func(secrets.Token, error) bool) {
		for _, q := range stored {
			if !s.has(q.table, q.column) {
				continue
			}
			tokens := each(ctx, s, "reading stored tokens", q.query, func(scan scanner) (secrets.Token, bool, error) {
				var text string
				err := scan(&text)
				return secrets.Token{Kind: q.kind, Text: env.Secret(text)}, true, err
			}, maxTokens)
			for token, err := range tokens {
				if !yield(token, err) || err != nil {
					return
				}
			}
		}
		var clients []json.RawMessage
		err := s.view(ctx, func(q pg.Querier) (err error) { clients, err = s.clients(ctx, q); return err })
		if err != nil {
			yield(secrets.Token{}, pg.Classify("reading stored tokens", err))
			return
		}
		for _, c := range clients[:min(len(clients), maxTokens)] {
			var token string
			if json.Unmarshal(c, &token) == nil && !yield(secrets.Token{Kind: secrets.Client, Text: env.Secret(token)}, nil) {
				return
			}
		}
	}
}

// SecondFactor tells whether sign-in with a second factor is on: then Open WebUI
// does not start with a key that cannot read the stored ones.
func (s *Source) SecondFactor(ctx context.Context) (bool, error) {
	if !s.has("config", "key", "value") {
		return false, nil
	}
	for on, err := range each(ctx, s, "reading the configuration", "SELECT value::text FROM "+s.t("config")+" WHERE key = 'auth.mfa.enable'", func(scan scanner) (on, keep bool, err error) {
		var text string
		err = scan(&text)
		return text == "true", true, err
	}) {
		if err != nil || on {
			return on, err
		}
	}
	return false, nil
}
