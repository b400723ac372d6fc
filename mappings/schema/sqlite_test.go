package schema

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver

	"outgrow/testdata/servers"
)

func loadSQLite(t *testing.T, head string) *SQLite {
	t.Helper()
	s, err := LoadSQLite(head)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// made is a database in memory with the schema of a head.
func made(t *testing.T, head string) *sql.DB {
	t.Helper()
	db := memory(t, ":memory:")
	s := loadSQLite(t, head)
	for _, phase := range []Phase{BeforeLoad, AfterLoad} {
		for _, st := range s.Statements(phase) {
			if _, err := db.ExecContext(t.Context(), st.SQL); err != nil {
				t.Fatalf("%s: %s %s: %v", head, st.Kind, st.Name, err)
			}
		}
	}
	return db
}

func memory(t *testing.T, name string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func texts(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// What the statements make shows the file again, and has the tables and columns
// that PostgreSQL's schema of the head has.
func TestSQLiteOfEveryHead(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(sqliteFiles, "sqlite/*.sql")
	if err != nil || len(names) != len(Heads()) {
		t.Errorf("%d files of SQLite for %d heads, %v", len(names), len(Heads()), err)
	}
	for _, head := range Heads() {
		db := made(t, head)
		src, err := sqliteFiles.ReadFile("sqlite/" + head + ".sql")
		if err != nil {
			t.Fatal(err)
		}
		shown := texts(t, db, `SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name <> 'migratehistory' ORDER BY tbl_name, type = 'index', name`)
		if got := strings.Join(shown, ";\n\n") + ";\n"; got != string(src) {
			t.Errorf("%s differs from the file:\n%s", head, firstDifference(got, string(src)))
		}
		var want []string
		pg, err := LoadTarget(head)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range pg.Tables {
			for _, c := range table.Columns {
				want = append(want, table.Name+"."+c.Name)
			}
		}
		got := texts(t, db, `SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'`)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d columns in SQLite, %d in PostgreSQL", head, len(got), len(want))
		}
		if keyless := texts(t, db, `SELECT name FROM sqlite_schema m WHERE type = 'table' AND NOT EXISTS (SELECT 1 FROM pragma_table_info(m.name) WHERE pk > 0)`); len(keyless) > 0 {
			t.Errorf("%s: without a primary key: %v", head, keyless)
		}
		if NeedsPeeweeHistory(head) != slices.Contains(got, "migratehistory.name") {
			t.Errorf("%s: migratehistory", head)
		}
	}
}

// sorted puts the lines of a table in order: that of its foreign keys is another
// each time that alembic runs.
func sorted(sql string) string {
	lines := strings.Split(sql, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(l, ", ")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// The database of a real Open WebUI 0.12.4 shows the same statements.
func TestSQLiteIsARealOne(t *testing.T) {
	t.Parallel()
	const query = `SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1`
	real := texts(t, memory(t, "file:"+filepath.Join(servers.DataDir(t), "webui.db")), query)
	if got := texts(t, made(t, newest), query); !slices.EqualFunc(got, real, func(a, b string) bool { return sorted(a) == sorted(b) }) {
		t.Errorf("%d objects, the real one has %d", len(got), len(real))
		for i := range got {
			if i < len(real) && sorted(got[i]) != sorted(real[i]) {
				t.Fatalf("got  %s\nwant %s", got[i], real[i])
			}
		}
	}
	legacy := texts(t, memory(t, "file:"+servers.LegacyDB(t)), `SELECT sql FROM sqlite_schema WHERE name = 'migratehistory'`)
	if !slices.Equal(legacy, []string{peeweeSQLite}) {
		t.Errorf("peewee made %q", legacy)
	}
}

func TestSQLitePhases(t *testing.T) {
	t.Parallel()
	s := loadSQLite(t, newest)
	var before []string
	tables := 0
	for _, st := range s.Statements(BeforeLoad) {
		switch st.Kind {
		case KindTable:
			tables++
		default:
			before = append(before, st.Table+"."+st.Name)
		}
	}
	if want := []string{"prompt.ix_prompt_new_command", "user.uq_user_email_lower"}; tables != 48 || !slices.Equal(before, want) {
		t.Errorf("%d tables, before the load %v", tables, before)
	}
	after := s.Statements(AfterLoad)
	if i := slices.IndexFunc(after, func(st Statement) bool { return st.Name == "ix_group_parent_group_id" }); len(after) < 50 || i < 0 || after[i].Table != "group" {
		t.Errorf("%d indexes after the load", len(after))
	}
	for _, sql := range []string{"", "CREATE TRIGGER x", "CREATE UNIQUE TABLE x (a)", "DROP TABLE x", "CREATE INDEX x"} {
		if _, err := readSQLite(sql); err == nil {
			t.Errorf("%q is understood", sql)
		}
	}
	if _, err := LoadSQLite("ffffffffffff"); !errors.Is(err, ErrUnknownHead) {
		t.Error(err)
	}
}
