package main

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"outgrow/testdata/servers"
)

// forms are the spellings of a secret that must not appear anywhere.
func forms(secret string) []string {
	return []string{secret, url.QueryEscape(secret), url.PathEscape(secret), url.UserPassword("", secret).String()[1:]}
}

// Neither what is printed, kept nor told to those who watch holds a secret, in
// success and in failure, for people and as JSON; and no process shows one in its
// arguments.
func TestNoSecretAnywhere(t *testing.T) {
	t.Parallel()
	dsn := passwordServer(t)
	super := servers.SuperDSN(t, dsn)
	password, key := "p@ss/w:d ünd+ % geheim", "key#with?signs&+ ßecret"
	l := labOn(t, servers.DataDir(t), dsn)
	role := with(t, dsn, func(u *url.URL) { u.Path = "" })
	u, err := url.Parse(role)
	if err != nil {
		t.Fatal(err)
	}
	do(t, super, "ALTER ROLE "+u.User.Username()+" CREATEDB PASSWORD '"+password+"'")
	name := scratchName(t, dsn)
	rehearse := func(more ...string) []string {
		return l.pair("rehearse", append([]string{"--database", name}, more...)...)
	}
	secret := with(t, dsn, func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), password) })
	l.dsn = secret
	l.set("DATABASE_URL", secret)
	l.set("WEBUI_SECRET_KEY", key)
	// A mark in what else the target's file may hold of secrets.
	const mark, header = "M4rkedS3cret", "h3aderS3cret"
	for _, name := range []string{"OPENAI_API_KEY", "OAUTH_CLIENT_SECRET", "LDAP_APP_PASSWORD", "OTEL_BASIC_AUTH_PASSWORD", "OTEL_EXPORTER_OTLP_HEADERS", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY",
		"AZURE_STORAGE_KEY", "QDRANT_API_KEY", "PINECONE_API_KEY", "MILVUS_TOKEN", "RAG_OPENAI_API_KEY"} {
		l.set(name, mark+name)
	}
	l.set("REDIS_URL", "redis://user:"+mark+"@127.0.0.1:1/0")
	l.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:"+mark+"@127.0.0.1:1")
	collector := servers.StartCollector(t)
	onSQLite(t, filepath.Join(l.from, "webui.db"), "INSERT INTO chat_message SELECT 'orphan', 'nobody', user_id, role, parent_id, content, output, model_id, files, sources, embeds, done, status_history, error, usage, created_at, updated_at, context_summary, meta FROM chat_message LIMIT 1")

	words := []string{mark}
	for _, s := range []string{password, key} {
		words = append(words, forms(s)...)
	}
	look := func(where, text string) {
		t.Helper()
		for _, w := range words {
			if strings.Contains(text, w) {
				t.Errorf("%s holds a secret (%q)", where, w)
			}
		}
	}
	runs, files := 0, 0
	// keep looks into everything that is kept below a folder.
	keep := func(name string) {
		t.Helper()
		err := filepath.WalkDir(filepath.Join(l.dir, name), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			body, err := os.ReadFile(path)
			if err == nil {
				files++
				look(path, string(body))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	protocol := ""
	check := func(want int, args ...string) {
		t.Helper()
		cmd := l.command(args...)
		cmd.Env = append(cmd.Env, otlp(collector, protocol, header)...)
		r := l.wait(cmd).exits(want)
		runs++
		look("the output of outgrow "+strings.Join(args, " "), r.both())
		if strings.Contains(r.both(), header) || strings.Contains(r.both(), "could not all be sent") {
			t.Errorf("outgrow %s: %s", strings.Join(args, " "), r.both())
		}
	}
	for i, json := range [][]string{nil, {"--json"}} {
		protocol = []string{"grpc", "http/protobuf"}[i]
		check(0, l.pair("plan", json...)...)
		// The process shows its arguments and, to its own account, its
		// environment: the file's secrets must be in neither.
		h := l.hold(otlp(collector, protocol, header), json...)
		for _, name := range []string{"cmdline", "environ", "comm"} {
			if body, err := os.ReadFile("/proc/" + strconv.Itoa(h.cmd.Process.Pid) + "/" + name); err == nil {
				look(name, string(body))
			}
		}
		look("the page of metrics", h.scrape(`lane="rows"`, `lane="vectors"`, `lane="files"`))
		beside, lines := l.beside(json...)
		look("the output of status --watch", until(t, lines, []string{"vectors in progress", `"lane":"vectors"`}[i]))
		interrupted := h.interrupt().exits(130)
		look("the output of migrate, interrupted", interrupted.both())
		look("the output of status --watch", until(t, lines, []string{"failed migrate", `"failed":`}[i]))
		_ = beside.Process.Kill()
		_ = beside.Wait()
		check(4, l.pair("migrate", json...)...)
		check(4, l.pair("verify", json...)...)
		check(4, l.pair("migrate", json...)...)
		check(0, l.pair("migrate", append(json, "--accept", "orphan")...)...)
		check(0, l.pair("verify", json...)...)
		check(0, append([]string{"report", "--to", l.env}, json...)...)
		to := []string{"--to", l.env}
		check(0, append(append([]string{"status"}, to...), json...)...)
		check(0, append([]string{"status", "--quarantine", "--ledger"}, to...)...)
		check(0, append(append([]string{"status", "--watch"}, to...), json...)...)
		check(4, append(append([]string{"replay"}, to...), json...)...)
		check(0, l.pair("migrate", append(json, "--accept", "orphan", "--replace")...)...)
		check(4, rehearse(json...)...)
		check(4, rehearse(append(json, "--verify", "--env-out", filepath.Join(l.dir, "rehearsal.env"))...)...)
		keep("scaled.outgrow")
		check(0, rehearse(append(json, "--remove")...)...)
		check(2, rehearse(append(json, "--remove")...)...)
		do(t, secret, "DROP SCHEMA public, outgrow CASCADE")
		do(t, with(t, super, func(s *url.URL) { d, _ := url.Parse(dsn); s.Path = d.Path }), "CREATE SCHEMA public AUTHORIZATION "+u.User.Username(), "CREATE EXTENSION vector")
		keep("scaled.outgrow")
		if err := os.RemoveAll(filepath.Join(l.dir, "scaled.outgrow")); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(l.share); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(l.share, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, broken := range []func(*url.URL){
		func(u *url.URL) { u.Path = "/nowhere" },
		func(u *url.URL) { u.Host = "127.0.0.1:1" },
		func(u *url.URL) { u.Host = "127.0.0.1:notaport" },
		func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), password+password) },
		func(u *url.URL) { u.User = url.UserPassword("nobody", password) },
		func(u *url.URL) { u.Scheme = "mysql" },
		func(u *url.URL) { u.RawQuery = "sslmode=verify-full" },
		func(u *url.URL) { u.RawQuery = "sslmode=nonsense" },
		func(u *url.URL) { u.RawQuery = "sslmode=disable&password=" + url.QueryEscape(password) },
	} {
		bad, err := url.Parse(secret)
		if err != nil {
			t.Fatal(err)
		}
		broken(bad)
		l.set("DATABASE_URL", bad.String())
		for _, command := range pairs {
			for _, more := range [][]string{nil, {"--json"}} {
				r := l.in(l.pair(command, more...)...)
				runs++
				if r.code == 0 && !strings.Contains(bad.RawQuery, "password") {
					t.Errorf("%s with a broken address: exit 0", command)
				}
				look("the output of a failing "+command, r.both())
			}
		}
		look("the output of rehearse with a broken address", l.in(rehearse("--only", "rows")...).both())
		look("the output of a removal with a broken address", l.in(rehearse("--remove", "--json")...).both())
	}
	// The password in parts, as Open WebUI also takes it, and not encoded.
	l.set("DATABASE_URL", "")
	for name, value := range map[string]string{"TYPE": "postgresql", "USER": u.User.Username(), "PASSWORD": password, "HOST": u.Hostname(), "PORT": u.Port(), "NAME": "x"} {
		l.set("DATABASE_"+name, value)
	}
	look("the output of plan with the parts", l.plan().both())

	log := collector.Log(t)
	look("what the collector has got", log)
	for _, want := range []string{"Name           : outgrow plan", "Name           : outgrow migrate", "Name           : outgrow verify", "Str(stopped)", "Name: outgrow.records.read"} {
		if !strings.Contains(log, want) {
			t.Errorf("the collector has not got %s", want)
		}
	}
	for name, word := range map[string]string{"a header": header, "the target's folder": l.dir, "the source's folder": l.from} {
		if strings.Contains(log, word) {
			t.Errorf("the collector has got %s", name)
		}
	}

	if files < 3 {
		t.Errorf("only %d files were looked into", files)
	}
	t.Logf("%d runs and %d files hold no secret", runs, files)
}
