package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/dependencies"
)

// leaning makes the real data folder lean on what outgrow does not move. mark is
// what every secret of it begins with.
func leaning(tb testing.TB, from, mark string) {
	tb.Helper()
	row := func(key, value string) string {
		return `INSERT INTO config (key, value, updated_at) VALUES ('` + key + `', '` + strings.ReplaceAll(value, "MARK", mark) + `', 1) ON CONFLICT (key) DO UPDATE SET value = excluded.value`
	}
	front := func(text string) string {
		return `"""` + "\ntitle: x\nrequirements: " + strings.ReplaceAll(text, "MARK", mark) + "\n" + `"""` + "\n"
	}
	onSQLite(tb, filepath.Join(from, "webui.db"),
		row("rag.content_extraction_engine", `"tika"`), row("rag.tika_server_url", `"http://user:MARK01@tika:9998/MARK02?key=MARK03"`),
		row("openai.api_base_urls", `["http://127.0.0.1:18998/v1","http://pipelines:9099"]`), row("openai.api_keys", `["MARK04","MARK05"]`),
		row("tool_server.connections", `[{"url":"http://host.docker.internal:8000","key":"MARK06","info":{"name":"files"},"headers":{"X":"MARK07"}}]`),
		row("external_knowledge.connections", `[{"id":"1","name":"wiki","provider":"pgvector","endpoint":"postgresql://u:MARK08@wiki.lan/x","auth_config":{"api_key":"MARK09"},"enabled":true}]`),
		row("ldap.enable", `true`), row("ldap.server.ca_cert_file", `"/certs/ldap.pem"`), row("ldap.server.app_password", `"MARK10"`),
		row("webhook_url", `"https://hooks.example.com/services/MARK11"`), row("rag.external_reranker_url", `"http://reranker/MARK12"`),
		row("audio.stt.engine", `""`), row("audio.stt.whisper_model", `"base"`),
		`UPDATE function SET is_active = 1, content = '`+front("boto3>=1.28,<2, requests")+`'`,
		`UPDATE tool SET content = '`+front("git+https://MARK13@git.lan/x.git#egg=x, requests")+`', valves = '{"api_key":"`+mark+`14"}'`)
	cache := filepath.Join(from, "cache", "whisper", "models")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cache, "model.bin"), make([]byte, 2500), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// What plan tells of, prints and keeps; no secret of the settings, the tools or the
// variables among it, in any form or file.
func TestPlanTellsWhatElseThereIs(t *testing.T) {
	t.Parallel()
	const mark = "M4rkedS3cret"
	l := newLab(t, "")
	leaning(t, l.from, mark)
	for name, value := range map[string]string{"S3_SECRET_ACCESS_KEY": mark + "20", "OPENAI_API_KEY": mark + "21", "REDIS_URL": "rediss://:" + mark + "22@r/0?ssl_ca_certs=/certs/redis.pem", "NEVER_HEARD_OF_PATH": "/opt/x",
		"TOOL_SERVER_CONNECTIONS": `[{"key":"` + mark + `23"}]`, "LDAP_APP_PASSWORD": mark + "24", "WEBHOOK_URL": "https://h/" + mark + "25", "STATIC_DIR": "/brand"} {
		l.set(name, value)
	}
	people := l.plan().exits(0, "leans on what is not moved", "http://host.docker.internal:8000", "tool_server.connections (files)", "http://tika:9998", "Pipelines at pipelines:9099", "wiki (pgvector)", "postgresql://wiki.lan",
		"/certs/ldap.pem", "to: REDIS_URL ssl_ca_certs", "cache/whisper (2.5 kB)", "audio.stt.whisper_model", "to: STATIC_DIR", "boto3>=1.28,<2", "function filter_a", "git+https://git.lan/x.git#egg=x", "switched off: --json lists them", "ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS=false")
	if strings.Contains(people.both(), "hooks.example.com") {
		t.Error("public hosts one by one")
	}
	r := l.plan("--json").exits(0)
	var got struct {
		Detail struct {
			Dependencies dependencies.Report
			Requirements string
		}
	}
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
		t.Fatal(err)
	}
	for _, want := range []dependencies.Item{{Kind: dependencies.Host, Where: "webhook_url", What: "https://hooks.example.com", Reach: dependencies.Public}, {Kind: dependencies.Host, Where: "rag.external_reranker_url", What: "http://reranker", Reach: dependencies.Network, Idle: true}} {
		if !slices.ContainsFunc(got.Detail.Dependencies.Items, func(i dependencies.Item) bool { i.Note = ""; return i == want }) {
			t.Errorf("%+v is not in %+v", want, got.Detail.Dependencies.Items)
		}
	}
	body, err := os.ReadFile(got.Detail.Requirements)
	if _, lines, _ := strings.Cut(string(body), "\n"); err != nil || lines != "# complete the address: git+https://git.lan/x.git#egg=x\nboto3>=1.28,<2\nrequests\n" {
		t.Errorf("%q, %v", body, err)
	}
	var kept report
	body, err = os.ReadFile(filepath.Join(l.dir, "scaled.outgrow", "report.json"))
	if err == nil {
		err = json.Unmarshal(body, &kept)
	}
	if err != nil || len(kept.Plan.Dependencies.Items) != len(got.Detail.Dependencies.Items) {
		t.Errorf("the report has %+v, %v", kept.Plan, err)
	}
	noMark(t, mark, filepath.Join(l.dir, "scaled.outgrow"), people, r)
	noMark(t, mark, l.dir+"/scaled.outgrow", l.plan("--only", "vectors").exits(2, "leans on"), l.plan("--only", "files", "--json").exits(0, "/certs/redis.pem"))
}

// noMark fails where anything printed, or kept below a folder, has a mark.
func noMark(tb testing.TB, mark, dir string, runs ...result) {
	tb.Helper()
	for _, r := range runs {
		if i := strings.Index(r.both(), mark); i >= 0 {
			tb.Errorf("outgrow %s shows a secret: …%.80s", strings.Join(r.args, " "), r.both()[max(i-40, 0):])
		}
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if strings.Contains(string(body), mark) {
			tb.Errorf("%s holds a secret", path)
		}
		return err
	})
	if err != nil {
		tb.Error(err)
	}
}
