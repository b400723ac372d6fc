package doctor_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/doctor"
	"outgrow/mappings/env"
)

// fit is a deployment that no check has anything to say of.
func fit() map[string]string {
	return map[string]string{
		"DATABASE_URL": "postgresql://owui:s3cretpw@pg.internal:5432/owui", "DATABASE_POOL_SIZE": "15", "DATABASE_USER_ACTIVE_STATUS_UPDATE_INTERVAL": "300",
		"VECTOR_DB": "pgvector", "REDIS_URL": "redis://cache.internal:6379/0", "REDIS_HEALTH_CHECK_INTERVAL": "60", "WEBSOCKET_MANAGER": "redis",
		"CORS_ALLOW_ORIGIN": "https://chat.internal", "WEBUI_SECRET_KEY": "k3y-of-the-old-one", "THREAD_POOL_SIZE": "2000", "ENABLE_DB_MIGRATIONS": "false",
		"DATABASE_ENABLE_SESSION_SHARING": "true", "CONTENT_EXTRACTION_ENGINE": "tika", "RAG_EMBEDDING_ENGINE": "openai", "ENABLE_COMPRESSION_MIDDLEWARE": "false",
	}
}

func load(t *testing.T, vars map[string]string) env.Deployment {
	t.Helper()
	var b strings.Builder
	for k, v := range vars {
		b.WriteString(k + "='" + v + "'\n")
	}
	path := filepath.Join(t.TempDir(), "scaled.env")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := env.Load("to", path, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// told gives the findings as "ID first word of what was looked at".
func told(t *testing.T, f doctor.Facts) []string {
	t.Helper()
	r := doctor.Run(f)
	if r.Checks != r.Fine+len(r.Findings)+len(r.Unknown) {
		t.Errorf("%d checks are %d fine, %d findings and %d unknown", r.Checks, r.Fine, len(r.Findings), len(r.Unknown))
	}
	var out []string
	for _, x := range r.Findings {
		if x.Found == "" || x.Right == "" || x.Symptom == "" || x.Line == "" {
			t.Errorf("%s says too little: %+v", x.ID, x)
		}
		name, _, _ := strings.Cut(x.Looked, ",")
		out = append(out, x.ID+" "+name)
	}
	slices.Sort(out)
	return out
}

// off stands for a variable that is not set.
const off = "-"

// variableCase is a deployment that is fit but for some variables.
type variableCase struct {
	want    string // the findings
	vars    map[string]string
	workers int
	alone   bool // no other instance runs the migrations, and this one does
}

func (c variableCase) facts(t *testing.T) doctor.Facts {
	t.Helper()
	vars := fit()
	maps.Copy(vars, c.vars)
	maps.DeleteFunc(vars, func(_, v string) bool { return v == off })
	return doctor.Facts{Deployment: load(t, vars), Replicas: 2, Workers: c.workers, Primary: !c.alone}
}

func variableCases() []variableCase {
	type set = map[string]string
	return []variableCase{
		{want: "", vars: set{}},
		{want: "D01 DATABASE_URL", vars: set{"DATABASE_URL": off, "DATABASE_ENABLE_SESSION_SHARING": off, "PGVECTOR_DB_URL": "postgresql://owui:s3cretpw@pg.internal/owui"}},
		{want: "D06 DATABASE_POOL_SIZE", vars: set{"DATABASE_POOL_SIZE": off}},
		{want: "D38 DATABASE_USER_ACTIVE_STATUS_UPDATE_INTERVAL", vars: set{"DATABASE_USER_ACTIVE_STATUS_UPDATE_INTERVAL": off}},
		{want: "D56 addresses", vars: set{"REDIS_URL": "redis://redis-host:6379/0"}},
		{want: "D56 addresses", vars: set{"DATABASE_URL": "postgresql://owui:password@pg.internal/owui"}},
		{want: "D39 DATABASE_ENABLE_SESSION_SHARING", vars: set{"DATABASE_ENABLE_SESSION_SHARING": off}},
		{want: "D20 WEBSOCKET_REDIS_OPTIONS", vars: set{"REDIS_SENTINEL_HOSTS": "a", "REDIS_SOCKET_CONNECT_TIMEOUT": "5", "WEBSOCKET_SENTINEL_HOSTS": "a", "WEBSOCKET_REDIS_OPTIONS": `{"socket_timeout": 3}`}},
		{want: "", vars: set{"REDIS_SENTINEL_HOSTS": "a", "REDIS_SOCKET_CONNECT_TIMEOUT": "5", "WEBSOCKET_SENTINEL_HOSTS": "a", "WEBSOCKET_REDIS_OPTIONS": `{"socket_connect_timeout": 5}`}},
		{want: "D21 REDIS_URL", vars: set{"REDIS_URL": "redis://localhost:6379/0"}},
		{want: "D11 OAUTH_SESSION_TOKEN_ENCRYPTION_KEY", vars: set{"OAUTH_SESSION_TOKEN_ENCRYPTION_KEY": ""}},
		{want: "", vars: set{"OAUTH_SESSION_TOKEN_ENCRYPTION_KEY": "k3y-of-the-old-one"}},
		{want: "D41 CONTENT_EXTRACTION_ENGINE", vars: set{"CONTENT_EXTRACTION_ENGINE": off}},
		{want: "D41 RAG_EMBEDDING_ENGINE", vars: set{"RAG_EMBEDDING_ENGINE": off}},
		{want: "D47 ENABLE_ORJSON", vars: set{"ENABLE_ORJSON": "false"}},
		{want: "D47 ENABLE_COMPRESSION_MIDDLEWARE", vars: set{"ENABLE_COMPRESSION_MIDDLEWARE": off}},
		{want: "D12 REDIS_URL", vars: set{"REDIS_URL": "http://cache.internal"}},
		{want: "D13 ENABLE_WEBSOCKET_SUPPORT", vars: set{"ENABLE_WEBSOCKET_SUPPORT": "1"}},
		{want: "D13 WEBSOCKET_MANAGER", vars: set{"WEBSOCKET_MANAGER": "Redis"}},
		{want: "", vars: set{"REDIS_SENTINEL_HOSTS": "a,b", "REDIS_SOCKET_CONNECT_TIMEOUT": "5", "WEBSOCKET_SENTINEL_HOSTS": "a,b"}},
		{want: "D13 WEBSOCKET_SENTINEL_HOSTS", vars: set{"REDIS_SENTINEL_HOSTS": "a,b", "REDIS_SOCKET_CONNECT_TIMEOUT": "5"}},
		{want: "D19 REDIS_HEALTH_CHECK_INTERVAL", vars: set{"REDIS_HEALTH_CHECK_INTERVAL": "0"}},
		{want: "D20 REDIS_SOCKET_CONNECT_TIMEOUT", vars: set{"REDIS_SENTINEL_HOSTS": "a,b", "WEBSOCKET_SENTINEL_HOSTS": "a,b"}},
		{want: "D21 REDIS_SENTINEL_HOSTS", vars: set{"REDIS_SENTINEL_HOSTS": "a:26379", "REDIS_SOCKET_CONNECT_TIMEOUT": "5", "WEBSOCKET_SENTINEL_HOSTS": "a"}},
		{want: "D21 REDIS_URL", vars: set{"REDIS_SENTINEL_HOSTS": "a", "REDIS_SOCKET_CONNECT_TIMEOUT": "5", "WEBSOCKET_SENTINEL_HOSTS": "a", "REDIS_URL": "redis://:p%40ss@main/0"}},
		{want: "", vars: set{"REDIS_URL": "redis://:p%40ss@cache.internal/0"}},
		{want: "D21 REDIS_URL", vars: set{"REDIS_CLUSTER": "true", "REDIS_URL": "redis://cache.internal:6379/10"}},
		{want: "", vars: set{"REDIS_CLUSTER": "true"}},
		{want: "D46 ENABLE_STAR_SESSIONS_MIDDLEWARE", vars: set{"REDIS_CLUSTER": "true", "ENABLE_STAR_SESSIONS_MIDDLEWARE": "true"}},
		{want: "", vars: set{"ENABLE_STAR_SESSIONS_MIDDLEWARE": "true"}},
		{want: "D10 WEBUI_SECRET_KEY", vars: set{"WEBUI_SECRET_KEY": off}},
		{want: "", vars: set{"WEBUI_SECRET_KEY": off, "WEBUI_JWT_SECRET_KEY": "k3y-of-the-old-one"}},
		{want: "D45 JWT_EXPIRES_IN", vars: set{"JWT_EXPIRES_IN": "-1"}},
		{want: "D14 CORS_ALLOW_ORIGIN", vars: set{"CORS_ALLOW_ORIGIN": "*"}},
		{want: "D14 CORS_ALLOW_ORIGIN", vars: set{"CORS_ALLOW_ORIGIN": "https://a.internal,https://b.internal"}},
		{want: "D22 VECTOR_DB", vars: set{"VECTOR_DB": off}},
		{want: "", vars: set{"VECTOR_DB": off, "CHROMA_HTTP_HOST": "chroma.internal"}},
		{want: "D51 S3_KEY_PREFIX", vars: set{"STORAGE_PROVIDER": "s3", "S3_BUCKET_NAME": "ours"}},
		{want: "", vars: set{"STORAGE_PROVIDER": "s3", "S3_BUCKET_NAME": "ours", "S3_KEY_PREFIX": "owui"}},
		{want: "D34 ENABLE_DB_MIGRATIONS", vars: set{"ENABLE_DB_MIGRATIONS": off}},
		{want: "D34 ENABLE_DB_MIGRATIONS", vars: set{"ENABLE_DB_MIGRATIONS": off}, alone: true},
		{want: "D34 ENABLE_DB_MIGRATIONS", vars: set{}, alone: true},
		{want: "D36 UVICORN_WORKERS", vars: set{"UVICORN_WORKERS": "2", "ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS": "false"}},
		{want: "D37 THREAD_POOL_SIZE", vars: set{"THREAD_POOL_SIZE": "40"}},
		{want: "D40 ENABLE_REALTIME_CHAT_SAVE", vars: set{"ENABLE_REALTIME_CHAT_SAVE": "True"}},
		{want: "D36 UVICORN_WORKERS, D43 ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS", vars: set{}, workers: 2},
		{want: "D57 OTEL_EXPORTER_OTLP_INSECURE", vars: set{"ENABLE_OTEL": "true", "ENABLE_OTEL_TRACES": "true"}},
		{want: "", vars: set{"ENABLE_OTEL": "true", "ENABLE_OTEL_TRACES": "true", "OTEL_EXPORTER_OTLP_INSECURE": "true"}},
		{want: "", vars: set{"ENABLE_OTEL": "true", "ENABLE_OTEL_TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://otlp.internal:4317"}},
		{want: "D57 ENABLE_OTEL_TRACES", vars: set{"ENABLE_OTEL": "true"}},
		{want: "D31 S3_ENABLE_TAGGING", vars: set{"STORAGE_PROVIDER": "s3", "S3_BUCKET_NAME": "ours", "S3_KEY_PREFIX": "owui", "S3_ENDPOINT_URL": "https://id.r2.cloudflarestorage.com", "S3_ENABLE_TAGGING": "true"}},
		{want: "", vars: set{"STORAGE_PROVIDER": "s3", "S3_BUCKET_NAME": "ours", "S3_KEY_PREFIX": "owui", "S3_ENDPOINT_URL": "https://id.r2.cloudflarestorage.com"}},
		{want: "D12 REDIS_URL", vars: set{"REDIS_URL": off, "JWT_EXPIRES_IN": "7d"}},
	}
}

// Each check is silent on a fit deployment, and alone when its one variable is
// wrong.
func TestEachCheckFiresAlone(t *testing.T) {
	t.Parallel()
	for _, c := range variableCases() {
		if got := strings.Join(told(t, c.facts(t)), ", "); got != c.want {
			t.Errorf("%v: told %q, want %q", c.vars, got, c.want)
		}
	}
}

// oneProcess gives the facts of a single process on SQLite.
func oneProcess(t *testing.T, more map[string]string) doctor.Facts {
	t.Helper()
	vars := map[string]string{"WEBUI_SECRET_KEY": "k3y-of-the-old-one", "CORS_ALLOW_ORIGIN": "https://chat.internal", "JWT_EXPIRES_IN": "7d", "DATABASE_POOL_SIZE": "8"}
	maps.Copy(vars, more)
	maps.DeleteFunc(vars, func(_, v string) bool { return v == off })
	return doctor.Facts{Deployment: load(t, vars), Replicas: 1}
}

// One process needs nothing that is shared.
func TestOneProcess(t *testing.T) {
	t.Parallel()
	if got := told(t, oneProcess(t, nil)); len(got) > 0 {
		t.Errorf("told %v", got)
	}
	got := told(t, oneProcess(t, map[string]string{"DATABASE_POOL_SIZE": off, "DATABASE_ENABLE_SESSION_SHARING": "true", "CORS_ALLOW_ORIGIN": off}))
	if !slices.Equal(got, []string{"D08 DATABASE_POOL_SIZE", "D14 CORS_ALLOW_ORIGIN", "D39 DATABASE_ENABLE_SESSION_SHARING"}) {
		t.Errorf("SQLite: told %v", got)
	}
}

// The scaling guide's example leaves five things open that must be settled.
func TestMinimumOfTheScalingGuide(t *testing.T) {
	t.Parallel()
	d, err := env.Load("to", "testdata/minimum.env", t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := doctor.Run(doctor.Facts{Deployment: d, Replicas: 2})
	got := map[doctor.Severity][]string{}
	for _, x := range r.Findings {
		got[x.Severity] = append(got[x.Severity], x.ID+": "+x.Found)
	}
	want := map[doctor.Severity][]string{
		doctor.Must: {"D56: still as in the documentation's example: DATABASE_URL, PGVECTOR_DB_URL, REDIS_URL", "D10: not set",
			"D14: not set, *, or separated by commas", "D34: false: no instance is left to run the migrations", "D37: below 2000"},
		doctor.Should: {"D06: not set", "D38: not set, which means 60", "D39: not true", "D19: not set", "D47: true, which is the default",
			"D41: not set: inside Open WebUI", "D41: not set: inside Open WebUI"},
	}
	for s := range want {
		if !slices.Equal(got[s], want[s]) {
			t.Errorf("%s: %q, want %q", s, got[s], want[s])
		}
	}
	if !r.Unfit() || r.Left == 0 || len(r.Unknown) > 0 {
		t.Error("the example counts as fit")
	}
}
