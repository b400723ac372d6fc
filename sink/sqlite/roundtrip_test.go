package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/rows"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
	source "outgrow/source/sqlite"
	"outgrow/testdata/servers"
)

// copyInto copies a webui.db through the sink with the engine, as a migration
// does, and gives what the run says of it.
func copyInto(t testing.TB, from string, p place, limits pipeline.Limits) (*Sink, []pipeline.UnitDiff) {
	t.Helper()
	ctx := t.Context()
	src, err := source.Open(ctx, source.Config{Path: from, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	s, j := opened(t, p, nil)
	transform, units := mapped(t, src, s)
	if err := pipeline.Copy(ctx, pipeline.Job[*pipeline.Row]{Source: src, Sink: s, Journal: j, Transforms: []pipeline.Transform[*pipeline.Row]{transform}, Units: units, PartBytes: 1 << 20, Workers: 3}); err != nil {
		t.Fatal(err)
	}
	compare := func(target pipeline.Getter[*pipeline.Row]) []pipeline.UnitDiff {
		sums, err := pipeline.Diff(ctx, pipeline.Comparison[*pipeline.Row]{Source: src, Target: target, Journal: j, Equal: Equal, Units: units,
			Transforms: []pipeline.Transform[*pipeline.Row]{transform}, Report: func(d pipeline.Difference) {
				if d.Kind != pipeline.Quarantined {
					t.Errorf("difference %+v", d)
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		return sums
	}
	before := compare(s)
	if err := s.Release(ctx); err != nil {
		t.Fatal(err)
	}
	back, err := source.Open(ctx, source.Config{Path: p.db()})
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if got, err := back.Head(ctx); err != nil || got != head {
		t.Errorf("the head is %q, %v", got, err)
	}
	if after := compare(back); !slices.Equal(before, after) {
		t.Errorf("its own reader sees %+v, the source's %+v", before, after)
	}
	return s, before
}

// mapped restricts the source to what the target has.
func mapped(t testing.TB, src *source.Source, s *Sink) (pipeline.Transform[*pipeline.Row], []pipeline.Unit) {
	t.Helper()
	tables, err := s.Columns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names, keys := map[string][]string{}, map[string][]string{}
	for name, cols := range tables {
		for _, c := range cols {
			names[name] = append(names[name], c.Name)
			if c.InPrimaryKey {
				keys[name] = append(keys[name], c.Name)
			}
		}
	}
	src.SetKeys(keys)
	src.SetColumns(names)
	all, err := src.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rows.SQLiteTransform(tables, rows.Options{}), slices.DeleteFunc(all, func(u pipeline.Unit) bool { return tables[u.Name] == nil })
}

// classes lists all rows of a table with their storage classes.
func classes(t testing.TB, db *sql.DB, table string, columns []string) []string {
	t.Helper()
	var parts []string
	for _, c := range columns {
		parts = append(parts, fmt.Sprintf("typeof(%s) || ' ' || quote(%[1]s)", ident(c)))
	}
	list, err := db.Query("SELECT " + strings.Join(parts, " || ', ' || ") + " AS x FROM " + ident(table) + " ORDER BY x")
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	var out []string
	for list.Next() {
		var s string
		if err := list.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// whole checks a released database by SQLite's own word, and its header and
// folder against one that Open WebUI made.
func whole(t testing.TB, p place) *sql.DB {
	t.Helper()
	if got := p.files(t); !slices.Equal(got, []string{"webui.db"}) {
		t.Errorf("in the folder are %v", got)
	}
	header, err := os.ReadFile(p.db())
	if err != nil {
		t.Fatal(err)
	}
	// Format numbers of a write-ahead log, page size 4096, UTF-8, no version of the application's.
	if header[18] != 2 || header[19] != 2 || header[16] != 0x10 || header[17] != 0 || header[59] != 1 || header[63] != 0 || header[71] != 0 {
		t.Errorf("the header is % x", header[:100])
	}
	if st, err := os.Stat(p.db()); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("the mode is %v, %v", st.Mode(), err)
	}
	db := view(t, p.db())
	if got := ask[string](t, db, "PRAGMA integrity_check"); got != "ok" {
		t.Error(got)
	}
	if n := ask[int](t, db, "SELECT count(*) FROM pragma_foreign_key_check"); n != 0 {
		t.Errorf("%d rows without a parent", n)
	}
	if n := ask[int](t, db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%outgrow%' OR name LIKE 'sqlite_stat%'"); n != 0 {
		t.Errorf("%d objects of outgrow's", n)
	}
	if got := ask[string](t, db, "SELECT group_concat(version_num) FROM alembic_version"); got != head {
		t.Errorf("revision %q", got)
	}
	return db
}

func schemaOf(t testing.TB, db *sql.DB) string {
	t.Helper()
	return ask[string](t, db, "SELECT group_concat(x, char(10)) FROM (SELECT type || ' ' || name || ' ' || coalesce(sql, '') AS x FROM sqlite_schema ORDER BY 1)")
}

func TestRoundTripOfARealDatabase(t *testing.T) {
	t.Parallel()
	from := filepath.Join(servers.DataDir(t), "webui.db")
	p := newPlace(t)
	_, sums := copyInto(t, from, p, pipeline.Limits{Records: 100})
	var total int64
	for _, d := range sums {
		if d.Different() || d.Equal != d.Source || d.Source != d.Target {
			t.Errorf("%+v", d)
		}
		total += d.Equal
	}
	if len(sums) != 47 || total < 2900 {
		t.Errorf("%d tables, %d rows", len(sums), total)
	}
	db, old := whole(t, p), view(t, from)
	numbers := 0
	for name, cols := range tablesOf(t, old) {
		a, b := classes(t, old, name, cols), classes(t, db, name, cols)
		if !slices.Equal(a, b) {
			t.Errorf("%s: %d rows, of %d", name, len(b), len(a))
		}
		for _, r := range a {
			if name == "config" && (strings.Contains(r, ", integer ") || strings.Contains(r, ", real ")) {
				numbers++
			}
		}
	}
	if numbers == 0 {
		t.Error("no number in config: nothing is tested")
	}
}

func tablesOf(t testing.TB, db *sql.DB) map[string][]string {
	t.Helper()
	conn, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tables, err := describe(context.Background(), conn)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for name, x := range tables {
		out[name] = x.names()
	}
	return out
}

// A database that peewee began comes out in the fresh schema of its head, value
// for value.
func TestPeeweeBornDatabase(t *testing.T) {
	t.Parallel()
	from, p := servers.LegacyDB(t), newPlace(t)
	_, sums := copyInto(t, from, p, pipeline.Limits{})
	var total int64
	for _, d := range sums {
		if d.Different() || d.Equal != d.Source {
			t.Errorf("%+v", d)
		}
		total += d.Equal
	}
	db, old := whole(t, p), view(t, from)
	for name, cols := range tablesOf(t, db) {
		if a, b := classes(t, old, name, cols), classes(t, db, name, cols); !slices.Equal(a, b) {
			t.Errorf("%s:\n%q\nof\n%q", name, b, a)
		}
	}
	if got := ask[string](t, db, "SELECT sql FROM sqlite_schema WHERE name = 'chat'"); !strings.Contains(got, "created_at BIGINT") || total == 0 {
		t.Errorf("%d rows, %s", total, got)
	}
}

// Every head can be made, filled and released; what stands in sqlite_schema then
// is what alembic left there.
func TestEveryHead(t *testing.T) {
	t.Parallel()
	for _, h := range schema.Heads() {
		p := newPlace(t)
		s, j := opened(t, p, func(c *Config) { c.Head = h })
		prepare(t, s, "user")
		write(t, s, batch("user", "", "1", rowsOf("user", []string{"id", "email", "name", "role", "profile_image_url"}, []any{"u", "a@b", "n", "admin", "/x"})))
		finish(t, s)
		ended(t, s, j)
		known, err := schema.LoadSQLite(h)
		if err != nil {
			t.Fatal(err)
		}
		mem, err := sql.Open("sqlite", ":memory:")
		if err != nil {
			t.Fatal(err)
		}
		mem.SetMaxOpenConns(1)
		for _, phase := range []schema.Phase{schema.BeforeLoad, schema.AfterLoad} {
			for _, st := range known.Statements(phase) {
				if _, err := mem.Exec(st.SQL); err != nil {
					t.Fatal(err)
				}
			}
		}
		db := view(t, p.db())
		if got, want := schemaOf(t, db), schemaOf(t, mem); got != want {
			t.Errorf("%s: the schema differs:\n%s\nwant\n%s", h, got, want)
		}
		_ = mem.Close()
		if got := ask[string](t, db, "SELECT version_num FROM alembic_version"); got != h || ask[int](t, db, `SELECT count(*) FROM "user"`) != 1 {
			t.Errorf("%s: revision %s", h, got)
		}
	}
}
