package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/testdata/servers"
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
	const fit = "DATABASE_URL=postgresql://u:s3cretpw@pg.internal/x\nVECTOR_DB=pgvector\nREDIS_URL=redis://cache.internal\nWEBSOCKET_MANAGER=redis\nWEBUI_SECRET_KEY=k3y-of-the-old-one\nENABLE_DB_MIGRATIONS=false\n" +
		"CORS_ALLOW_ORIGIN=https://chat.internal\nTHREAD_POOL_SIZE=2000\n"
	nobody := strings.NewReplacer("pg.internal", "127.0.0.1:1", "cache.internal", "127.0.0.1:1").Replace(fit)
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
		{fit, []string{"--offline", "--primary"}, 0, "left out (--offline)"},
		{nobody, []string{"--primary"}, 3, "no server answered"},
		{nobody, []string{"--json"}, 3, `"unreachable":["DATABASE_URL","REDIS_URL"]`},
		{fit, []string{"--timeout", "0s"}, 2, "--timeout"},
		{fit + "STORAGE_PROVIDER=S3\n", []string{"--offline"}, 2, "write s3, in lower case"},
	} {
		code, said := doctorOn(t, c.lines, c.args...)
		if code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%v: exit %d, want %d and %q: %s", c.args, code, c.code, c.says, said)
		}
	}
}

// doctor on real servers: PostgreSQL, Redis and an object store, first as they
// are installed, then as they should be.
func TestDoctorAsks(t *testing.T) {
	t.Parallel()
	redis := servers.StartRedis(t, "s3cretpw")
	s3 := servers.S3(t)
	bucket := s3.NewBucket(t)
	lines := fmt.Sprintf("DATABASE_URL=%s\nVECTOR_DB=pgvector\nDATABASE_POOL_SIZE=2\nPGVECTOR_POOL_SIZE=1\nREDIS_URL=redis://:s3cretpw@127.0.0.1:%d\nWEBSOCKET_MANAGER=redis\n"+
		"WEBUI_SECRET_KEY=k3y-of-the-old-one\nENABLE_DB_MIGRATIONS=false\nCORS_ALLOW_ORIGIN=https://chat.internal\nTHREAD_POOL_SIZE=2000\nSTORAGE_PROVIDER=s3\nS3_BUCKET_NAME=%s\n"+
		"S3_KEY_PREFIX=owui\nS3_ENDPOINT_URL=%s\nS3_ACCESS_KEY_ID=%s\nS3_SECRET_ACCESS_KEY=%s\n", servers.PostgreSQL(t), redis.Port, bucket, s3.Endpoint, s3.AccessKey, s3.SecretKey)
	code, said := doctorOn(t, lines, "--primary")
	for _, want := range []string{"PostgreSQL 1", "Redis 7", "s3://" + bucket, "D15  Redis: timeout", "fine", "0 unknown."} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q: %s", want, said)
		}
	}
	if code != 2 || strings.Contains(said, "s3cretpw") || strings.Contains(said, s3.SecretKey) {
		t.Errorf("exit %d: %s", code, said)
	}
	if left, err := os.ReadDir(filepath.Join(s3.Folder(bucket), "owui")); len(left) > 0 {
		t.Errorf("the probe object is left: %v %v", left, err)
	}
	if code, said = doctorOn(t, strings.Replace(lines, bucket, "no-such-bucket", 1), "--primary"); code != 3 || !strings.Contains(said, "D31") {
		t.Errorf("without a bucket: exit %d: %s", code, said)
	}
}

// Nor is what the rows hold: config rows, paths, stored secrets.
func TestDoctorShowsNoRow(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	do(t, dsn, "CREATE TABLE alembic_version (version_num text)", "INSERT INTO alembic_version VALUES ('"+head+"')", "CREATE TABLE chat (id text)", "CREATE TABLE file (id text, path text)",
		"CREATE TABLE config (key text PRIMARY KEY, value json NOT NULL)", "CREATE TABLE oauth_session (id text, token text)",
		`INSERT INTO config VALUES ('openai.api_keys', '["M4rkedS3cret"]'), ('rag.embedding_model', '"M4rkedS3cret"'), ('rag.openai.api_key', '"M4rkedS3cret"')`,
		"INSERT INTO file VALUES ('a', '/M4rkedS3cret'), ('b', '/app/backend/data/uploads/M4rkedS3cret')", "INSERT INTO oauth_session VALUES ('a', 'gAAAAAM4rkedS3cret')")
	lines := "DATABASE_URL=" + dsn + "\nVECTOR_DB=pgvector\nWEBUI_SECRET_KEY=k3y-of-somebody-else\nRAG_EMBEDDING_MODEL=ours\nRAG_OPENAI_API_KEY=M4rkedS3cretToo\nDATABASE_POOL_SIZE=1\nPGVECTOR_POOL_SIZE=1\n"
	for _, how := range [][]string{nil, {"--json"}} {
		code, said := doctorOn(t, lines, how...)
		if code != 2 || strings.Contains(said, "M4rkedS3cret") || !strings.Contains(said, "RAG_OPENAI_API_KEY") || !strings.Contains(said, "D32") || !strings.Contains(said, "none of 1") {
			t.Errorf("%v: exit %d: %s", how, code, said)
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
	for _, name := range []string{"OTEL_METRICS_BASIC_AUTH_PASSWORD", "OAUTH_CLIENT_INFO_ENCRYPTION_KEY", "PGVECTOR_PGCRYPTO_KEY", "AZURE_OPENAI_API_KEY", "WEBSOCKET_REDIS_OPTIONS"} {
		b.WriteString(name + "=" + secret() + "\n")
	}
	// Whatever else Open WebUI reads may hold one, too.
	known, err := os.ReadFile(filepath.Join("..", "..", "mappings", "shadow", "keys.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	planted := 0
	for line := range strings.Lines(string(known)) {
		_, names, _ := strings.Cut(strings.TrimSpace(line), "\t")
		for name := range strings.FieldsSeq(names) {
			if name = strings.TrimSuffix(name, "*") + "X"[:strings.Count(name, "*")]; !strings.Contains(b.String(), "\n"+name+"=") {
				planted++
				b.WriteString(name + "=" + secret() + "\n")
			}
		}
	}
	if planted < 300 {
		t.Errorf("only %d variables hold a mark", planted)
	}
	b.WriteString("ENABLE_OTEL=true\nENABLE_OTEL_TRACES=true\nENABLE_OTEL_METRICS=true\nOTEL_BASIC_AUTH_USERNAME=u\nOTEL_EXPORTER_OTLP_ENDPOINT=http://u:" + secret() + "@127.0.0.1:1\n")
	for _, more := range []string{"VECTOR_DB=pgvector\n", "VECTOR_DB=qdrant\n", "VECTOR_DB=milvus\nMILVUS_URI=ftp://u:" + secret() + "@x\n", "VECTOR_DB=pinecone\nPINECONE_METRIC=l2\n",
		"VECTOR_DB=qdrant\nQDRANT_URI=http://127.0.0.1:1\nQDRANT_GRPC_PORT=1\n", "REDIS_SENTINEL_HOSTS=\nREDIS_CLUSTER=false\nWEBSOCKET_MANAGER=redis\nREDIS_URL=redis://u:" + secret() + "@127.0.0.1:1\n",
		"STORAGE_PROVIDER=s3\n", "STORAGE_PROVIDER=azure\n", "STORAGE_PROVIDER=s3\nS3_BUCKET_NAME=b\nS3_ENDPOINT_URL=http://127.0.0.1:1\n", "DATABASE_URL=mysql://u:" + secret() + "@db-host/x\n"} {
		for _, how := range [][]string{{"--offline"}, {"--offline", "--json"}, {"--timeout", "1s"}, {"--timeout", "1s", "--json"}} {
			if _, said := doctorOn(t, b.String()+more, how...); strings.Contains(said, mark) || said == "" {
				t.Errorf("%q %v: %s", more, how, said)
			}
		}
	}
}
