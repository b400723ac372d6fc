package schema

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"outgrow/testdata/servers"
)

// A real server that has run the statements prints the file again, whatever
// the schema is called and however it is found.
func TestServerPrintsTheFileAgain(t *testing.T) {
	heads := []string{Heads()[0], newest}
	t.Run("any version", func(t *testing.T) {
		for _, head := range heads {
			for _, name := range []string{public, `owui data`, `it's "x"`, ""} {
				t.Run(head+" "+name, func(t *testing.T) {
					roundTrip(t, servers.PostgreSQL(t, servers.Plain), head, name)
				})
			}
		}
	})
	// Only PostgreSQL 18 keeps the names of NOT NULL constraints.
	t.Run("18", func(t *testing.T) {
		super := servers.Start(t, servers.Settings{Version: "18"})
		for _, head := range heads {
			t.Run(head, func(t *testing.T) {
				roundTrip(t, servers.Database(t, super, servers.Plain), head, "owui data")
			})
		}
	})
}

// roundTrip makes the schema as an ordinary role and compares.
func roundTrip(t *testing.T, dsn, head, name string) {
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	run := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatalf("%s\n%v", sql, err)
		}
	}
	in := name
	switch name {
	case public:
	case "":
		in = "found by path"
		run("CREATE SCHEMA " + quoteName(in))
		run("SET search_path TO " + quoteName(in))
	default:
		run("CREATE SCHEMA " + quoteName(name))
	}
	s := load(t, head)
	keys := NotValid // and Validate; the other way with a schema found by path
	if name == "" {
		keys = ForeignKeys
	}
	for _, phase := range []Phase{BeforeLoad, AfterLoad, keys} {
		for _, st := range s.Statements(name, phase) {
			run(st.SQL)
		}
	}
	if keys == NotValid {
		for _, st := range s.Statements(name, Validate) {
			run(st.SQL)
		}
	}
	var version int
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		t.Fatal(err)
	}
	var flags []string
	if version < 180000 {
		flags = []string{"--no-not-null-names"}
	}
	src, err := files.ReadFile(head + ".sql")
	if err != nil {
		t.Fatal(err)
	}
	want := normalize(t, src, flags...)
	got := string(dump(t, servers.SuperDSN(t, dsn), in))
	got = regexp.MustCompile(`(?m)^CREATE SCHEMA .*;$`).ReplaceAllString(got, "")
	got = strings.ReplaceAll(got, strings.ReplaceAll(quoteName(in), "'", "''")+".config_id_seq'", "public.config_id_seq'")
	got = strings.ReplaceAll(got, quoteName(in)+".", "public.")
	if got = normalize(t, []byte(got), flags...); got != want {
		t.Errorf("differs from the file:\n%s", firstDifference(got, want))
	}
}

// dump runs the pg_dump of PostgreSQL 18, which reads older servers too.
func dump(t *testing.T, dsn, schemaName string) []byte {
	t.Helper()
	script := exec.Command("bash", filepath.Join("..", "..", "testdata", "servers", "postgres.sh"), "install")
	script.Env = append(os.Environ(), "OUTGROW_PG=18")
	bin, err := script.Output()
	if err != nil {
		servers.Skip(t, "no pg_dump of PostgreSQL 18: %v", err)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("the DSN is not a URL")
	}
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	cmd := exec.Command(filepath.Join(strings.TrimSpace(string(bin)), "pg_dump"), "--schema-only", "--no-owner",
		"--no-privileges", "--no-comments", "--schema", quoteName(schemaName), "-d", u.String())
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
	return output(t, cmd)
}

func normalize(t *testing.T, sql []byte, flags ...string) string {
	t.Helper()
	cmd := exec.Command("python3", append([]string{"normalize.py"}, flags...)...)
	cmd.Stdin = bytes.NewReader(sql)
	return string(output(t, cmd))
}

func output(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(cmd.Path), err, said.String())
	}
	return out
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return "got  " + strings.Join(g[i:min(i+3, len(g))], "\n") + "\nwant " + strings.Join(w[min(i, len(w)):min(i+3, len(w))], "\n")
		}
	}
	return "got less than wanted"
}
