package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outgrow/testdata/servers"
)

// nextStep fails unless a failure says what to do.
func (r result) nextStep() result {
	r.tb.Helper()
	if !strings.Contains(r.both(), "fix") {
		r.tb.Errorf("outgrow %s names no next step:\n%s", strings.Join(r.args, " "), r.both())
	}
	return r
}

// commands that need both sides.
var pairs = []string{"plan", "migrate", "verify"}

// What keeps a target from being reached is the environment's: exit 3, with the
// next step, and the target can be used as soon as it is mended.
func TestTargetOutOfReach(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	const nobody = "127.0.0.1:1"
	// The test server trusts everybody; a role that may not log in and a server
	// that is asked for TLS are refused all the same.
	super, locked := servers.SuperDSN(t, dsn), (&lab{tb: t, dsn: dsn}).role()+"_locked"
	do(t, super, "CREATE ROLE "+locked+" NOLOGIN PASSWORD 'x'")
	t.Cleanup(func() { do(t, super, "DROP ROLE "+locked) })
	for _, c := range []struct {
		name string
		url  string
		says []string
	}{
		{"no such database", with(t, dsn, func(u *url.URL) { u.Path = "/nowhere" }), []string{"nowhere", "CREATE DATABASE"}},
		{"no login", with(t, dsn, func(u *url.URL) { u.User = url.UserPassword(locked, "x") }), nil},
		{"server down", with(t, dsn, func(u *url.URL) { u.Host = nobody }), []string{nobody}},
		{"no such host", with(t, dsn, func(u *url.URL) { u.Host = "db.invalid:5432" }), []string{"db.invalid"}},
		{"no TLS", with(t, dsn, func(u *url.URL) { u.RawQuery = "sslmode=require" }), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := labOn(t, servers.DataDir(t), c.url)
			before := tree(t, l.from)
			for _, command := range pairs {
				l.in(l.pair(command)...).exits(3, c.says...).nextStep()
			}
			l.in("status", "--to", l.env).exits(3, c.says...).nextStep()
			unchanged(t, l.from, before)
			l.dsn = dsn
			if n := ask[int](l, "SELECT count(*) FROM pg_tables WHERE schemaname = 'outgrow'"); n != 0 {
				t.Errorf("%d tables were made", n)
			}
		})
	}
}

// passwordServer is a server of the test's own that asks for passwords.
func passwordServer(t *testing.T) (dsn string) {
	t.Helper()
	super := servers.Start(t, servers.Settings{Version: "16"})
	dsn = servers.Database(t, super)
	c := conn(t, super)
	var hba string
	if err := c.QueryRow(context.Background(), "SHOW hba_file").Scan(&hba); err != nil {
		t.Fatal(err)
	}
	text := "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(hba, []byte(text), 0o600); err != nil {
		servers.Skip(t, "the server's pg_hba.conf cannot be written: %v", err)
	}
	if _, err := c.Exec(context.Background(), "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	// The server does so in its own time.
	wrong := with(t, dsn, func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wrong") })
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		let, err := pgx.Connect(context.Background(), wrong)
		if err != nil {
			return dsn
		}
		_ = let.Close(context.Background())
		if time.Now().After(deadline) {
			t.Fatal("the server still asks for no password")
		}
	}
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	dsn := passwordServer(t)
	l := labOn(t, servers.DataDir(t), dsn)
	wrong := "h0rse battery+st%ple"
	l.set("DATABASE_URL", with(t, dsn, func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), wrong) }))
	for _, command := range append([]string{"status"}, pairs...) {
		args := l.pair(command)
		if command == "status" {
			args = []string{"status", "--to", l.env}
		}
		r := l.in(args...).exits(3, "password").nextStep()
		for _, form := range forms(wrong) {
			if strings.Contains(r.both(), form) {
				t.Errorf("%s shows the password:\n%s", command, r.both())
			}
		}
	}
	l.environ = []string{"OUTGROW_TO_DATABASE_URL=" + dsn}
	l.plan().exits(0)
}

// inUse makes what a used target holds.
const aUser = `INSERT INTO "user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at) VALUES ('u', 'U', 'u@example.com', 'admin', '', 1, 1, 1)`

// A target that somebody uses is not written to.
func TestTargetInUse(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	createdByApp(t, l, head)
	do(t, l.dsn, aUser)
	before := l.targetCounts()
	l.plan().exits(2, "outgrow did not write", "user").nextStep()
	l.migrate().exits(2, "outgrow did not write").nextStep()
	after := l.targetCounts()
	for name, n := range before {
		if after[name] != n {
			t.Errorf("%s had %d rows and has %d", name, n, after[name])
		}
	}
	l.migrate("--replace").exits(0)
	l.equal()
	l.sameCounts(l.sourceCounts(), 674)
}

// Another source must not be mixed into what was begun.
func TestOtherSource(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate().exits(0)
	other := *l
	other.from = filepath.Dir(servers.LegacyDB(t))
	other.migrate().exits(2).nextStep()
	l.equal()
}

// While a run holds the target, a second one keeps away, and the first goes on.
func TestAnotherRunIsAtWork(t *testing.T) {
	t.Parallel()
	l := newLab(t, bigData(t, "50MB"))
	rows := func() int {
		if !ask[bool](l, "SELECT to_regclass('outgrow.part') IS NOT NULL") {
			return 0
		}
		return ask[int](l, "SELECT coalesce(sum(written), 0) FROM outgrow.part")
	}
	// At this rate it takes minutes.
	first := l.start(l.pair("migrate", "--rate", "100")...).until("its first rows", func() bool { return rows() > 0 })
	second := l.migrate()
	if second.code != 2 && second.code != 3 {
		t.Errorf("the second run: exit %d\n%s", second.code, second.both())
	}
	second.says("another outgrow").nextStep()
	before := rows()
	first.until("more rows", func() bool { return rows() > before }).signal(syscall.SIGINT)
	first.end().exits(130)
	l.migrate().exits(0, "resumed")
	l.equal()
}

func TestUnknownHead(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	onSQLite(t, filepath.Join(l.from, "webui.db"), "UPDATE alembic_version SET version_num = 'feedfacecafe'")
	r := l.plan().exits(2, "feedfacecafe", "start the Open WebUI release that wrote the source once on the empty target").nextStep()
	if strings.Contains(r.both(), "is not part of Open WebUI's schema") {
		t.Errorf("Open WebUI's own tables are said to be none:\n%s", r.both())
	}
	l.migrate().exits(2, "feedfacecafe").nextStep()

	// The way out works: that release made the target itself.
	createdByApp(t, l, head)
	do(t, l.dsn, "UPDATE alembic_version SET version_num = 'feedfacecafe'")
	l.migrate().exits(0)
	l.equal()
	if got := ask[string](l, "SELECT version_num FROM alembic_version"); got != "feedfacecafe" {
		t.Errorf("alembic_version = %s", got)
	}
}

// What is no source is said to be none: a matter of the arguments (2) or of the
// machine (3), with the next step, and nothing is written.
func TestSourceIsNone(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	folder := func(name string, make func(dir string)) string {
		dir := filepath.Join(l.dir, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		make(dir)
		return dir
	}
	write := func(dir, name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, from string
		says       string
	}{
		{"missing", filepath.Join(l.dir, "nothing"), "nothing"},
		{"empty folder", folder("empty", func(string) {}), "webui.db"},
		{"not a database", folder("text", func(dir string) { write(dir, "webui.db", strings.Repeat("no database at all\n", 1000)) }), "webui.db"},
		{"an empty file", folder("zero", func(dir string) { write(dir, "webui.db", "") }), "webui.db"},
		{"cut off", folder("cut", func(dir string) {
			body, err := os.ReadFile(filepath.Join(l.from, "webui.db"))
			if err != nil {
				t.Fatal(err)
			}
			write(dir, "webui.db", string(body[:len(body)/3]))
		}), "webui.db"},
		{"cut off, with its log", folder("cutlog", func(dir string) {
			for name, n := range map[string]int{"webui.db": 3_000_000, "webui.db-wal": 1 << 30} {
				body, err := os.ReadFile(filepath.Join(l.from, name))
				if err != nil {
					t.Fatal(err)
				}
				write(dir, name, string(body[:min(n, len(body))]))
			}
		}), "webui.db"},
		{"somebody else's", folder("other", func(dir string) {
			onSQLite(t, filepath.Join(dir, "webui.db"), "CREATE TABLE recipes (id INTEGER)", "INSERT INTO recipes VALUES (1)")
		}), "Open WebUI"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, command := range pairs {
				r := l.in(command, "--from", c.from, "--to", l.env)
				if r.code != 2 && r.code != 3 {
					t.Errorf("%s: exit %d\n%s", command, r.code, r.both())
				}
				r.tb = t
				r.says(c.says).nextStep()
			}
		})
	}
	if n := ask[int](l, "SELECT count(*) FROM pg_tables WHERE schemaname IN ('outgrow', 'public')"); n != 0 {
		t.Errorf("%d tables were made", n)
	}
	l.migrate().exits(0)
	l.equal()
}

// The target's files are never written into the source, by whatever path.
func TestTargetInSource(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	inside, link := filepath.Join(l.from, "uploads"), filepath.Join(l.dir, "link")
	if err := os.Symlink(inside, link); err != nil {
		t.Fatal(err)
	}
	before := tree(t, l.from)
	for _, folder := range []string{inside, link} {
		l.set("DATA_DIR", folder)
		for _, command := range []string{"plan", "migrate"} {
			l.in(l.pair(command)...).exits(2, "lie in each other").nextStep()
		}
		l.migrate("--only", "files").exits(2, "lie in each other")
	}
	// And a source that lies where the target's uploads go.
	from := filepath.Join(l.share, "uploads")
	if err := os.CopyFS(from, os.DirFS(l.from)); err != nil {
		t.Fatal(err)
	}
	l.set("DATA_DIR", l.share)
	moved := *l
	moved.from = from
	moved.plan().exits(2, "lie in each other")
	unchanged(t, l.from, before)
	// What is written elsewhere may be.
	l.set("DATA_DIR", inside)
	l.set("PGVECTOR_DB_URL", l.dsn)
	l.migrate("--only", "vectors").exits(0)
	unchanged(t, l.from, before)
}

// nobody runs commands on a lab as an account that owns the target's side alone, with
// their state in a folder.
func nobody(t *testing.T, l *lab) (as func(command string) result, state string) {
	t.Helper()
	setpriv, err := exec.LookPath("setpriv")
	if err != nil || os.Getuid() != 0 {
		servers.Skip(t, "running as another account needs setpriv and root: %v", err)
	}
	for _, dir := range []string{l.from, filepath.Dir(l.from), l.dir, filepath.Dir(l.dir), l.share} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	state = filepath.Join(l.dir, "state")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{l.env, l.share, state} {
		if err := os.Chown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	return func(command string) result {
		args := append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", program(t)}, l.pair(command, "--state", state)...)
		cmd := exec.Command(setpriv, args...)
		cmd.Dir = "/"
		return l.wait(cmd)
	}, state
}

// A folder below uploads that may not be listed is told of, by plan as by migrate.
func TestUnlistedFolder(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	as, _ := nobody(t, l)
	if err := os.Mkdir(filepath.Join(l.from, "uploads", "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	as("plan").exits(0, "uploads/closed", "--accept unreadable")
	as("migrate").exits(4, "uploads/closed", "unreadable")
}

// An account that may not read the source is told which file.
func TestUnreadableSource(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"webui.db", "webui.db-wal", "vector_db/chroma.sqlite3", "uploads"} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, "")
			as, state := nobody(t, l)
			path := filepath.Join(l.from, name)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, 0); err != nil {
				t.Fatal(err)
			}
			as("migrate").exits(3, filepath.Base(name), "permission denied").nextStep()
			if err := os.Chmod(path, info.Mode()); err != nil {
				t.Fatal(err)
			}
			as("migrate").exits(0)
			l.equal("--state", state)
		})
	}
}

// All mistakes of the configuration at once, each with variable and fix.
func TestConfigurationErrors(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.set("DATABASE_URL", "mysql://u:hidden-word@h/d")
	l.set("VECTOR_DB", "qdrant")
	l.set("STORAGE_PROVIDER", "s3")
	r := l.migrate().exits(2, "DATABASE_URL", "VECTOR_DB", "STORAGE_PROVIDER")
	if strings.Contains(r.both(), "hidden-word") {
		t.Errorf("the password is shown:\n%s", r.both())
	}
	for _, args := range [][]string{{}, {"migrate"}, {"migrate", "--from", l.from}, {"frobnicate"}, l.pair("migrate", "--only", "people"), l.pair("plan", "--direct-url", "u:p@h")} {
		var b strings.Builder
		if code := run(context.Background(), args, nil, &b, &b); code != 2 || b.Len() == 0 {
			t.Errorf("outgrow %v: exit %d: %s", args, code, b.String())
		}
	}
}

// The state must not lie in the source.
func TestStateInTheSource(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	before := tree(t, l.from)
	l.migrate("--state", filepath.Join(l.from, "state")).exits(2, "never written to").nextStep()
	unchanged(t, l.from, before)
}

// A role that may create neither schema nor tables, and one that may create
// tables only: the journal then stands beside Open WebUI's tables.
func TestRights(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	l := labOn(t, servers.DataDir(t), dsn)
	super := servers.SuperDSN(t, dsn)
	role := ask[string](l, "SELECT current_user::text") + "_guest"
	database := ask[string](l, "SELECT current_database()::text")
	do(t, super, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'x'", role))
	t.Cleanup(func() {
		c, err := pgx.Connect(context.Background(), super)
		if err == nil {
			_, _ = c.Exec(context.Background(), "DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role, pgx.QueryExecModeSimpleProtocol)
			_ = c.Close(context.Background())
		}
	})
	guest := with(t, dsn, func(u *url.URL) { u.User = url.UserPassword(role, "x") })
	l.set("DATABASE_URL", guest)
	l.plan().exits(2, "GRANT").nextStep()
	l.migrate().exits(2, "GRANT").nextStep()
	do(t, super, fmt.Sprintf("REVOKE CREATE ON DATABASE %s FROM %s", database, role), "GRANT USAGE, CREATE ON SCHEMA public TO "+role)
	l.migrate().exits(0)
	l.equal()
	if ask[bool](l, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'outgrow')") {
		t.Error("a schema was made")
	}
	if !ask[bool](l, "SELECT to_regclass('public._outgrow_part') IS NOT NULL") {
		t.Error("no journal beside the tables")
	}
}
