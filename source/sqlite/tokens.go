package sqlite

import (
	"context"
	"iter"

	"outgrow/mappings/env"
	"outgrow/mappings/secrets"
)

// maxTokens is how many stored secrets of a kind are worth trying.
const maxTokens = 1000

// where Open WebUI 0.12.4 keeps what it encrypts; each statement gives one text a
// row. A Fernet token begins with gAAAA.
var stored = []struct {
	kind    secrets.Kind
	table   string
	columns []string
	query   string
}{
	{secrets.Session, "oauth_session", []string{"token"}, `SELECT token FROM oauth_session WHERE token <> '' LIMIT ?`},
	{secrets.Client, "config", []string{"key", "value"}, `SELECT json_extract(c.value, '$.info.oauth_client_info') FROM config, json_each(CASE WHEN json_valid(config.value)
		AND json_type(config.value) = 'array' THEN config.value ELSE '[]' END) AS c WHERE config.key = 'tool_server.connections'
		AND c.type = 'object' AND json_type(c.value, '$.info.oauth_client_info') = 'text' LIMIT ?`},
	{secrets.MFA, "auth", []string{"mfa"}, `SELECT s FROM (SELECT CASE WHEN json_valid(mfa) THEN json_extract(mfa, '$.secret') END AS s FROM auth) WHERE s <> '' LIMIT ?`},
	{secrets.App, "app", []string{"api_key"}, `SELECT api_key FROM app WHERE api_key <> '' LIMIT ?`},
	{secrets.App, "app", []string{"data"}, `SELECT s FROM (SELECT CASE WHEN json_valid(data) THEN json_extract(data, '$.connection_token') END AS s FROM app) WHERE s <> '' LIMIT ?`},
	{secrets.Valves, "function", []string{"valves"}, `SELECT s FROM (SELECT CASE WHEN json_valid(valves) THEN json_extract(valves, '$') END AS s FROM function) WHERE s LIKE 'gAAAA%' LIMIT ?`},
	{secrets.Valves, "tool", []string{"valves"}, `SELECT s FROM (SELECT CASE WHEN json_valid(valves) THEN json_extract(valves, '$') END AS s FROM tool) WHERE s LIKE 'gAAAA%' LIMIT ?`},
	{secrets.Valves, "user", []string{"settings"}, `SELECT v.value FROM "user", json_each(CASE WHEN json_valid(settings) THEN settings ELSE '{}' END, '$.functions.valves') AS v WHERE v.type = 'text' AND v.value LIKE 'gAAAA%' LIMIT ?`},
	{secrets.Valves, "user", []string{"settings"}, `SELECT v.value FROM "user", json_each(CASE WHEN json_valid(settings) THEN settings ELSE '{}' END, '$.tools.valves') AS v WHERE v.type = 'text' AND v.value LIKE 'gAAAA%' LIMIT ?`},
}

// Tokens lists values that Open WebUI encrypted under WEBUI_SECRET_KEY or one
// of its stand-ins, at most a thousand of each place.
func (s *Source) Tokens(ctx context.Context) iter.Seq2[secrets.Token, error] {
	return func(yield func(secrets.Token, error) bool) {
		for _, q := range stored {
			t, there := s.table(q.table), true
			for _, c := range q.columns {
				there = there && t != nil && t.has(c)
			}
			if !there {
				continue
			}
			var found []secrets.Token
			err := s.each(ctx, q.query, func(v []any) error {
				found = append(found, secrets.Token{Kind: q.kind, Text: env.Secret(asText(v[0]))})
				return nil
			}, int64(maxTokens))
			if err != nil {
				yield(secrets.Token{}, err)
				return
			}
			for _, x := range found {
				if !yield(x, nil) {
					return
				}
			}
		}
	}
}

// SecondFactor tells whether sign-in with a second factor is on: then Open WebUI
// does not start with a key that cannot read the stored ones.
func (s *Source) SecondFactor(ctx context.Context) (on bool, err error) {
	if t := s.table("config"); t == nil || !t.has("key") || !t.has("value") {
		return false, nil
	}
	err = s.each(ctx, `SELECT value FROM config WHERE key = 'auth.mfa.enable'`, func(v []any) error {
		on = asText(v[0]) == "true"
		return nil
	})
	return on, err
}
