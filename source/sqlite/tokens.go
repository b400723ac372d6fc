package sqlite

import (
	"context"
	"iter"
)

// maxTokens is how many stored secrets of a kind are worth trying.
const maxTokens = 1000

// Tokens lists values that Open WebUI encrypted with Fernet under
// WEBUI_SECRET_KEY (oauth_session.token, the OAuth client data of
// tool_server.connections), at most a thousand of each. They are secrets: try
// them, do not print them.
func (s *Source) Tokens(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var found []string
		add := func(v []any) error {
			found = append(found, asText(v[0]))
			return nil
		}
		if t := s.table("oauth_session"); t != nil && t.has("token") {
			if err := s.each(ctx, `SELECT token FROM oauth_session WHERE token <> '' LIMIT ?`, add, int64(maxTokens)); err != nil {
				yield("", err)
				return
			}
		}
		if t := s.table("config"); t != nil && t.has("key") && t.has("value") {
			const clients = `SELECT json_extract(c.value, '$.info.oauth_client_info') FROM config, json_each(CASE WHEN json_valid(config.value)
				AND json_type(config.value) = 'array' THEN config.value ELSE '[]' END) AS c WHERE config.key = 'tool_server.connections'
				AND c.type = 'object' AND json_type(c.value, '$.info.oauth_client_info') = 'text' LIMIT ?`
			if err := s.each(ctx, clients, add, int64(maxTokens)); err != nil {
				yield("", err)
				return
			}
		}
		for _, t := range found {
			if !yield(t, nil) {
				return
			}
		}
	}
}
