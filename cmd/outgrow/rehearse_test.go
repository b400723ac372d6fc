package main

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"outgrow/pipeline/localstate"
	"outgrow/pipeline/pipetest"
	"outgrow/sink/scratch"
	"outgrow/testdata/servers"
)

// acting gives the source one of everything that a started Open WebUI acts on by
// itself; two users with webhooks and an active function it has already.
func (l *lab) acting() {
	l.tb.Helper()
	onSQLite(l.tb, filepath.Join(l.from, "webui.db"),
		`UPDATE chat SET timer_at = 1, meta = '{"type":"timer","status":"pending","timer_at":1}' WHERE id = (SELECT min(id) FROM chat)`,
		`UPDATE automation SET is_active = 1, next_run_at = 1`,
		`UPDATE calendar_event SET is_cancelled = 0, meta = '{"alert_minutes":10}'`,
		`INSERT INTO config (key, value, updated_at) VALUES ('events.webhooks', '[{"id":"e","url":"https://hooks.example.com/e","events":["*"]}]', 1)`,
		`UPDATE config SET value = '"https://hooks.example.com/old"' WHERE key = 'webhook_url'`,
		`UPDATE config SET value = 'true' WHERE key = 'ui.enable_user_webhooks'`,
		`UPDATE config SET value = '[{"url":"https://tools.example.com","config":{"enable":true}}]' WHERE key = 'tool_server.connections'`,
		`UPDATE config SET value = '[{"url":"https://terminals.example.com"}]' WHERE key = 'terminal_server.connections'`,
		`INSERT INTO app (id, slug, name, is_active, data, created_at, updated_at) VALUES ('a', 'a', 'A', 1, '{}', 1, 1)`)
}

// active counts what would act by itself, as Open WebUI looks for it.
const active = `SELECT ((SELECT count(*) FROM chat WHERE timer_at IS NOT NULL OR meta->>'status' = 'pending')
 + (SELECT count(*) FROM automation WHERE is_active OR next_run_at < 2)
 + (SELECT count(*) FROM calendar_event WHERE NOT is_cancelled AND coalesce((meta->>'alert_minutes')::numeric, 0) >= 0)
 + (SELECT count(*) FROM (SELECT json_array_elements(CASE WHEN key = 'events.webhooks' THEN value ELSE '[]' END) AS w FROM config) h WHERE coalesce((w->>'enabled')::boolean, true))
 + (SELECT count(*) FROM config WHERE key = 'webhook_url' AND value::text <> '""')
 + (SELECT count(*) FROM config WHERE key = 'ui.enable_user_webhooks' AND value::text = 'true')
 + (SELECT count(*) FROM (SELECT json_array_elements(CASE WHEN key = 'tool_server.connections' THEN value ELSE '[]' END) AS w FROM config) h WHERE (w->'config'->>'enable')::boolean)
 + (SELECT count(*) FROM (SELECT json_array_elements(CASE WHEN key = 'terminal_server.connections' THEN value ELSE '[]' END) AS w FROM config) h WHERE coalesce((w->>'enabled')::boolean, true))
 + (SELECT count(*) FROM "user" WHERE settings #>> '{ui,notifications,webhook_url}' <> '')
 + (SELECT count(*) FROM app WHERE is_active) + (SELECT count(*) FROM function WHERE is_active))::int`

// acts is what active counts of the source: nine that acting makes, two users, a
// function.
const acts = 12

// rehearsed is a lab whose scratch database has a name of its own, as tests share
// a server; side is the scratch side as it is asked.
func rehearsed(t *testing.T) (l, side *lab, super, name string) {
	t.Helper()
	l = newLab(t, "")
	super, name = servers.SuperDSN(t, l.dsn), scratchName(t, l.dsn)
	at := *l
	at.dsn = with(t, l.dsn, func(u *url.URL) { u.Path = "/" + name })
	return l, &at, super, name
}

// scratchName is a name beside that of the database, which is dropped at the end.
func scratchName(tb testing.TB, dsn string) string {
	tb.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal("the DSN is not a URL")
	}
	name := strings.TrimPrefix(u.Path, "/") + "_r"
	tb.Cleanup(func() { do(tb, servers.SuperDSN(tb, dsn), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	return name
}

func (l *lab) role() string {
	l.tb.Helper()
	u, err := url.Parse(l.dsn)
	if err != nil {
		l.tb.Fatal("the DSN is not a URL")
	}
	return u.User.Username()
}

func (l *lab) rehearse(name string, more ...string) result {
	l.tb.Helper()
	return l.in(l.pair("rehearse", append([]string{"--database", name}, more...)...)...)
}

// nothingOf fails unless nothing is left of a rehearsal.
func (l *lab) nothingOf(name string, paths ...string) {
	l.tb.Helper()
	if n := ask[int](l, "SELECT count(*)::int FROM pg_database WHERE datname = $1 OR datname LIKE 'outgrow\\_making\\_%' AND pg_has_role(datdba, 'USAGE')", name); n != 0 {
		l.tb.Errorf("%d databases of the rehearsal are left", n)
	}
	paths = append(paths, l.share+"-rehearsal", filepath.Join(l.stateDir(), rehearsalFile), filepath.Join(l.stateDir(), rehearsalFolder))
	for _, path := range paths {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			l.tb.Errorf("%s is left: %v", path, err)
		}
	}
}

// A rehearsal goes into a database and a folder of its own, in which nothing acts
// by itself; neither side is changed, and its removal takes away exactly what it
// has made.
func TestRehearse(t *testing.T) {
	t.Parallel()
	l, side, super, name := rehearsed(t)
	l.acting()
	before := tree(t, l.from)
	l.rehearse(name).exits(3, "CREATEDB", scratch.Mark).nextStep()
	l.nothingOf(name)
	do(t, super, "ALTER ROLE "+l.role()+" CREATEDB")

	// What plan refuses leaves nothing.
	other := *l
	other.from = servers.DataDir(t)
	onSQLite(t, filepath.Join(other.from, "webui.db"), "UPDATE alembic_version SET version_num = 'ffffffffffff'")
	other.rehearse(name).exits(2, "nothing was written").nextStep()
	l.nothingOf(name)

	file := filepath.Join(l.dir, "rehearsal.env")
	r := l.rehearse(name, "--env-out", file, "--verify").exits(0, "without the vectors", "verify: equal", "changed 2 values of rows/user: rehearsal", "ready   ", "look    ", "remove  ")
	u, err := url.Parse(l.dsn)
	if err != nil {
		t.Fatal("the DSN is not a URL")
	}
	password, _ := u.User.Password()
	r.lacks(password, "outgrow verify")
	if n := ask[int](side, active); n != 0 {
		t.Errorf("%d things on the scratch side act by themselves", n)
	}
	if !side.released() || ask[int](side, `SELECT count(*)::int FROM "user"`) != 20 {
		t.Error("there is nothing to look at")
	}
	if n := l.traces(); n != 0 || ask[bool](l, `SELECT to_regclass('chat') IS NOT NULL`) {
		t.Errorf("the target was written to: %d traces", n)
	}
	if entries, err := os.ReadDir(l.share); err != nil || len(entries) > 0 {
		t.Errorf("in the target's folder are %v %v", entries, err)
	}
	text := readFile(t, file)
	for _, line := range []string{"/" + name, "SAFE_MODE=true", "VECTOR_DB=chroma", "DATA_DIR=" + l.share + "-rehearsal", "WEBUI_NAME=", "WEBUI_SECRET_KEY="} {
		if !strings.Contains(text, line) {
			t.Errorf("the env file lacks %q", line)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the env file: %v %v", info, err)
	}

	// Every other command on the scratch side silences, too.
	scratchArgs := []string{"--from", l.from, "--to", file, "--state", filepath.Join(l.stateDir(), rehearsalFolder), "--only", "rows,files"}
	l.in(append([]string{"verify"}, scratchArgs...)...).exits(0, "verify: equal")
	do(t, side.dsn, "UPDATE automation SET is_active = true")
	l.in(append([]string{"verify"}, scratchArgs...)...).exits(4, "rows/automation")
	do(t, side.dsn, "UPDATE automation SET is_active = false")
	l.rehearse(name).exits(0, "there    it was made", "DATABASE_URL=", "SAFE_MODE=true").lacks(password)
	l.rehearse(name, "--data", filepath.Join(l.dir, "elsewhere")).exits(2, "its folder is").nextStep()
	l.rehearse(name+"x", "--remove").exits(2, "it has made the database "+name).nextStep()
	lock, err := localstate.Lock(filepath.Join(l.stateDir(), rehearsalLock))
	if err != nil {
		t.Fatal(err)
	}
	l.rehearse(name, "--remove").exits(3, "taking the lock").nextStep()
	localstate.Unlock(lock)

	// What is not its own is left, whatever it is called.
	state, err := readRehearsal(l.stateDir())
	if err != nil {
		t.Fatal(err)
	}
	do(t, super, "COMMENT ON DATABASE "+name+" IS 'mine'")
	l.rehearse(name).exits(2, "has not made it").nextStep()
	l.rehearse(name, "--remove").exits(2, "It is not removed").nextStep()
	do(t, super, "COMMENT ON DATABASE "+name+" IS '"+scratch.Of(state.ID)+"'")
	mark := filepath.Join(state.Data, folderMark)
	if err := os.Rename(mark, mark+"x"); err != nil {
		t.Fatal(err)
	}
	l.rehearse(name, "--remove").exits(2, "does not bear this rehearsal's mark").nextStep()
	if !side.released() {
		t.Fatal("the database is gone although the folder was refused")
	}
	if err := os.Rename(mark+"x", mark); err != nil {
		t.Fatal(err)
	}
	l.rehearse(name, "--remove").exits(0, "removed the database "+name)
	l.nothingOf(name, file)
	l.rehearse(name, "--remove").exits(2, "tells of none").nextStep()
	unchanged(t, l.from, before)

	// The migration itself silences nothing.
	l.migrate().exits(0)
	if n := ask[int](l, active); n != acts {
		t.Errorf("%d things act by themselves on the target, %d on the source", n, acts)
	}
	l.equal()

	// A target in use is left as it is, and never taken for the rehearsal's.
	own := strings.TrimSuffix(name, "_r")
	l.rehearse(own, "--only", "rows").exits(2, "is the target's own database").nextStep()
	l.rehearse(name, "--only", "rows").exits(0, "ready   ")
	if n := ask[int](side, active); n != 0 {
		t.Errorf("%d things on the scratch side act by themselves", n)
	}
	l.rehearse(name, "--remove").exits(0)
	l.nothingOf(name)
	if n := ask[int](l, active); n != acts {
		t.Errorf("%d things act by themselves on the target after a rehearsal", n)
	}
	l.equal()
}

// Wherever it is killed, the same command goes on, and its removal finds all that
// was made: here are the states between its steps.
func TestRehearseKilled(t *testing.T) {
	t.Parallel()
	l, side, super, name := rehearsed(t)
	do(t, super, "ALTER ROLE "+l.role()+" CREATEDB")
	const id = "00112233445566ff"
	s := rehearsalState{ID: id, Phase: rehearsalMaking, Database: name, Data: l.share + "-rehearsal"}
	kept := func() {
		t.Helper()
		if err := os.MkdirAll(l.stateDir(), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := s.save(l.stateDir()); err != nil {
			t.Fatal(err)
		}
	}
	role := l.role()
	unnamed := func() { do(t, super, "CREATE DATABASE outgrow_making_"+id+" OWNER "+role) }
	folder := func() {
		do(t, super, "CREATE DATABASE "+name+" OWNER "+role, "COMMENT ON DATABASE "+name+" IS '"+scratch.Of(id)+"'")
		if err := os.Mkdir(s.Data+"."+id, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		when   string
		left   func()
		goesOn bool
	}{
		{"before anything was made", func() {}, false},
		{"with a database without its name", unnamed, false},
		{"with a database without its name", unnamed, true},
		{"with a folder without its name", folder, false},
		{"with a folder without its name", folder, true},
	} {
		kept()
		c.left()
		if c.goesOn {
			l.rehearse(name, "--only", "rows").exits(0, "ready   ")
		}
		l.rehearse(name, "--remove").exits(0, "removed the database "+name)
		l.nothingOf(name, s.Data+"."+id)
		if t.Failed() {
			t.Fatalf("killed %s", c.when)
		}
	}

	// At its end, and in the middle of the removal: the database is gone, the rest is not.
	l.rehearse(name).exits(0)
	state, err := readRehearsal(l.stateDir())
	if err != nil {
		t.Fatal(err)
	}
	state.Phase = rehearsalMaking
	if err := state.save(l.stateDir()); err != nil {
		t.Fatal(err)
	}
	l.rehearse(name, "--verify").exits(0, "verify: equal")
	if n := ask[int](side, active); n != 0 {
		t.Errorf("%d things on the scratch side act by themselves", n)
	}
	do(t, super, "DROP DATABASE "+name)
	l.rehearse(name).exits(2, "is gone").nextStep()
	l.rehearse(name, "--remove").exits(0, "which was gone already")
	l.nothingOf(name)
}

// Whatever moment a rehearsal dies at, the same command ends it, and its removal
// leaves nothing.
func TestKillRehearse(t *testing.T) {
	t.Parallel()
	n := 1
	if os.Getenv("OUTGROW_KILLS") != "" {
		n = pipetest.Kills(t)
	}
	program(t)
	l, side, super, name := rehearsed(t)
	l.acting()
	before := tree(t, l.from)
	do(t, super, "ALTER ROLE "+l.role()+" CREATEDB")
	command := func() *exec.Cmd { return l.command(l.pair("rehearse", "--database", name)...) }
	began := time.Now()
	l.wait(command()).exits(0)
	length := time.Since(began)
	l.rehearse(name, "--remove").exits(0)
	random, killed := rand.New(rand.NewPCG(rand.Uint64(), 8)), 0
	for i := range n {
		if r := l.signalled(command(), syscall.SIGKILL, time.Duration((float64(i)+random.Float64())/float64(n)*float64(length))); r.code == -1 {
			killed++
		}
		l.wait(command()).exits(0, "ready   ")
		if n := ask[int](side, active); n != 0 {
			t.Errorf("%d things on the scratch side act by themselves", n)
		}
		l.rehearse(name, "--remove").exits(0)
		l.nothingOf(name)
		if n := l.traces(); n != 0 {
			t.Errorf("the target was written to: %d traces", n)
		}
	}
	unchanged(t, l.from, before)
	t.Logf("%d of %d rehearsals were killed", killed, n)
}

// Where the role may make no database, or no extension, somebody else makes it; it
// must be marked, and empty.
func TestRehearseByHand(t *testing.T) {
	t.Parallel()
	l, side, super, name := rehearsed(t)
	do(t, super, "CREATE DATABASE "+name+" OWNER "+l.role()+" TEMPLATE template0 ENCODING 'UTF8'")
	l.rehearse(name).exits(2, "has not made it", "COMMENT ON DATABASE").nextStep()
	do(t, super, "COMMENT ON DATABASE "+name+" IS '"+scratch.Mark+"'")
	do(t, servers.SuperDSN(t, side.dsn), "CREATE EXTENSION vector", "CREATE TABLE somebodys (id int)")
	l.rehearse(name).exits(2, "is not empty").nextStep()
	do(t, servers.SuperDSN(t, side.dsn), "DROP TABLE somebodys")
	data := filepath.Join(l.dir, "looked-at")
	l.rehearse(name, "--data", data).exits(0, "rows, vectors, files")
	if n := ask[int](side, "SELECT count(*)::int FROM document_chunk"); n != 674 {
		t.Errorf("%d vectors are there", n)
	}
	if n := ask[int](side, "SELECT count(*)::int FROM file WHERE path LIKE $1", data+"/uploads/%"); n != 30 {
		t.Errorf("%d rows lead into the scratch folder", n)
	}
	l.rehearse(name, "--remove").exits(0)
	l.nothingOf(name, data)
}

// What cannot be rehearsed is refused by name, before a server is asked.
func TestRehearseRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "scaled.env")
	if err := os.WriteFile(file, []byte("DATABASE_URL=postgresql://u@127.0.0.1:1/x\nVECTOR_DB=pgvector\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(dir, "data")
	if err := os.Mkdir(from, 0o755); err != nil {
		t.Fatal(err)
	}
	l := &lab{tb: t, dir: dir, from: from, env: file}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--only", "files"}, "without its rows"},
		{[]string{"--database", "Robert'); DROP"}, "no plain name"},
		{[]string{"--database", strings.Repeat("x", 64)}, "no plain name"},
	} {
		l.in(l.pair("rehearse", c.args...)...).exits(2, c.says).nextStep()
	}
}
