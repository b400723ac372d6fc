package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/secrets"
	rowsource "outgrow/source/postgres"
	"outgrow/source/sqlite"
)

// tokens gives what Open WebUI's own functions have encrypted, by kind.
func tokens(t *testing.T, file string) (out map[secrets.Kind]string) {
	t.Helper()
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join("..", "..", "mappings", "secrets", "testdata", file))), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// encrypt stores a token of each kind in every place where Open WebUI keeps one.
func (l *lab) encrypt(t *testing.T, of map[secrets.Kind]string) {
	t.Helper()
	var do []string
	add := func(kind secrets.Kind, format string, more ...any) {
		if token := of[kind]; token != "" {
			do = append(do, fmt.Sprintf(format, append([]any{token}, more...)...))
		}
	}
	const first = `(SELECT id FROM "user" ORDER BY id LIMIT 1)`
	add(secrets.Session, "INSERT INTO oauth_session (id, user_id, provider, token, expires_at, created_at, updated_at) SELECT 's1', "+first+", 'oidc', '%s', 1, 1, 1")
	add(secrets.MFA, `UPDATE auth SET mfa = '{"secret": "%s"}' WHERE id = `+first)
	add(secrets.App, `INSERT INTO app (id, slug, name, data, api_key, created_at, updated_at) VALUES ('a1', 'a1', 'a1', '{"connection_token": "%[1]s"}', '%[1]s', 1, 1)`)
	add(secrets.Valves, `INSERT INTO function (id, name, valves) VALUES ('f1', 'f1', '"%[1]s"')`)
	add(secrets.Valves, `INSERT INTO tool (id, name, valves) VALUES ('t1', 't1', '"%[1]s"')`)
	add(secrets.Valves, `UPDATE "user" SET settings = '{"functions": {"valves": {"f1": "%[1]s"}}, "tools": {"valves": {"t1": "%[1]s"}}}' WHERE id = `+first)
	add(secrets.Client, `INSERT INTO config (key, value) VALUES ('tool_server.connections', '[{"info": {"oauth_client_info": "%[1]s"}}, {"info": null}]')
		ON CONFLICT (key) DO UPDATE SET value = excluded.value`)
	onSQLite(t, filepath.Join(l.from, "webui.db"), do...)
}

// secondFactors switches sign-in with one on.
func (l *lab) secondFactors(t *testing.T) {
	t.Helper()
	onSQLite(t, filepath.Join(l.from, "webui.db"), "INSERT INTO config (key, value) VALUES ('auth.mfa.enable', 'true') ON CONFLICT (key) DO UPDATE SET value = 'true'")
}

// Both readers find what is encrypted in all its places, and open it.
func TestSecretsStored(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.encrypt(t, tokens(t, "tokens.json"))
	l.secondFactors(t)
	l.set("WEBUI_SECRET_KEY", "plain-secret")
	l.migrate().exits(0)
	src, err := sqlite.Open(context.Background(), sqlite.Config{Path: filepath.Join(l.from, "webui.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := rowsource.Open(context.Background(), rowsource.Config{URL: env.Secret(l.dsn), MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	want := map[secrets.Kind]int{secrets.Session: 1, secrets.Client: 1, secrets.MFA: 1, secrets.App: 2, secrets.Valves: 4}
	for name, db := range map[string]encrypted{"SQLite": src, "PostgreSQL": dst} {
		var all []secrets.Token
		for token, err := range db.Tokens(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, token)
		}
		trial := secrets.NewKeys("plain-secret", nil).Try(all)
		if fmt.Sprint(trial.Stored) != fmt.Sprint(want) || fmt.Sprint(trial.Opens) != fmt.Sprint(want) {
			t.Errorf("%s: %v of %v open, want %v", name, trial.Opens, trial.Stored, want)
		}
		if on, err := db.SecondFactor(context.Background()); err != nil || !on {
			t.Errorf("%s: sign-in with a second factor is %v, %v", name, on, err)
		}
	}
}

// What another key on the target would lose is said by plan, and needs consent;
// with second factors it is refused.
func TestSecretsOfAnotherKey(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	keyFile := filepath.Join(filepath.Dir(l.from), secrets.FileName)
	l.set("WEBUI_SECRET_KEY", "")
	l.plan().exits(0, "warn    the target names no WEBUI_SECRET_KEY")
	if err := os.WriteFile(keyFile, []byte("plain-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.plan().exits(0, "with a new one everybody would have to sign in again", "ends in a line break, and nothing that is stored tells")
	l.set("WEBUI_SECRET_KEY", "another")
	l.plan().exits(0, "accept? the target's WEBUI_SECRET_KEY is not the source's", "sign in again")

	l.encrypt(t, tokens(t, "tokens.json"))
	l.set("WEBUI_SECRET_KEY", "plain-secret")
	l.plan().exits(0, "opens 9 of 9 stored secrets: users stay signed in")
	l.set("MFA_ENCRYPTION_KEY", "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=")
	l.plan().exits(0, "accept? ", "1 of 1 second factor would be lost")
	l.set("MFA_ENCRYPTION_KEY", "")
	l.set("WEBUI_SECRET_KEY", "")
	l.plan().exits(0, "accept? the target names no WEBUI_SECRET_KEY: with a new one 9 stored secrets would be lost")
	l.set("WEBUI_SECRET_KEY", "another")
	l.plan().exits(0, "2 of 2 app keys", "4 of 4 valve settings", "would be lost, and everybody would have to sign in again", "--accept secret-key")
	stop := "echo must not run >&2; exit 1"
	l.in(l.guided("--yes", "--stop-cmd", stop)...).exits(4, "--accept secret-key").nextStep()
	l.in("migrate", "--from", l.from, "--to", l.env, "--only", "rows").exits(4, "--accept secret-key")
	l.in("migrate", "--from", l.from, "--to", l.env, "--only", "rows", "--accept", "secret-key").exits(0)

	l.secondFactors(t)
	l.in(l.guided("--yes", "--stop-cmd", stop, "--accept", "secret-key")...).exits(2, "does not open 1 second factor", "Open WebUI would not start")
	l.set("ENABLE_PERSISTENT_CONFIG", "false")
	l.plan("--accept", "secret-key").exits(0, "agreed ")
}

// The source's key is carried byte for byte into the env file, with the line
// break that `open-webui serve` takes for a part of it, and is never printed.
func TestSecretsCarried(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.set("WEBUI_SECRET_KEY", "")
	if err := os.WriteFile(filepath.Join(filepath.Dir(l.from), secrets.FileName), []byte("plain-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.encrypt(t, tokens(t, "tokens-break.json"))
	l.secondFactors(t)
	out := filepath.Join(l.dir, "start.env")
	l.in(l.guided("--yes")...).exits(4, "Open WebUI would not start", "--accept secret-key").nextStep()
	r := l.in(l.guided("--yes", "--env-out", out)...).exits(0, "is carried over into --env-out", "byte for byte", "docker run --env-file reads it wrong")
	for _, text := range []string{r.both(), readFile(t, filepath.Join(l.stateDir(), "report.json")), readFile(t, filepath.Join(l.stateDir(), cutoverFile))} {
		for _, f := range forms("plain-secret") {
			if strings.Contains(text, f) {
				t.Errorf("the key is shown in %.200s", text)
			}
		}
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("--env-out: %v %v", info, err)
	}
	to, err := env.Load("to", out, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if to.SecretKey.Reveal() != "plain-secret\n" || to.Vars["DATABASE_URL"].Reveal() != l.dsn {
		t.Error("the env file does not give the target's variables and the source's key")
	}
}
