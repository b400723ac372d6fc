package main

import (
	"database/sql"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"outgrow/mappings/chromahttp"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	"outgrow/source/chroma"
	"outgrow/testdata/servers"
)

var onlyRows = []string{"--only", "rows"}

// scaled is the small real deployment, moved to PostgreSQL, pgvector and a shared
// folder.
func scaled(t *testing.T) *lab {
	t.Helper()
	l := newLab(t, "")
	l.migrate().exits(0)
	return l
}

// From one PostgreSQL schema to another: what is new, changed or gone there
// follows, a live source is told of, and the source itself is no target.
func TestRowsToAnotherSchema(t *testing.T) {
	t.Parallel()
	old := scaled(t)
	do(t, old.dsn, "CREATE SCHEMA app")
	vars := map[string]string{"DATABASE_URL": old.dsn, "DATA_DIR": old.share, "WEBUI_SECRET_KEY": servers.SecretKey}
	l := switched(t, vars, map[string]string{"DATABASE_URL": old.dsn, "DATABASE_SCHEMA": "app", "DATA_DIR": old.share, "WEBUI_SECRET_KEY": servers.SecretKey})
	l.plan(onlyRows...).exits(0, "schema public", "stopped", "key   found", "rows: 47 units").lacks("live")
	l.migrate(onlyRows...).exits(0, "done    2,972 rows")
	l.equal(onlyRows...).says("47 tables, 2,972 rows compared, 2,972 equal")
	l.migrate(onlyRows...).exits(0, "nothing is done twice")
	do(t, old.dsn, `UPDATE "user" SET name = 'new' WHERE id = (SELECT min(id) FROM "user")`, "DELETE FROM memory WHERE id = (SELECT min(id) FROM memory)")
	l.verify(onlyRows...).exits(4, "rows/user", "- rows/memory")
	l.migrate(onlyRows...).exits(4, "a sync pass is needed")
	l.sync(onlyRows...).exits(0, "rows/memory", "0 new, 1 changed, 1 removed, 0 refused")
	l.equal(onlyRows...)
	app := conn(t, old.dsn)
	l.plan(onlyRows...).exits(0, "live", "1 session of other programs on the source database")
	l.plan("--only", "rows", "--stopped").exits(0).lacks("other programs on the source")
	servers.Hangup(app)
	for _, command := range []string{"plan", "migrate", "verify"} {
		same := switched(t, vars, vars)
		same.in(same.pair(command, onlyRows...)...).exits(2, "same database and schema").nextStep()
	}
}

// From PostgreSQL into a new webui.db, which is never made over another one.
func TestRowsToSQLite(t *testing.T) {
	t.Parallel()
	old := scaled(t)
	data := t.TempDir()
	l := switched(t, map[string]string{"DATABASE_URL": old.dsn, "DATA_DIR": old.share}, map[string]string{"DATA_DIR": data})
	l.verify(onlyRows...).exits(2, "migrate first").nextStep()
	l.in("status", "--to", l.env).exits(0)
	l.plan(onlyRows...).exits(0, "rows: 47 units", "30 values will be changed to fit: path")
	if entries, err := os.ReadDir(data); err != nil || len(entries) > 0 {
		t.Errorf("plan wrote into the target's folder: %v %v", entries, err)
	}
	l.migrate(onlyRows...).exits(0, "done    2,972 rows", "next    outgrow verify")
	l.equal(onlyRows...).says("47 tables, 2,972 rows compared, 2,972 equal")
	l.in("status", "--to", l.env).exits(0, "rows    complete", "2,972 rows written")
	l.in("replay", "--to", l.env).exits(0)
	if got := tree(t, data); len(got) != 2 || got["webui.db"] == "" {
		t.Errorf("in the folder are %v", got)
	}
	l.migrate(onlyRows...).exits(0, "nothing is done twice")
	do(t, old.dsn, `UPDATE "user" SET name = 'new' WHERE id = (SELECT min(id) FROM "user")`, "DELETE FROM memory WHERE id = (SELECT min(id) FROM memory)")
	l.verify(onlyRows...).exits(4, "rows/user", "- rows/memory")
	l.sync(onlyRows...).exits(0, "0 new, 1 changed, 1 removed, 0 refused")
	l.equal(onlyRows...)

	// Another folder under the same state, and a database that is there already.
	state := strings.TrimSuffix(l.env, ".env") + ".outgrow"
	other := switched(t, map[string]string{"DATABASE_URL": old.dsn, "DATA_DIR": old.share}, map[string]string{"DATA_DIR": t.TempDir()})
	other.migrate("--only", "rows", "--state", state).exits(2, "is gone").nextStep()
	used := switched(t, map[string]string{"DATABASE_URL": old.dsn, "DATA_DIR": old.share}, map[string]string{"DATA_DIR": servers.DataDir(t)})
	used.migrate(onlyRows...).exits(2, "was not begun by outgrow").nextStep()
	used.migrate("--only", "rows", "--replace").exits(0)
	used.equal(onlyRows...)
	both := switched(t, map[string]string{"DATA_DIR": servers.DataDir(t)}, map[string]string{"DATA_DIR": t.TempDir()})
	both.plan(onlyRows...).exits(2, "both sides name a SQLite database").nextStep()
}

// There and back again: SQLite, embedded Chroma and local files to PostgreSQL,
// Qdrant and S3, and back. The result is the original, but for where the files are
// and the length of the vectors, which Qdrant makes one.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.toQdrant(qdrantVars(t, servers.Qdrant(t), true))
	for k, v := range s3Vars(t) {
		l.set(k, v)
	}
	before := tree(t, l.from)
	l.migrate().exits(0)
	objects := l.objects()
	rollback := func(to string, more ...string) result {
		return l.in(append([]string{"rollback", "--from", l.env, "--to", to}, more...)...)
	}
	back := filepath.Join(l.dir, "back")
	rollback(back).exits(0, "2,972 rows", "674 vectors", "34 files", "488 searches in 45 collections: recall@10 1.000, lowest 1.000", "verify: equal", "DATA_DIR="+back)
	was, is := dump(t, l.from), dump(t, back)
	for table, rows := range was {
		if !reflect.DeepEqual(rows, is[table]) {
			t.Errorf("table %s: %d rows, of %d:\n%s", table, len(is[table]), len(rows), firstOther(rows, is[table]))
		}
	}
	sameVectors(t, l.from, back)
	for _, part := range []string{"uploads", "cache"} {
		if a, b := fileSums(t, filepath.Join(l.from, part)), fileSums(t, filepath.Join(back, part)); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %d files, of %d", part, len(b), len(a))
		}
	}
	unchanged(t, l.from, before)
	if now := l.objects(); !reflect.DeepEqual(now, objects) {
		t.Error("the rollback has changed the bucket")
	}
	// What it made is never written over, by whatever name.
	rollback(back).exits(0, "nothing was done now")
	made := tree(t, back)
	rollback(back, "--state", t.TempDir()).exits(2, "nothing is written over it").nextStep()
	rollback(l.from).exits(2, "nothing is written over it").nextStep()
	rollback(filepath.Join(l.share, "inside")).exits(2, "lies in the source's DATA_DIR").nextStep()
	rollback(filepath.Join(l.dir, "mistyped.env")).exits(2, "there is no file").nextStep()
	unchanged(t, back, made)
	l.in("rollback", "--from", l.from, "--to", filepath.Join(l.dir, "x")).exits(2, "have not left their webui.db").nextStep()
	if _, err := os.Stat(filepath.Join(l.dir, "x")); err == nil {
		t.Error("a folder was made for a refused rollback")
	}
	// What users wrote on the new side goes back with them.
	do(t, l.dsn, `UPDATE "user" SET name = 'written after the cutover' WHERE id = (SELECT min(id) FROM "user")`)
	later := filepath.Join(l.dir, "later")
	rollback(later).exits(0, "verify: equal")
	if !strings.Contains(strings.Join(dump(t, later)["user"], "\n"), "written after the cutover") {
		t.Error("what was written after the cutover is not there")
	}
}

// Whatever moment a rollback dies at, and whatever is written meanwhile, the same
// command ends equal.
func TestKillRollback(t *testing.T) {
	t.Parallel()
	program(t)
	l := scaled(t)
	command := func(to string) []string { return []string{"rollback", "--from", l.env, "--to", to} }
	began := time.Now()
	l.wait(l.command(command(filepath.Join(l.dir, "whole"))...)).exits(0, "verify: equal")
	length, kills := time.Since(began), 3
	if os.Getenv("OUTGROW_KILLS") != "" {
		kills = pipetest.Kills(t)
	}
	at, killed := newMoments(t, kills, length, 7), 0
	i := 0
	for ; at.more(i, killed >= kills) && !t.Failed(); i++ {
		to := filepath.Join(l.dir, fmt.Sprintf("back%d", i))
		if r := at.stop(l, l.command(command(to)...), syscall.SIGKILL, killed); r.code == -1 {
			killed++
		}
		name := fmt.Sprintf("renamed %d", i)
		do(t, l.dsn, `UPDATE "user" SET name = '`+name+`' WHERE id = (SELECT min(id) FROM "user")`)
		r := l.wait(l.command(command(to)...)).exits(0)
		if strings.Contains(r.out, "nothing was done now") {
			continue // it had come to its end
		}
		if !strings.Contains(strings.Join(dump(t, to)["user"], "\n"), name) {
			t.Errorf("rollback %d lacks what was written before it went on:\n%s", i, r.both())
		}
		l.in("verify", "--from", l.env, "--to", to).exits(0, "verify: equal")
	}
	at.all(t, killed, i)
}

// dump lists the rows of every table of a data folder with their storage classes,
// in no order that means anything; of file.path only what comes after DATA_DIR.
// The folder is left as it is.
func dump(tb testing.TB, data string) map[string][]string {
	tb.Helper()
	dir := tb.TempDir()
	for _, end := range []string{"", "-wal"} {
		if body, err := os.ReadFile(filepath.Join(data, "webui.db"+end)); err == nil {
			if err := os.WriteFile(filepath.Join(dir, "webui.db"+end), body, 0o600); err != nil {
				tb.Fatal(err)
			}
		}
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "webui.db"))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	list := func(query string) (out []string) {
		rows, err := db.Query(query)
		if err != nil {
			tb.Fatalf("%.300s: %v", query, err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				tb.Fatal(err)
			}
			out = append(out, text)
		}
		if err := rows.Err(); err != nil {
			tb.Fatal(err)
		}
		return out
	}
	out := map[string][]string{}
	for _, table := range list("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'") {
		var parts []string
		columns := list("SELECT name FROM pragma_table_info('" + table + "')")
		sort.Strings(columns)
		for _, c := range columns {
			value := `"` + c + `"`
			if table == "file" && c == "path" {
				value = "substr(path, instr(path, '/uploads/'))"
			}
			parts = append(parts, fmt.Sprintf("'%s ' || typeof(%s) || ' ' || quote(%[2]s)", c, value))
		}
		rows := list("SELECT " + strings.Join(parts, " || ', ' || ") + ` FROM "` + table + `"`)
		sort.Strings(rows)
		out[table] = rows
	}
	return out
}

// firstOther shows the first pair of lines that differ.
func firstOther(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%.2000s\nis\n%.2000s", a[i], b[i])
		}
	}
	return "one has more"
}

// fileSums gives the SHA-256 of every file below a folder.
func fileSums(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	for name, line := range tree(tb, dir) {
		if fields := strings.Fields(line); len(fields) == 4 {
			out[name] = fields[3]
		}
	}
	return out
}

// sameVectors fails unless the embedded stores of two data folders hold the same
// records, their vectors of any length.
func sameVectors(tb testing.TB, one, other string) {
	tb.Helper()
	ctx := tb.Context()
	open := func(data string) *chroma.Source {
		s, err := chroma.Open(ctx, chroma.Config{Dir: filepath.Join(data, "vector_db"), Stopped: true, Private: tb.TempDir()})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = s.Close() })
		return s
	}
	a, b := open(one), open(other)
	units, err := a.Units(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	n := 0
	for _, u := range units {
		for batch, err := range a.Read(ctx, pipeline.Part{Unit: u}, "") {
			if err != nil {
				tb.Fatal(err)
			}
			var keys []string
			for _, v := range batch.Records {
				keys = append(keys, v.ID)
			}
			got, err := b.Get(ctx, u, keys)
			if err != nil {
				tb.Fatal(err)
			}
			for _, v := range batch.Records {
				g := got[v.ID]
				if n++; g == nil || !reflect.DeepEqual(g.Text, v.Text) || !chromahttp.SameMetadata(v.Metadata, g.Metadata) || !parallel(v.Embedding, g.Embedding) {
					tb.Errorf("%s, %s: %+v is %+v", u.Title(), v.ID, v, g)
					return
				}
			}
		}
	}
	if now, err := b.Units(ctx); err != nil || len(now) != len(units) || n == 0 {
		tb.Errorf("%d collections with %d records, there are %d now, %v", len(units), n, len(now), err)
	}
}

// parallel reports whether two vectors point the same way, to within float32.
func parallel(a, b []float32) bool {
	length := func(v []float32) (sum float64) {
		for _, f := range v {
			sum += float64(f) * float64(f)
		}
		return math.Sqrt(sum)
	}
	la, lb := length(a), length(b)
	for i := range a {
		if len(a) != len(b) || math.Abs(float64(a[i])/la-float64(b[i])/lb) > 1e-6 {
			return false
		}
	}
	return len(a) > 0
}
