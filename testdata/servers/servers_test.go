package servers

import (
	"bufio"
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func ask[T any](t *testing.T, conn *pgx.Conn, query string) T {
	t.Helper()
	var got T
	if err := conn.QueryRow(t.Context(), query).Scan(&got); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return got
}

func TestPostgreSQLIsEmptyOrdinaryAndHasVector(t *testing.T) {
	t.Parallel()
	dsn := PostgreSQL(t)
	conn := connect(t, dsn)
	if ask[bool](t, conn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") {
		t.Error("the role is a superuser")
	}
	if n := ask[int](t, conn, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); n != 0 {
		t.Errorf("a new database has %d tables", n)
	}
	if d := ask[float64](t, conn, "SELECT '[1,2]'::vector <-> '[1,4]'::vector"); d != 2 {
		t.Errorf("distance = %v, want 2", d)
	}
	if _, err := conn.Exec(t.Context(), "CREATE SCHEMA outgrow; CREATE TABLE public.t (a text); COMMENT ON DATABASE "+
		ask[string](t, conn, "SELECT current_database()")+" IS 'mine'"); err != nil {
		t.Errorf("the role does not own its database: %v", err)
	}
	if !ask[bool](t, connect(t, SuperDSN(t, dsn)), "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") {
		t.Error("SuperDSN is no superuser")
	}
	if other := PostgreSQL(t); other == dsn {
		t.Error("two calls share a database")
	}
}

func TestNoExtensionLeavesItOut(t *testing.T) {
	t.Parallel()
	conn := connect(t, PostgreSQL(t, NoExtension))
	if n := ask[int](t, conn, "SELECT count(*) FROM pg_extension WHERE extname = 'vector'"); n != 0 {
		t.Error("the extension is there")
	}
	if n := ask[int](t, conn, "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'"); n != 1 {
		t.Error("the server has no pgvector")
	}
}

func TestPostgreSQL15HasLZ4(t *testing.T) {
	t.Parallel()
	conn := connect(t, PostgreSQL15(t))
	if _, err := conn.Exec(t.Context(), "SET default_toast_compression = lz4"); err != nil {
		t.Error(err)
	}
}

func TestStartOwnServerKeepsFsync(t *testing.T) {
	t.Parallel()
	super := Start(t, Settings{Version: "18", Fsync: true, Options: "-c max_connections=21"})
	conn := connect(t, Database(t, super))
	if got := ask[string](t, conn, "SHOW fsync"); got != "on" {
		t.Errorf("fsync = %s", got)
	}
	if got := ask[string](t, conn, "SHOW max_connections"); got != "21" {
		t.Errorf("max_connections = %s", got)
	}
	if got := ask[int](t, conn, "SELECT current_setting('server_version_num')::int / 10000"); got != 18 {
		t.Errorf("PostgreSQL %d", got)
	}
}

// TestServerEndsWithItsProcess kills the process that holds a server and waits for the server to go.
func TestServerEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(testdata(t), "servers", "postgres.sh")
	// sleep holds the only writing end of the pipe that the server's script waits on.
	holder := exec.Command("sleep", "600")
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Process.Kill()
	server := exec.Command("bash", script, "serve", dir)
	server.Stdin = out.(*os.File)
	said, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		server.Wait()
		Skip(t, "no PostgreSQL: %v", err)
	}
	dsn := strings.TrimSpace(line)
	connect(t, dsn).Close(t.Context())

	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Wait() }()
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		t.Fatal("the server's script outlives the process it belongs to")
	}
	if _, err := pgx.Connect(t.Context(), dsn); err == nil {
		t.Error("the server outlives its script")
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); !os.IsNotExist(err) {
		t.Error("the server's data is still there")
	}
}

func TestDataDirIsARealOne(t *testing.T) {
	t.Parallel()
	dir := DataDir(t)
	db, err := sql.Open("sqlite", filepath.Join(dir, "webui.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for query, want := range map[string]int{
		"SELECT count(*) FROM user":         20,
		"SELECT count(*) FROM chat":         200,
		"SELECT count(*) FROM chat_message": 2043,
		"SELECT count(*) FROM file":         30,
		"SELECT count(*) FROM memory":       13, // one of them is only in the -wal
	} {
		var got int
		if err := db.QueryRow(query).Scan(&got); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if got != want {
			t.Errorf("%s = %d, want %d", query, got, want)
		}
	}
	uploads, err := os.ReadDir(filepath.Join(dir, "uploads"))
	if err != nil {
		t.Fatal(err)
	}
	if len(uploads) != 30 {
		t.Errorf("%d uploads, want 30", len(uploads))
	}
	info, err := os.Stat(filepath.Join(dir, "uploads"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o755 || time.Since(info.ModTime()) < time.Minute {
		t.Errorf("uploads: mode %v, time %v: not those of the archive", info.Mode(), info.ModTime())
	}
}

func TestLegacyDBCameFromPeewee(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", LegacyDB(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow("SELECT count(*) FROM migratehistory").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Error("no peewee migration is recorded")
	}
}
