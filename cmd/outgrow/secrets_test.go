package main

import (
	"bytes"
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

// Neither what is printed nor what is kept holds a secret, in success and in
// failure, for people and as JSON; and no process shows one in its arguments.
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
	do(t, super, "ALTER ROLE "+u.User.Username()+" PASSWORD '"+password+"'")
	secret := with(t, dsn, func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), password) })
	l.dsn = secret
	l.set("DATABASE_URL", secret)
	l.set("WEBUI_SECRET_KEY", key)
	onSQLite(t, filepath.Join(l.from, "webui.db"), "INSERT INTO chat_message SELECT 'orphan', 'nobody', user_id, role, parent_id, content, output, model_id, files, sources, embeds, done, status_history, error, usage, created_at, updated_at, context_summary, meta FROM chat_message LIMIT 1")

	var words []string
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
	check := func(want int, args ...string) {
		t.Helper()
		r := l.in(args...).exits(want)
		runs++
		look("the output of outgrow "+strings.Join(args, " "), r.both())
	}
	for _, json := range [][]string{nil, {"--json"}} {
		check(0, l.pair("plan", json...)...)
		// The process shows its arguments and, to its own account, its
		// environment: the file's secrets must be in neither.
		cmd := l.command(l.pair("migrate", json...)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"cmdline", "environ", "comm"} {
			if body, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/" + name); err == nil {
				look(name, string(body))
			}
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 4 {
			t.Fatalf("migrate: %v, want 4 (an orphan nobody accepted): %s", err, out.String())
		}
		look("the output of migrate", out.String())
		check(4, l.pair("verify", json...)...)
		check(4, l.pair("migrate", json...)...)
		check(0, l.pair("migrate", append(json, "--accept", "orphan")...)...)
		check(0, l.pair("verify", json...)...)
		check(0, append([]string{"report", "--to", l.env}, json...)...)
		to := []string{"--to", l.env}
		check(0, append(append([]string{"status"}, to...), json...)...)
		check(0, append([]string{"status", "--quarantine", "--ledger"}, to...)...)
		check(4, append(append([]string{"replay"}, to...), json...)...)
		check(0, l.pair("migrate", append(json, "--accept", "orphan", "--replace")...)...)
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
	}
	// The password in parts, as Open WebUI also takes it, and not encoded.
	l.set("DATABASE_URL", "")
	for name, value := range map[string]string{"TYPE": "postgresql", "USER": u.User.Username(), "PASSWORD": password, "HOST": u.Hostname(), "PORT": u.Port(), "NAME": "x"} {
		l.set("DATABASE_"+name, value)
	}
	look("the output of plan with the parts", l.plan().both())

	if files < 3 {
		t.Errorf("only %d files were looked into", files)
	}
	t.Logf("%d runs and %d files hold no secret", runs, files)
}
