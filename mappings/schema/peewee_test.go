package schema

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"outgrow/testdata/servers"
)

func TestHeadsThatNeedPeeweeHistory(t *testing.T) {
	heads := Heads()
	last := slices.Index(heads, "a0b1c2d3e4f5") // 0.9.4 and 0.9.5; 0.9.6 left peewee out
	for i, head := range heads {
		if got := NeedsPeeweeHistory(head); got != (i <= last) {
			t.Errorf("%s %v: %v", head, Releases(head), got)
		}
	}
	if NeedsPeeweeHistory("ffffffffffff") {
		t.Error("an unknown head needs it")
	}
}

func TestPeeweeHistoryOnARealServer(t *testing.T) {
	s, err := PeeweeHistory()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), servers.PostgreSQL(t, servers.Plain))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	sql := []string{`CREATE SCHEMA "owui data"`}
	for _, st := range s.Statements("owui data", BeforeLoad) {
		sql = append(sql, st.SQL)
	}
	for _, st := range sql {
		if _, err := conn.Exec(t.Context(), st); err != nil {
			t.Fatalf("%s\n%v", st, err)
		}
	}
	var id int
	err = conn.QueryRow(t.Context(), `INSERT INTO "owui data".migratehistory (name, migrated_at)
		VALUES ('001_initial_schema', '2024-05-01 10:00:00.123456') RETURNING id`).Scan(&id)
	if err != nil || id != 1 {
		t.Errorf("id %d, %v", id, err)
	}
}
