package sqlite

import (
	"bufio"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outgrow/pipeline"
)

const writerVar = "OUTGROW_SQLITE_TEST_WRITER"

// TestMain makes a second process of the test binary when asked to: the
// application that has the database open.
func TestMain(m *testing.M) {
	if path := os.Getenv(writerVar); path != "" {
		if err := write(path, os.Stdin, os.Stdout); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// write runs the SQL of each line and answers with how long it took; a lock
// that it would have to wait for is an error. "crash" ends without closing.
func write(path string, in io.Reader, out io.Writer) error {
	db, err := sql.Open("sqlite", "file:"+path+"?_busy_timeout=0")
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	var mode string
	if err := db.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready", mode)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if lines.Text() == "crash" {
			os.Exit(3)
		}
		began := time.Now()
		if _, err := db.Exec(lines.Text()); err != nil {
			fmt.Fprintln(out, "error", err)
			continue
		}
		fmt.Fprintln(out, "done", time.Since(began))
	}
	return db.Close()
}

// app is the other process.
type app struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startApp(t *testing.T, path string) *app {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerVar+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &app{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	if got := a.line(); !strings.HasPrefix(got, "ready") {
		t.Fatalf("the writer says %q", got)
	}
	return a
}

func (a *app) line() string {
	s, err := a.out.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		a.t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

// do runs a statement in the other process and tells how long it took.
func (a *app) do(sql string) time.Duration {
	a.t.Helper()
	fmt.Fprintln(a.in, sql)
	word, took, _ := strings.Cut(a.line(), " ")
	d, err := time.ParseDuration(took)
	if word != "done" || err != nil {
		a.t.Fatalf("%s in the other process: %s %s", sql, word, took)
	}
	return d
}

func (a *app) stop() { a.in.Close(); a.cmd.Wait() }

func (a *app) crash() { fmt.Fprintln(a.in, "crash"); a.cmd.Wait() }

// folder describes everything below a folder: names, modes, sizes, times and
// content.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprint(fi.Mode(), " ", fi.ModTime().UnixNano())
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(b)
			line += fmt.Sprint(" ", fi.Size(), " ", hex.EncodeToString(sum[:]))
		}
		all[strings.TrimPrefix(path, dir)] = line
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// unchanged says which files differ.
func unchanged(t *testing.T, dir string, before map[string]string) {
	t.Helper()
	after := folder(t, dir)
	for name, was := range before {
		if after[name] != was {
			t.Errorf("%s was %s and is %s", name, was, after[name])
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%s was created", name)
		}
	}
}

func open(t *testing.T, cfg Config) *Source {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// readAll reads a part to its end, and checks the chain of its cursors.
func readAll(t *testing.T, s *Source, part pipeline.Part, after pipeline.Cursor) []*pipeline.Row {
	t.Helper()
	var rows []*pipeline.Row
	at := after
	for b, err := range s.Read(t.Context(), part, after) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Prev != at || b.Next == at || b.Read != len(b.Records) {
			t.Fatalf("batch from %q to %q with %d of %d rows, after %q", b.Prev, b.Next, len(b.Records), b.Read, at)
		}
		at = b.Next
		rows = append(rows, b.Records...)
	}
	return rows
}

func table(name string) pipeline.Unit { return pipeline.Unit{Lane: pipeline.Rows, Name: name} }

func count(t *testing.T, s *Source, name string) int64 {
	t.Helper()
	n, err := s.Count(t.Context(), table(name))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// makeDB makes a database of its own with Open WebUI's marks.
func makeDB(t *testing.T, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "webui.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	base := []string{"CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)", "INSERT INTO alembic_version VALUES ('0bd252b206fb')",
		`CREATE TABLE "user" (id VARCHAR NOT NULL PRIMARY KEY, last_active_at BIGINT)`, `INSERT INTO "user" VALUES ('u2', 1700000000), ('u1', 1700000100)`}
	for _, s := range append(base, statements...) {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return path
}
