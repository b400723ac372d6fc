package sqlite

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// readsAhead reports whether the methods of the source's file are our own.
func readsAhead(t *testing.T, s *Source) bool {
	t.Helper()
	out := libc.Xcalloc(s.db.tls, 1, 8)
	defer libc.Xfree(s.db.tls, out)
	if rc := lib.Xsqlite3_file_control(s.db.tls, s.db.db, 0, lib.SQLITE_FCNTL_FILE_POINTER, out); rc != lib.SQLITE_OK {
		t.Fatal(s.db.error(rc))
	}
	file := *at[uintptr](out)
	behind := at[lib.Tsqlite3_file](file).FpMethods - file
	return behind < 4096 && aheadOf(file).n > 0
}

// In whatever order pages are read, they are what the file holds: also in its
// last part, of other sizes of a page, and where much of the file is free.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	for _, page := range []int{512, 4096, 65536} {
		t.Run(fmt.Sprint(page), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(servers.DataDir(t), "webui.db")
			db, err := sql.Open("sqlite", "file:"+path)
			if err != nil {
				t.Fatal(err)
			}
			db.SetMaxOpenConns(1)
			for _, q := range []string{
				"PRAGMA journal_mode = delete", fmt.Sprintf("PRAGMA page_size = %d", page), "VACUUM", "PRAGMA journal_mode = wal",
				"CREATE TABLE odd (id INTEGER PRIMARY KEY, name TEXT, v BLOB)", "CREATE INDEX odd_name ON odd (name)",
				"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) INSERT INTO odd SELECT i, hex(randomblob(20)), randomblob(CASE WHEN i % 50 = 0 THEN 70000 ELSE i % 900 END) FROM n",
				"DELETE FROM odd WHERE id % 3 = 0",
				"INSERT INTO odd SELECT id + 5000, name, randomblob(300) FROM odd WHERE id % 2 = 0",
			} {
				if _, err := db.Exec(q); err != nil {
					t.Fatalf("%s: %v", q, err)
				}
			}
			want := map[string]string{}
			h := &pipeline.Table{Name: "odd", Columns: []string{"id", "name", "v"}, Key: []int{0}}
			for _, r := range records(t, db, h) {
				want[r.Key()] = fmt.Sprintf("%q", r.Values)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), Config{Path: path, Stopped: new(true), Limits: pipeline.Limits{Records: 40}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			rd, err := s.reader("odd")
			if err != nil {
				t.Fatal(err)
			}
			if !readsAhead(t, s) {
				t.Fatal("the file is not read ahead: the test shows too little")
			}
			rng := rand.New(rand.NewPCG(uint64(page), 1))
			seen := map[string]bool{}
			take := func(rows []*pipeline.Row) {
				for _, r := range rows {
					seen[r.Key()] = true
					if got := fmt.Sprintf("%q", r.Values); got != want[r.Key()] {
						t.Fatalf("row %s is %.80s, want %.80s", r.Key(), got, want[r.Key()])
					}
				}
			}
			for range 200 {
				b, _, _, err := rd.batch(int64(rng.IntN(7000)), int64(rng.IntN(7000)))
				if err != nil {
					t.Fatal(err)
				}
				take(b.Records)
			}
			for b, err := range s.Read(t.Context(), pipeline.Part{Unit: table("odd")}, "") {
				if err != nil {
					t.Fatal(err)
				}
				take(b.Records)
			}
			if len(seen) != len(want) || len(want) < 1000 {
				t.Errorf("%d of %d rows were read", len(seen), len(want))
			}
		})
	}
}
