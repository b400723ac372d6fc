package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// doctorOn runs doctor on an env file of these lines.
func doctorOn(tb testing.TB, lines string, args ...string) (code int, said string) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "scaled.env")
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		tb.Fatal(err)
	}
	var out, stderr bytes.Buffer
	code = run(tb.Context(), append([]string{"doctor", "--to", path}, args...), nil, &out, &stderr)
	return code, out.String() + stderr.String()
}

func TestDoctorExitCodes(t *testing.T) {
	t.Parallel()
	const fit = "DATABASE_URL=postgresql://u:s3cretpw@pg.internal/x\nVECTOR_DB=pgvector\nREDIS_URL=redis://cache.internal\nWEBSOCKET_MANAGER=redis\nWEBUI_SECRET_KEY=k3y-of-the-old-one\nENABLE_DB_MIGRATIONS=false\n"
	for _, c := range []struct {
		lines string
		args  []string
		code  int
		says  string
	}{
		{fit, []string{"--offline", "--primary"}, 0, "2 processes"},
		{fit, []string{"--offline"}, 2, "D34"},
		{fit, []string{"--offline", "--primary", "--replicas", "3", "--workers", "2"}, 2, "D43"},
		{fit, []string{"--offline", "--json"}, 2, `"id":"D34"`},
		{fit, nil, 2, "--offline"},
		{fit + "STORAGE_PROVIDER=S3\n", []string{"--offline"}, 2, "write s3, in lower case"},
	} {
		code, said := doctorOn(t, c.lines, c.args...)
		if code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%v: exit %d, want %d and %q: %s", c.args, code, c.code, c.says, said)
		}
	}
}

// A marked value in every variable that may hold a secret is nowhere in the
// output, with and without mistakes, for people and as JSON.
func TestDoctorShowsNoSecret(t *testing.T) {
	t.Parallel()
	const mark = "M4rkedS3cret"
	n := 0
	secret := func() string { n++; return fmt.Sprintf("%s%03d", mark, n) }
	var b strings.Builder
	for _, name := range []string{"WEBUI_SECRET_KEY", "OAUTH_SESSION_TOKEN_ENCRYPTION_KEY", "OPENAI_API_KEY", "OTEL_BASIC_AUTH_PASSWORD", "MILVUS_TOKEN", "QDRANT_API_KEY",
		"PINECONE_API_KEY", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY", "LDAP_APP_PASSWORD", "OAUTH_CLIENT_SECRET", "CHROMA_CLIENT_AUTH_CREDENTIALS"} {
		b.WriteString(name + "=" + secret() + "\n")
	}
	for _, name := range []string{"DATABASE_URL", "PGVECTOR_DB_URL"} {
		b.WriteString(name + "=postgresql://user:" + secret() + "@db-host/x\n")
	}
	for _, name := range []string{"REDIS_URL", "WEBSOCKET_REDIS_URL"} {
		b.WriteString(name + "=redis://user:" + secret() + "%40@redis-host/3\n")
	}
	b.WriteString("REDIS_SENTINEL_HOSTS=a:1\nREDIS_CLUSTER=true\n")
	for _, more := range []string{"VECTOR_DB=pgvector\n", "VECTOR_DB=qdrant\n", "VECTOR_DB=milvus\nMILVUS_URI=ftp://u:" + secret() + "@x\n", "VECTOR_DB=pinecone\nPINECONE_METRIC=l2\n",
		"STORAGE_PROVIDER=s3\n", "STORAGE_PROVIDER=azure\n", "DATABASE_URL=mysql://u:" + secret() + "@db-host/x\n"} {
		for _, how := range [][]string{{"--offline"}, {"--offline", "--json"}, nil} {
			if _, said := doctorOn(t, b.String()+more, how...); strings.Contains(said, mark) || said == "" {
				t.Errorf("%q %v: %s", more, how, said)
			}
		}
	}
}
