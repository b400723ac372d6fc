package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite"

	"outgrow/mappings/fstype"
	"outgrow/testdata/servers"
)

// built is the program, compiled at most once for all tests of a run.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(appFolder); dir != "" {
		appMain(dir)
		return
	}
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// program gives the path of the compiled program, which other accounts may run.
func program(tb testing.TB) string {
	tb.Helper()
	built.once.Do(func() {
		//nolint:usetesting // shared by all tests of the run, removed by TestMain.
		if built.dir, built.err = os.MkdirTemp("", "outgrow-bin."); built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil {
			return
		}
		if out, err := exec.Command("go", "build", "-o", filepath.Join(built.dir, "outgrow"), ".").CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if built.err != nil {
		tb.Fatalf("building the program: %v", built.err)
	}
	return filepath.Join(built.dir, "outgrow")
}

// lab is a pair of deployments: a data folder, an empty database with the files
// of the target beside it, and the env file that describes them.
type lab struct {
	tb      testing.TB
	dir     string // everything of the target: env file, shared folder, state
	from    string
	share   string // the target's DATA_DIR
	env     string // the target's env file
	dsn     string
	vars    map[string]string
	environ []string
	fs      fstype.Detect // nil for the real one; of in only
}

// newLab makes a pair out of the data folder from ("" for the small real one)
// and a database with pgvector.
func newLab(tb testing.TB, from string, options ...servers.Option) *lab {
	tb.Helper()
	if from == "" {
		from = servers.DataDir(tb)
	}
	return labOn(tb, from, servers.PostgreSQL(tb, options...))
}

// labOn is newLab with a given database.
func labOn(tb testing.TB, from, dsn string) *lab {
	tb.Helper()
	l := &lab{tb: tb, dir: tb.TempDir(), from: from, dsn: dsn}
	l.share = filepath.Join(l.dir, "share")
	l.env = filepath.Join(l.dir, "scaled.env")
	if err := os.Mkdir(l.share, 0o755); err != nil {
		tb.Fatal(err)
	}
	l.vars = map[string]string{"DATABASE_URL": dsn, "VECTOR_DB": "pgvector", "DATA_DIR": l.share, "WEBUI_SECRET_KEY": servers.SecretKey}
	l.write()
	return l
}

// set changes one variable of the target; "" removes it.
func (l *lab) set(name, value string) {
	l.tb.Helper()
	if value == "" {
		delete(l.vars, name)
	} else {
		l.vars[name] = value
	}
	l.write()
}

func (l *lab) write() {
	l.tb.Helper()
	var lines []string
	for k, v := range l.vars {
		lines = append(lines, k+"='"+v+"'\n")
	}
	sort.Strings(lines)
	if err := os.WriteFile(l.env, []byte(strings.Join(lines, "")), 0o600); err != nil {
		l.tb.Fatal(err)
	}
}

// result is what a run of the program left behind.
type result struct {
	tb       testing.TB
	args     []string
	code     int
	out, err string
}

func (r result) both() string { return r.out + r.err }

// exits fails the test unless the run ended with the code and said every text.
func (r result) exits(code int, texts ...string) result {
	r.tb.Helper()
	if r.code != code {
		r.tb.Fatalf("outgrow %s: exit %d, want %d\n%s%s", strings.Join(r.args, " "), r.code, code, r.out, r.err)
	}
	return r.says(texts...)
}

func (r result) says(texts ...string) result {
	r.tb.Helper()
	for _, text := range texts {
		if !strings.Contains(r.both(), text) {
			r.tb.Errorf("outgrow %s does not say %q:\n%s%s", strings.Join(r.args, " "), text, r.out, r.err)
		}
	}
	return r
}

// in runs the program in this process.
func (l *lab) in(args ...string) result {
	l.tb.Helper()
	var out, err bytes.Buffer
	code := (&app{ctx: context.Background(), environ: l.environ, out: &out, err: &err, fs: l.fs}).command(args)
	return result{l.tb, args, code, out.String(), err.String()}
}

// pair is the command on both sides.
func (l *lab) pair(command string, more ...string) []string {
	return append([]string{command, "--from", l.from, "--to", l.env}, more...)
}

func (l *lab) plan(more ...string) result { l.tb.Helper(); return l.in(l.pair("plan", more...)...) }
func (l *lab) migrate(more ...string) result {
	l.tb.Helper()
	return l.in(l.pair("migrate", more...)...)
}
func (l *lab) verify(more ...string) result { l.tb.Helper(); return l.in(l.pair("verify", more...)...) }

// equal verifies, and fails unless both sides are equal.
func (l *lab) equal(more ...string) result {
	l.tb.Helper()
	return l.verify(more...).exits(0, "verify: equal")
}

// command is the compiled program with its own environment.
func (l *lab) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program(l.tb), args...)
	cmd.Env = append(os.Environ(), l.environ...)
	return cmd
}

// wait runs a command to its end, whatever its exit code is.
func (l *lab) wait(cmd *exec.Cmd) result {
	l.tb.Helper()
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		l.tb.Fatal(err)
	}
	return result{l.tb, cmd.Args[1:], cmd.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// conn connects to a database until the test ends.
func conn(tb testing.TB, dsn string) *pgx.Conn {
	tb.Helper()
	c, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		tb.Fatalf("connecting to the test's database: %v", err)
	}
	tb.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// ask gives the single value of a query to the target. Its session is none that a
// command after it could take for an application's.
func ask[T any](l *lab, query string, args ...any) T {
	l.tb.Helper()
	var v T
	c, err := pgx.Connect(context.Background(), l.dsn)
	if err != nil {
		l.tb.Fatalf("connecting to the target: %v", err)
	}
	defer servers.Hangup(c)
	if err := c.QueryRow(context.Background(), query, args...).Scan(&v); err != nil {
		l.tb.Fatalf("%s: %v", query, err)
	}
	return v
}

// do runs statements on a database.
func do(tb testing.TB, dsn string, statements ...string) {
	tb.Helper()
	c := conn(tb, dsn)
	for _, s := range statements {
		if _, err := c.Exec(context.Background(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			tb.Fatalf("%.200s: %v", s, err)
		}
	}
	servers.Hangup(c)
}

// schema is where the target's tables are.
func (l *lab) schema() string {
	if s := l.vars["DATABASE_SCHEMA"]; s != "" {
		return s
	}
	return "public"
}

// released reports whether alembic_version holds a revision, which is what lets
// Open WebUI start on the target.
func (l *lab) released() bool {
	l.tb.Helper()
	if !ask[bool](l, "SELECT to_regclass($1) IS NOT NULL", l.schema()+".alembic_version") {
		return false
	}
	return ask[bool](l, "SELECT EXISTS (SELECT FROM "+l.schema()+".alembic_version)")
}

// onSQLite runs statements on a database file, which they change.
func onSQLite(tb testing.TB, path string, statements ...string) {
	tb.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		tb.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			tb.Fatalf("%.200s: %v", s, err)
		}
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
}

// sourceCounts counts the rows of every table of the source, by plain SQL on a
// copy, so that the source stays as it is.
func (l *lab) sourceCounts() map[string]int64 {
	l.tb.Helper()
	dir := l.tb.TempDir()
	for _, end := range []string{"", "-wal"} {
		body, err := os.ReadFile(filepath.Join(l.from, "webui.db"+end))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			l.tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "webui.db"+end), body, 0o600); err != nil {
			l.tb.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "webui.db"))
	if err != nil {
		l.tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.Query("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
	if err != nil {
		l.tb.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			l.tb.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		l.tb.Fatal(err)
	}
	out := map[string]int64{}
	for _, name := range names {
		var n int64
		if err := db.QueryRow(`SELECT count(*) FROM "` + name + `"`).Scan(&n); err != nil {
			l.tb.Fatal(err)
		}
		out[name] = n
	}
	return out
}

// targetCounts counts the rows of every table of the target by plain SQL.
func (l *lab) targetCounts() map[string]int64 {
	l.tb.Helper()
	c := conn(l.tb, l.dsn)
	defer servers.Hangup(c)
	rows, err := c.Query(context.Background(), "SELECT tablename::text FROM pg_tables WHERE schemaname = $1", l.schema())
	if err != nil {
		l.tb.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		l.tb.Fatal(err)
	}
	out := map[string]int64{}
	for _, name := range names {
		var n int64
		if err := c.QueryRow(context.Background(), "SELECT count(*) FROM "+pgx.Identifier{l.schema(), name}.Sanitize()).Scan(&n); err != nil {
			l.tb.Fatal(err)
		}
		out[name] = n
	}
	return out
}

// sameCounts fails unless every table of the source has as many rows on the
// target, and document_chunk as many as there are vectors.
func (l *lab) sameCounts(source map[string]int64, vectors int64) {
	l.tb.Helper()
	target := l.targetCounts()
	for name, n := range source {
		if got, ok := target[name]; !ok || got != n {
			l.tb.Errorf("table %s: %d rows on the target, %d on the source", name, got, n)
		}
	}
	if got := target["document_chunk"]; got != vectors {
		l.tb.Errorf("document_chunk: %d rows, want %d", got, vectors)
	}
}

// tree describes everything below a folder: names, modes, sizes, times and
// contents.
func tree(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%v %d", info.Mode(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			h := sha256.New()
			n, err := io.Copy(h, f)
			_ = f.Close()
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %s", n, hex.EncodeToString(h.Sum(nil)))
		}
		out[rel] = line
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// unchanged fails unless a folder is what tree said it was.
func unchanged(tb testing.TB, dir string, before map[string]string) {
	tb.Helper()
	after := tree(tb, dir)
	for name, was := range before {
		if is, ok := after[name]; !ok {
			tb.Errorf("the source has lost %s", name)
		} else if is != was {
			tb.Errorf("the source's %s was %s and is %s", name, was, is)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			tb.Errorf("the source has got %s", name)
		}
	}
}

// with gives the DSN another part: user, password, host or database.
func with(tb testing.TB, dsn string, change func(*url.URL)) string {
	tb.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal("the DSN is not a URL")
	}
	change(u)
	return u.String()
}

// bigData is a data folder whose database was grown to the size given, such as
// "50MB", by the amplifier beside the test data.
func bigData(tb testing.TB, size string) string {
	tb.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		servers.Skip(tb, "growing a database needs python3: %v", err)
	}
	dir := servers.DataDir(tb)
	db := filepath.Join(dir, "webui.db")
	if out, err := exec.Command(python, "../../testdata/amplify/amplify.py", db, db+".big", "--bytes", size).CombinedOutput(); err != nil {
		tb.Fatalf("growing a database: %v: %s", err, out)
	}
	_ = os.Remove(db + "-wal")
	if err := os.Rename(db+".big", db); err != nil {
		tb.Fatal(err)
	}
	return dir
}
