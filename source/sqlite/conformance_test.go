package sqlite

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	"outgrow/testdata/servers"
)

// expected reads the tables through database/sql, another way than the one
// that is tested.
func expected(t testing.TB, path string) (all []pipetest.Expected[*pipeline.Row]) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	list := func(q string, args ...any) (out []string) {
		rows, err := db.Query(q, args...)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
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
	for _, name := range list("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('alembic_version', 'migratehistory') AND name NOT LIKE 'sqlite_%'") {
		h := &pipeline.Table{Name: name, Columns: list("SELECT name FROM pragma_table_info(?) ORDER BY cid", name)}
		for _, k := range list("SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", name) {
			h.Key = append(h.Key, slices.Index(h.Columns, k))
		}
		e := pipetest.Expected[*pipeline.Row]{Unit: table(name)}
		e.Records = records(t, db, h)
		all = append(all, e)
	}
	return all
}

// records reads a whole table with the storage classes that its values have.
func records(t testing.TB, db *sql.DB, h *pipeline.Table) (all []*pipeline.Row) {
	t.Helper()
	rows, err := db.Query(`SELECT +"` + strings.Join(h.Columns, `", +"`) + `" FROM "` + h.Name + `"`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		row := &pipeline.Row{Table: h, Values: make([]any, len(h.Columns))}
		into := make([]any, len(h.Columns))
		for i := range into {
			into[i] = &row.Values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestConformance(t *testing.T) {
	for name, path := range map[string]string{"real": filepath.Join(servers.DataDir(t), "webui.db"), "legacy": servers.LegacyDB(t)} {
		t.Run(name, func(t *testing.T) {
			copied := servers.DataDir(t)
			other := filepath.Join(copied, "webui.db")
			if name == "legacy" {
				other = servers.LegacyDB(t)
			}
			want := expected(t, other)
			pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Row]{
				Open: func(t testing.TB, l pipeline.Limits) pipeline.Source[*pipeline.Row] {
					s, err := Open(t.Context(), Config{Path: path, Limits: l})
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Want: func(testing.TB) []pipetest.Expected[*pipeline.Row] { return want },
			})
		})
	}
}
