package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/secrets"
	"outgrow/mappings/shadow"
)

// envOn runs env on an env file of these lines.
func envOn(tb testing.TB, lines string, args ...string) (code int, out, notes string) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "scaled.env")
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		tb.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code = run(tb.Context(), append([]string{"env", "--to", path}, args...), nil, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// oldSide is a DATA_DIR with a database of that revision and these config rows.
func oldSide(tb testing.TB, key string, rows ...string) string {
	tb.Helper()
	dir := tb.TempDir()
	statements := []string{`CREATE TABLE user (id VARCHAR PRIMARY KEY)`, `CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)`, `INSERT INTO alembic_version VALUES ('0bd252b206fb')`, `CREATE TABLE config (key TEXT PRIMARY KEY, value JSON)`}
	for _, k := range rows {
		statements = append(statements, `INSERT INTO config VALUES ('`+k+`', '1')`)
	}
	onSQLite(tb, filepath.Join(dir, "webui.db"), statements...)
	if key != "" {
		if err := os.WriteFile(filepath.Join(dir, ".webui_secret_key"), []byte(key+"\n"), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

const scaledLines = "DATABASE_URL=postgresql://u:s3cretpw@pg.internal/x\nVECTOR_DB=pgvector\nJWT_EXPIRES_IN=7d\nRAG_TOP_K=3\nOAUTH_CLIENT_ID=me\n"

func TestEnvKnowsTheSource(t *testing.T) {
	t.Parallel()
	from := oldSide(t, "the-old-key", "auth.jwt_expiry", "oauth.client_id", "ui.banners")
	code, out, notes := envOn(t, scaledLines, "--from", from, "--format", "compose")
	for _, want := range []string{"ghcr.io/open-webui/open-webui:0.12.4", "${WEBUI_SECRET_KEY:?", "${DATABASE_URL:?"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, want %q in %s", code, want, out)
		}
	}
	for _, want := range []string{"JWT_EXPIRES_IN is passed over: the source's config row auth.jwt_expiry", "WEBUI_SECRET_KEY is known", "0.12.1, 0.12.2, 0.12.3, 0.12.4"} {
		if !strings.Contains(notes, want) {
			t.Errorf("want %q in %s", want, notes)
		}
	}
	if strings.Contains(notes, "RAG_TOP_K is") || strings.Contains(notes, "OAUTH_CLIENT_ID is") || strings.Contains(out+notes, "the-old-key") {
		t.Errorf("too much: %s%s", out, notes)
	}
	if _, out, notes := envOn(t, scaledLines, "--from", from, "--with-secrets"); !strings.Contains(out, "WEBUI_SECRET_KEY=the-old-key\n") || !strings.Contains(out, "DATABASE_URL=postgresql://u:s3cretpw@") || strings.Contains(notes, "the-old-key") {
		t.Errorf("with secrets: %s%s", out, notes)
	}
	if _, _, notes := envOn(t, scaledLines+"WEBUI_SECRET_KEY=another\n", "--from", from); !strings.Contains(notes, "is not the source's key") {
		t.Errorf("another key: %s", notes)
	}
	if _, _, notes := envOn(t, scaledLines, "--from", oldSide(t, "")); !strings.Contains(notes, "WEBUI_SECRET_KEY is not set") {
		t.Errorf("no key: %s", notes)
	}
}

// The key file is read as what is stored tells: `open-webui serve` keeps the line
// break at its end. The source's other keys come along.
func TestEnvTriesTheKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stored, key string // a file of tokens, and which reading of the key it is
		vars, says  string
	}{
		{"tokens.json", "WEBUI_SECRET_KEY=plain-secret\n", "", "carried over from"},
		{"tokens-break.json", "WEBUI_SECRET_KEY='plain-secret\n'\n", "", "with the line break at its end"},
		{"", "WEBUI_SECRET_KEY=plain-secret\n", "", "nothing that is stored tells whether it belongs to the key"},
		{"tokens.json", "WEBUI_SECRET_KEY=another\n", "WEBUI_SECRET_KEY=another\n", "1 of 1 OAuth session would be lost"},
		{"tokens-break.json", "WEBUI_SECRET_KEY='plain-secret\n'\n", "WEBUI_SECRET_KEY='plain-secret\n'\n", ""},
	} {
		data := oldSide(t, "plain-secret", "auth.jwt_expiry")
		onSQLite(t, filepath.Join(data, "webui.db"), "CREATE TABLE oauth_session (id TEXT PRIMARY KEY, token TEXT)")
		if c.stored != "" {
			onSQLite(t, filepath.Join(data, "webui.db"), "INSERT INTO oauth_session VALUES ('a', '"+tokens(t, c.stored)[secrets.Session]+"')")
		}
		old := filepath.Join(t.TempDir(), "old.env")
		if err := os.WriteFile(old, []byte("DATA_DIR="+data+"\nMFA_ENCRYPTION_KEY=own-mfa-key\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, notes := envOn(t, scaledLines+c.vars, "--from", old, "--from-mount", data, "--with-secrets")
		if code != 0 || !strings.Contains(out, c.key) || !strings.Contains(out, "MFA_ENCRYPTION_KEY=own-mfa-key\n") || !strings.Contains(notes, c.says) {
			t.Errorf("%s %q: exit %d: %s%s", c.stored, c.vars, code, out, notes)
		}
		if said := strings.Contains(notes, "is not the source's key"); said != (c.vars == "WEBUI_SECRET_KEY=another\n") || strings.Contains(notes, "plain-secret") {
			t.Errorf("%s %q: %s", c.stored, c.vars, notes)
		}
	}
}

// A source that is on PostgreSQL already tells the same.
func TestEnvFromPostgres(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate("--only", "rows").exits(0)
	do(t, l.dsn, `DELETE FROM oauth_session`, `INSERT INTO oauth_session (id, user_id, provider, token, expires_at, created_at, updated_at) SELECT 'x', id, 'p', '`+tokens(t, "tokens.json")[secrets.Session]+`', 0, 0, 0 FROM "user" LIMIT 1`,
		`INSERT INTO config (key, value) VALUES ('auth.jwt_expiry', '"4w"') ON CONFLICT DO NOTHING`)
	l.set("WEBUI_SECRET_KEY", "plain-secret")
	code, out, notes := envOn(t, scaledLines, "--from", l.env, "--with-secrets")
	if code != 0 || !strings.Contains(out, "WEBUI_SECRET_KEY=plain-secret\n") || !strings.Contains(notes, "carried over from WEBUI_SECRET_KEY") || !strings.Contains(notes, "JWT_EXPIRES_IN is passed over") || strings.Contains(notes, "opens only") {
		t.Errorf("exit %d: %s%s", code, out, notes)
	}
	l.set("WEBUI_SECRET_KEY", "another")
	if code, _, notes := envOn(t, scaledLines, "--from", l.env); code != 0 || !strings.Contains(notes, "opens only 0 of 1 stored secrets") {
		t.Errorf("exit %d: %s", code, notes)
	}
}

func TestEnvAsJSON(t *testing.T) {
	t.Parallel()
	from := oldSide(t, "the-old-key", "auth.jwt_expiry")
	type line struct {
		Event  string
		Detail written
	}
	read := func(args ...string) (got line) {
		t.Helper()
		code, out, notes := envOn(t, scaledLines, append([]string{"--from", from, "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil || notes != "" || got.Event != "env" || len(got.Detail.Notes) == 0 ||
			!slices.Equal(got.Detail.Shadowed, []shadow.Row{{Key: "auth.jwt_expiry", Variable: "JWT_EXPIRES_IN"}}) {
			t.Errorf("%v: exit %d, %v: %s%s", args, code, err, out, notes)
		}
		return got
	}
	got := read()
	if want := []string{"DATABASE_URL", "OAUTH_CLIENT_ID", "RAG_TOP_K", "WEBUI_SECRET_KEY"}; !slices.Equal(got.Detail.References, want) || !strings.Contains(got.Detail.Text, "VECTOR_DB=pgvector\n") || strings.Contains(got.Detail.Text, "s3cretpw") {
		t.Errorf("%+v", got)
	}
	file := filepath.Join(t.TempDir(), "x.env")
	if got = read("--out", file, "--with-secrets"); got.Detail.File != file || got.Detail.Text != "" || len(got.Detail.References) != 0 {
		t.Errorf("%+v", got)
	}
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "s3cretpw") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestEnvRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lines string
		args  []string
		says  string
	}{
		{scaledLines, []string{"--format", "helm"}, "--image"},
		{scaledLines, []string{"--format", "ini"}, "ini"},
		{scaledLines, []string{"--replicas", "0"}, "--replicas"},
		{scaledLines + "STORAGE_PROVIDER=S3\n", nil, "lower case"},
		{scaledLines, []string{"--from", "/nowhere/at/all"}, "no such folder"},
	} {
		if code, out, notes := envOn(t, c.lines, c.args...); code != 2 || out != "" || !strings.Contains(notes, c.says) {
			t.Errorf("%v: exit %d, want 2 and %q: %s%s", c.args, code, c.says, out, notes)
		}
	}
}

func TestEnvWritesPrivateFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "scaled.yml")
	args := []string{"--format", "kubernetes", "--image", "x:1", "--out", file}
	if code, out, notes := envOn(t, scaledLines, args...); code != 0 || out != "" {
		t.Fatalf("exit %d: %s%s", code, out, notes)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if code, _, notes := envOn(t, scaledLines+"UVICORN_WORKERS=1\n", args...); code != 2 || !strings.Contains(notes, "--force") {
		t.Errorf("over something else: exit %d: %s", code, notes)
	}
	var stdout, stderr bytes.Buffer
	start := filepath.Join(t.TempDir(), "scaled.env")
	for range 2 {
		if code := run(t.Context(), []string{"env", "init", "--out", start}, nil, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), "outgrow doctor --to") {
			t.Errorf("init: exit %d: %s%s", code, stdout.String(), stderr.String())
		}
	}
}

// A marked value in every variable that may hold a secret, whatever its name, is
// nowhere without --with-secrets.
func TestEnvShowsNoSecret(t *testing.T) {
	t.Parallel()
	const mark = "M4rkedS3cret"
	n := 0
	secret := func() string { n++; return fmt.Sprintf("%s%03d", mark, n) }
	var b strings.Builder
	for _, name := range []string{"WEBUI_SECRET_KEY", "OAUTH_SESSION_TOKEN_ENCRYPTION_KEY", "OPENAI_API_KEY", "OPENAI_API_KEYS", "OTEL_BASIC_AUTH_PASSWORD", "MILVUS_TOKEN", "QDRANT_API_KEY", "PINECONE_API_KEY",
		"S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY", "LDAP_APP_PASSWORD", "OAUTH_CLIENT_SECRET", "CHROMA_CLIENT_AUTH_CREDENTIALS", "TOOL_SERVER_CONNECTIONS", "WEBSOCKET_REDIS_OPTIONS",
		"DATABASE_PASSWORD", "NEVER_HEARD_OF", "WEBHOOK_URL", "CHROMA_HTTP_HEADERS"} {
		b.WriteString(name + "=" + secret() + "\n")
	}
	for _, name := range []string{"DATABASE_URL", "PGVECTOR_DB_URL", "REDIS_URL", "WEBSOCKET_REDIS_URL", "QDRANT_URI", "CORS_ALLOW_ORIGIN", "OLLAMA_BASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT", "S3_ENDPOINT_URL"} {
		b.WriteString(name + "=postgresql://user:" + secret() + "%40@db-host/x\n")
	}
	from := oldSide(t, mark+"000", "openai.api_keys")
	for _, more := range []string{"", "STORAGE_PROVIDER=s3\n", "DATABASE_URL=mysql://u:" + secret() + "@h/x\n", "A B=" + mark + "\n", "DATABASE_SCHEMA=x\n"} {
		for _, format := range []string{"dotenv", "compose", "kubernetes", "helm"} {
			for _, how := range [][]string{{"--image", "x:1"}, {"--from", from}} {
				_, out, notes := envOn(t, b.String()+more, append(how, "--format", format)...)
				if strings.Contains(out+notes, mark) || out+notes == "" {
					t.Errorf("%q %s %v: %s%s", more, format, how, out, notes)
				}
				if code, out, notes := envOn(t, b.String()+more, append(how, "--format", format, "--with-secrets")...); strings.Contains(notes, mark) || (more == "" || code == 0) != strings.Contains(out, mark) {
					t.Errorf("%q %s %v with secrets: %s%s", more, format, how, out, notes)
				}
			}
		}
	}
}
