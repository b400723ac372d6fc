package dependencies_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/dependencies"
	"outgrow/mappings/env"
)

// rows makes settings of keys and values.
func rows(tb testing.TB, pairs ...any) (out []dependencies.Setting) {
	tb.Helper()
	for i := 0; i < len(pairs); i += 2 {
		v, err := json.Marshal(pairs[i+1])
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, dependencies.Setting{Key: pairs[i].(string), Value: v})
	}
	return out
}

// lines are the items as text, without their notes.
func lines(r dependencies.Report) (out []string) {
	for _, i := range r.Items {
		idle := ""
		if i.Idle {
			idle = " idle"
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s: %s %s%s", i.Kind, i.Where, i.What, i.Reach, idle)))
	}
	return out
}

func TestSettings(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	for name, c := range map[string]struct {
		rows []any
		want []string
	}{
		"how far a name holds": {[]any{"rag.tika_server_url", "http://localhost:9998", "openai.api_base_urls", []string{"http://host.docker.internal:1/v1", "http://vllm:8000/v1", "http://llm.svc.cluster.local/v1",
			"https://llm.corp.internal/v1", "http://10.1.2.3/v1", "http://[::1]:8/v1", "http://[fd00::5]/v1", "https://api.openai.com/v1", "http://8.8.8.8/v1"}},
			[]string{"host openai.api_base_urls: http://[::1]:8 machine", "host openai.api_base_urls: http://host.docker.internal:1 machine", "host rag.tika_server_url: http://localhost:9998 machine",
				"host openai.api_base_urls: http://llm.svc.cluster.local network", "host openai.api_base_urls: http://vllm:8000 network", "host openai.api_base_urls: http://10.1.2.3 private",
				"host openai.api_base_urls: http://[fd00::5] private", "host openai.api_base_urls: https://llm.corp.internal private", "host openai.api_base_urls: http://8.8.8.8 public", "host openai.api_base_urls: https://api.openai.com public"}},
		"what is switched off": {[]any{"rag.content_extraction_engine", "docling", "rag.docling_server_url", "http://docling:5001", "rag.tika_server_url", "http://tika:9998", "ollama.enable", false, "ollama.base_urls", []string{"http://ollama:11434"},
			"image_generation.enable", true, "image_generation.engine", "", "image_generation.automatic1111.base_url", "http://a1111:7860", "image_generation.comfyui.base_url", "http://comfy:8188",
			"web.search.enable", true, "web.search.engine", "searxng", "web.search.searxng_query_url", "http://searx:8080/?q=<query>", "web.search.yacy_query_url", "http://yacy:8090"},
			[]string{"host image_generation.automatic1111.base_url: http://a1111:7860 network", "host rag.docling_server_url: http://docling:5001 network", "host web.search.searxng_query_url: http://searx:8080 network",
				"host image_generation.comfyui.base_url: http://comfy:8188 network idle", "host ollama.base_urls: http://ollama:11434 network idle", "host rag.tika_server_url: http://tika:9998 network idle",
				"host web.search.yacy_query_url: http://yacy:8090 network idle"}},
		"connections": {[]any{"tool_server.connections", []m{{"url": "http://mcpo:8000", "info": m{"name": "files", "id": "x"}, "key": "s3cret"}, {"url": "http://unnamed:1"}}, "terminal_server.connections", []m{{"url": "https://term.lan", "name": "lab"}}},
			[]string{"host tool_server.connections: http://unnamed:1 network", "host tool_server.connections (files): http://mcpo:8000 network", "host terminal_server.connections (lab): https://term.lan private"}},
		"external knowledge": {[]any{"external_knowledge.connections", []m{{"name": "wiki", "provider": "qdrant", "endpoint": "http://qdrant.lan:6333", "enabled": true, "auth_config": m{"api_key": "k"}},
			{"name": "old", "provider": "pgvector", "endpoint": "host=pg port=5433 user=u password=s3cret dbname=x", "enabled": false}, {"name": "odd", "provider": "pgvector", "endpoint": "postgresql://u:s3c/ret@pg/x"}}},
			[]string{"knowledge odd (pgvector): an address that cannot be shown", "knowledge wiki (qdrant): http://qdrant.lan:6333 private", "knowledge old (pgvector): postgresql://pg:5433 network idle"}},
		"ldap, files and models": {[]any{"ldap.enable", true, "ldap.server.host", "ad.corp", "ldap.server.ca_cert_file", "/certs/ad.pem", "rag.embedding_engine", "", "rag.embedding_model", "BAAI/bge-m3", "audio.stt.engine", "openai", "audio.stt.whisper_model", "base"},
			[]string{"host ldap.server.host: ad.corp private", "file ldap.server.ca_cert_file: /certs/ad.pem", "model rag.embedding_model: BAAI/bge-m3"}},
		"services with volumes of their own": {[]any{"ollama.base_urls", []string{"http://ollama:11434"}, "openai.api_base_urls", []string{"http://pipelines:9099", "https://x.example.com:9099"}},
			[]string{"host ollama.base_urls: http://ollama:11434 network", "host openai.api_base_urls: http://pipelines:9099 network", "host openai.api_base_urls: https://x.example.com:9099 public",
				"volume ollama.base_urls: Ollama at ollama:11434", "volume openai.api_base_urls: Pipelines at pipelines:9099"}},
		"only host and port": {[]any{"webhook_url", "https://hooks.example.com/services/T0/B0/s3cret", "rag.external_reranker_url", "https://user:s3cret@rank.lan:9/x?key=s3cret#s3cret", "webui.url", "https://chat.example.com"},
			[]string{"host rag.external_reranker_url: https://rank.lan:9 private", "host webhook_url: https://hooks.example.com public", "host webui.url: https://chat.example.com public"}},
		"texts, broken and odd values": {[]any{"ui.banners", []m{{"content": "http://x"}}, "rag.template", "http://x", "task.title.prompt_template", "http://x", "rag.top_k", 3, "webhook_url", "see http://x", "x", nil, "y", "://", "z", "http://"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := dependencies.Find(rows(t, c.rows...), nil)
			if got := lines(r); !slices.Equal(got, c.want) {
				t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if text := fmt.Sprintf("%+v", r); strings.Contains(text, "s3cret") || strings.Contains(text, "s3c") {
				t.Error(text)
			}
		})
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	from := env.Deployment{Side: "from", DataDir: "/app/backend/data", Vars: map[string]env.Secret{
		"AIOHTTP_CLIENT_SSL_CERT_FILE": "/certs/ca.pem", "MILVUS_SERVER_PEM_PATH": "/app/backend/data/m.pem", "S3_SECRET_ACCESS_KEY": "/s3cret/x", "STATIC_DIR": "/brand", "CUSTOM_NAME": "acme", "USE_OLLAMA_DOCKER": "True",
		"DATABASE_URL": "postgresql://u:s3cret@h/d?sslrootcert=/certs/pg.pem&sslkey=relative", "DATA_DIR": "/app/backend/data", "WEBUI_NAME": "/x", "OTEL_EXPORTER_OTLP_CERTIFICATE": "-----BEGIN", "ELASTICSEARCH_CA_CERTS": ""}}
	to := env.Deployment{Side: "to", DataDir: "/data", Vars: map[string]env.Secret{"REDIS_URL": "rediss://:s3cret@r/0?ssl_ca_certs=/certs/redis.pem", "ENABLE_PERSISTENT_CONFIG": "false"}}
	settings := rows(t, "rag.tika_server_url", "http://tika:1")
	want := []string{"host rag.tika_server_url: http://tika:1 network", "file from: AIOHTTP_CLIENT_SSL_CERT_FILE: /certs/ca.pem", "file from: DATABASE_URL sslrootcert: /certs/pg.pem", "file to: REDIS_URL ssl_ca_certs: /certs/redis.pem",
		"volume from: USE_OLLAMA_DOCKER: Ollama in Open WebUI's own container", "branding from: CUSTOM_NAME: api.openwebui.com", "branding from: STATIC_DIR: /brand"}
	r := dependencies.Find(settings, nil, from, to)
	if got := lines(r); !slices.Equal(got, want) || strings.Contains(fmt.Sprintf("%+v", r), "s3cret") {
		t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	from.Vars["ENABLE_PERSISTENT_CONFIG"] = "false"
	if got := lines(dependencies.Find(settings, nil, from, to)); !slices.Equal(got, want[1:]) {
		t.Errorf("rows that are not read: %q", got)
	}
}

func TestRequirements(t *testing.T) {
	t.Parallel()
	for content, want := range map[string][]string{
		"\"\"\"\ntitle: x\nrequirements: requests, boto3>=1.28,<2 , uvicorn[standard,test]==0.3\nversion: 1\n\"\"\"\nrequirements: no": {"requests", "boto3>=1.28,<2", "uvicorn[standard,test]==0.3"},
		"\"\"\"\r\nRequirements: no\r\nrequirements: a,, b,\r\n\"\"\"":                                                                 {"a", "b"},
		"\"\"\"\nrequirements:\n\"\"\"":            nil,
		"# first\n\"\"\"\nrequirements: a\n\"\"\"": nil,
		"": nil,
	} {
		if got := dependencies.Requirements(content); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", content, got, want)
		}
	}
	plugin := func(kind, id, requirements string, installs bool) dependencies.Plugin {
		return dependencies.Plugin{Kind: kind, ID: id, Content: "\"\"\"\nrequirements: " + requirements + "\n\"\"\"\n", Installs: installs}
	}
	r := dependencies.Find(nil, []dependencies.Plugin{plugin("tool", "b", "requests, git+https://s3cret@git.lan/x.git#egg=x, y @ https://h/y.whl?sig=s3cret", true), plugin("function", "a", "requests", false)})
	want := []string{"# complete the address: git+https://git.lan/x.git#egg=x", "# complete the address: y @ https://h/y.whl", "requests"}
	if !slices.Equal(r.Requirements, want) || len(r.Items) != 4 || strings.Contains(fmt.Sprintf("%+v", r), "s3cret") {
		t.Errorf("%q, %+v", r.Requirements, r.Items)
	}
}

func TestFlatten(t *testing.T) {
	t.Parallel()
	got := dependencies.Flatten([]byte(`{"version":0,"rag":{"tika_server_url":"http://tika:1","file":{"max":null}},"ollama":{"base_urls":["a"]}}`))
	var out []string
	for _, s := range got {
		out = append(out, s.Key+"="+string(s.Value))
	}
	if want := []string{`ollama.base_urls=["a"]`, `rag.file.max=null`, `rag.tika_server_url="http://tika:1"`, `version=0`}; !slices.Equal(out, want) {
		t.Errorf("%q", out)
	}
	if got := dependencies.Flatten([]byte("broken")); got != nil {
		t.Errorf("%v", got)
	}
}

func TestCaches(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"cache/whisper/models/base/model.bin", "cache/audio/speech/x.mp3"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := dependencies.Caches(dir)
	if len(got) != 1 || got[0].What != "cache/whisper" || got[0].Bytes != 1000 {
		t.Errorf("%+v", got)
	}
	if r := (dependencies.Report{Items: []dependencies.Item{{Kind: dependencies.Package}}}).Sum(got); len(r.Items) != 2 || r.Items[0].Kind != dependencies.Cache {
		t.Errorf("%+v", r)
	}
}
