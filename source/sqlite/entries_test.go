package sqlite

import (
	"fmt"
	"path/filepath"
	"testing"

	"outgrow/pipeline"
)

// How many rows have a zero is told from an index as SQLite tells it, and not told
// where the index does not tell it plainly.
func TestZeros(t *testing.T) {
	t.Parallel()
	const plain = "CREATE INDEX by_done ON message (role, done)"
	for name, c := range map[string]struct {
		page                    int
		declared, index, change string
		sure                    bool
	}{
		"plain":          {4096, "BOOLEAN", plain, "", true},
		"small pages":    {512, "BOOLEAN", plain, "", true},
		"done first":     {1024, "BOOLEAN", "CREATE INDEX by_done ON message (done)", "", true},
		"downward":       {4096, "BOOLEAN", "CREATE INDEX by_done ON message (role, done DESC)", "", true},
		"other numbers":  {4096, "BOOLEAN", plain, "UPDATE message SET done = id * 100000000000 - 256 WHERE id % 2 = 0", true},
		"text that is 0": {4096, "BOOLEAN", plain, "UPDATE message SET done = '0' WHERE id % 5 = 0", true},
		"no rows":        {4096, "BOOLEAN", plain, "DELETE FROM message", true},
		"only NULL":      {512, "BOOLEAN", plain, "UPDATE message SET done = NULL", true},
		"text":           {4096, "BOOLEAN", plain, "UPDATE message SET done = 'no' WHERE id = 77", false},
		"a blob":         {4096, "BOOLEAN", plain, "UPDATE message SET done = x'00' WHERE id = 77", false},
		"a real zero":    {4096, "", plain, "UPDATE message SET done = 0.0 WHERE id = 77", false},
		"a half":         {4096, "BOOLEAN", plain, "UPDATE message SET done = 0.5 WHERE id = 77", false},
		"not indexed":    {4096, "BOOLEAN", "SELECT 1", "", false},
		"some indexed":   {4096, "BOOLEAN", "CREATE INDEX by_done ON message (done) WHERE role = 'user'", "", false},
		"an expression":  {4096, "BOOLEAN", "CREATE INDEX by_done ON message (done + 1)", "", false},
		"long entries":   {512, "BOOLEAN", plain, "UPDATE message SET role = hex(zeroblob(400)) WHERE id = 5", false},
		"large pages":    {65536, "BOOLEAN", plain, "UPDATE message SET done = 0 WHERE id < 50", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "webui.db")
			d := writable(t, path)
			d.must(t, fmt.Sprintf("PRAGMA page_size = %d", c.page), "PRAGMA journal_mode = wal", "PRAGMA synchronous = off", "BEGIN",
				"CREATE TABLE alembic_version (version_num TEXT PRIMARY KEY)", "INSERT INTO alembic_version VALUES ('0bd252b206fb')",
				`CREATE TABLE "user" (id TEXT PRIMARY KEY)`, "CREATE TABLE message (id INTEGER PRIMARY KEY, role TEXT, done "+c.declared+")", c.index)
			for i := range 3000 {
				d.must(t, fmt.Sprintf("INSERT INTO message VALUES (%d, '%s', %s)", i+1, []string{"user", "assistant"}[i%2], []string{"1", "0", "NULL", "1", "2"}[i%5]))
			}
			d.must(t, "COMMIT", "PRAGMA wal_checkpoint(TRUNCATE)")
			if c.change != "" {
				d.must(t, c.change)
				path = crashed(t, path) // it is in the -wal
			}
			if err := d.close(); err != nil {
				t.Fatal(err)
			}
			s, alone := both(t, path, pipeline.Limits{})
			want, err := alone.number(t.Context(), "SELECT count(*) FROM message WHERE done = 0")
			if err != nil {
				t.Fatal(err)
			}
			if n, sure := s.zeros(t.Context(), "message", "done"); sure != c.sure || sure && n != want {
				t.Errorf("%d of %d rows (sure: %v)", n, want, sure)
			}
			if _, sure := alone.zeros(t.Context(), "message", "done"); sure {
				t.Error("a reader that is to ask SQLite does not")
			}
		})
	}
}
