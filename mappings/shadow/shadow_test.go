package shadow_test

import (
	"slices"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/shadow"
)

func TestRows(t *testing.T) {
	t.Parallel()
	keys := []string{"auth.jwt_expiry", "openai.api_keys", "oauth.client_id", "user.permissions", "not.in.the.table"}
	type vars = map[string]env.Secret
	for _, c := range []struct {
		vars vars
		want []shadow.Row
	}{
		{vars{"DATABASE_URL": "x", "VECTOR_DB": "pgvector", "WEBUI_SECRET_KEY": "k"}, nil},
		{vars{"JWT_EXPIRES_IN": "7d", "OPENAI_API_KEY": "k", "RAG_TOP_K": "3"}, []shadow.Row{{Key: "auth.jwt_expiry", Variable: "JWT_EXPIRES_IN"}, {Key: "openai.api_keys", Variable: "OPENAI_API_KEY"}}},
		{vars{"OPENAI_API_KEY": "k", "OPENAI_API_KEYS": "a;b"}, []shadow.Row{{Key: "openai.api_keys", Variable: "OPENAI_API_KEYS"}}},
		{vars{"USER_PERMISSIONS_CHAT_DELETE": "true"}, []shadow.Row{{Key: "user.permissions", Variable: "USER_PERMISSIONS_CHAT_DELETE"}}},
		{vars{"OAUTH_CLIENT_ID": "x"}, nil},
		{vars{"OAUTH_CLIENT_ID": "x", "ENABLE_OAUTH_PERSISTENT_CONFIG": "True"}, []shadow.Row{{Key: "oauth.client_id", Variable: "OAUTH_CLIENT_ID"}}},
		{vars{"JWT_EXPIRES_IN": "7d", "ENABLE_PERSISTENT_CONFIG": "false"}, nil},
	} {
		if got := shadow.Rows(keys, c.vars); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.vars, got, c.want)
		}
	}
}
