package schema

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed sqlite/*.sql
var sqliteFiles embed.FS

// SQLite is Open WebUI's database of one alembic head as its own alembic makes
// it in an empty SQLite file. Each sqlite/<head>.sql holds the statements as
// they stand in sqlite_schema there, word for word: later migrations of Open
// WebUI read them.
type SQLite struct {
	Head string

	statements []statement
}

// peeweeSQLite is the table that peewee-migrate makes in SQLite, see
// [NeedsPeeweeHistory].
const peeweeSQLite = `CREATE TABLE "migratehistory" ("id" INTEGER NOT NULL PRIMARY KEY, "name" VARCHAR(255) NOT NULL, "migrated_at" DATETIME NOT NULL)`

// LoadSQLite reads the schema of a head for a file to be made: where the
// releases of the head need the table migratehistory to start, it is there too.
// The error is ErrUnknownHead when there is none.
func LoadSQLite(head string) (*SQLite, error) {
	if Releases(head) == nil {
		return nil, fmt.Errorf("loading SQLite's schema %q: %w", head, ErrUnknownHead)
	}
	src, err := sqliteFiles.ReadFile("sqlite/" + head + ".sql")
	if err != nil {
		return nil, fmt.Errorf("loading SQLite's schema %q: %w", head, err)
	}
	all := strings.Split(strings.TrimSuffix(string(src), ";\n"), ";\n\n")
	if NeedsPeeweeHistory(head) {
		all = append(all, peeweeSQLite)
	}
	s := &SQLite{Head: head}
	for _, sql := range all {
		st, err := readSQLite(sql)
		if err != nil {
			return nil, fmt.Errorf("parsing sqlite/%s.sql: %w", head, err)
		}
		s.statements = append(s.statements, st)
	}
	return s, nil
}

// readSQLite finds out what a statement makes.
func readSQLite(sql string) (statement, error) {
	st := statement{parts: []part{{text: sql}}}
	words := make([]token, 0, 6)
	for i := 0; i < len(sql) && len(words) < cap(words); {
		if strings.IndexByte(" \t\r\n", sql[i]) >= 0 {
			i++
			continue
		}
		t, err := next(sql, i)
		if err != nil {
			return st, err
		}
		words, i = append(words, t), t.end
	}
	is := func(n int, text string) bool {
		return n < len(words) && words[n].kind == word && words[n].text == text
	}
	unique := is(1, "UNIQUE")
	if unique {
		words = slices.Delete(words, 1, 2)
	}
	switch {
	case is(0, "CREATE") && is(1, "TABLE") && !unique && len(words) > 2:
		st.kind, st.name, st.table = KindTable, words[2].text, words[2].text
	case is(0, "CREATE") && is(1, "INDEX") && is(3, "ON") && len(words) > 4:
		st.kind, st.name, st.table = KindIndex, words[2].text, words[4].text
		if !unique {
			st.phase = AfterLoad
		}
	default:
		first, _, _ := strings.Cut(sql, "\n")
		return st, fmt.Errorf("not understood: %.60s", first)
	}
	return st, nil
}

// Statements gives the commands of a phase in an order in which they can run:
// of BeforeLoad the tables and the indexes that can refuse a row, of AfterLoad
// the other indexes. The foreign keys stand in the tables; SQLite holds nobody
// to them while PRAGMA foreign_keys is off.
func (s *SQLite) Statements(phase Phase) []Statement {
	var all []Statement
	for _, st := range s.statements {
		if st.phase == phase {
			all = append(all, Statement{st.kind, st.name, st.table, st.in("")})
		}
	}
	return all
}
