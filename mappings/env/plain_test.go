package env

import "testing"

func TestPlain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		value Secret
		want  bool
	}{
		{"VECTOR_DB", "pgvector", true}, {"ENABLE_SIGNUP", "false", true}, {"QDRANT_URI", "http://q:6333", true}, {"DATA_DIR", "/x", true},
		{"QDRANT_URI", "http://u:p@q:6333", false}, {"CORS_ALLOW_ORIGIN", "https://u:p@q", false}, {"DATABASE_URL", "postgresql://h/d", false},
		{"REDIS_URL", "redis://r", false}, {"DATABASE_PASSWORD", "x", false}, {"WEBUI_SECRET_KEY", "x", false}, {"TOOL_SERVER_CONNECTIONS", "[]", false},
		{"S3_ACCESS_KEY_ID", "x", false}, {"PGVECTOR_PGCRYPTO_KEY", "x", false}, {"PGVECTOR_PGCRYPTO", "true", true}, {"NEVER_HEARD_OF", "1", false}, {"NEVER_HEARD_OF", "", true},
	} {
		if got := Plain(c.name, c.value); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}
