package sqlite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/pipeline"
)

// families makes a database of children and their parents.
func families(t *testing.T, page int, index, column string, key func(int) string, parents, children int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "webui.db")
	d := writable(t, path)
	d.must(t, fmt.Sprintf("PRAGMA page_size = %d", page), "PRAGMA synchronous = off", "PRAGMA journal_mode = wal", "BEGIN",
		"CREATE TABLE alembic_version (version_num TEXT PRIMARY KEY)", "INSERT INTO alembic_version VALUES ('0bd252b206fb')",
		`CREATE TABLE "user" (id TEXT PRIMARY KEY)`, "CREATE TABLE parent (id TEXT PRIMARY KEY, a)",
		"CREATE TABLE child (id INTEGER PRIMARY KEY, pid "+column+" REFERENCES parent (id), b)", index)
	for i := range parents {
		d.must(t, fmt.Sprintf("INSERT INTO parent VALUES (%s, %d)", key(i), i))
	}
	for i := range children {
		k := key(i * 7 % parents)
		if i%37 == 0 {
			k = "NULL"
		}
		d.must(t, fmt.Sprintf("INSERT INTO child VALUES (%d, %s, 'x')", i+1, k))
	}
	d.must(t, "COMMIT")
	if page == 4096 {
		d.must(t, "PRAGMA wal_checkpoint(TRUNCATE)")
	}
	d.must(t, "UPDATE child SET b = 'y' WHERE id = 3")
	if page != 4096 { // all is in the -wal
		path = crashed(t, path)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func familyKey(i int) string {
	return fmt.Sprintf("'%08x-0000-4000-8000-%012d'", i*2654435761%(1<<32), i)
}

// Whether every child has its parent is told from the file itself as SQLite tells it,
// and not told where the file does not tell it plainly.
func TestMerged(t *testing.T) {
	t.Parallel()
	long := func(i int) string { return fmt.Sprintf("'%04d %s'", i, strings.Repeat("long ", 300)) }
	integer := func(i int) string { return fmt.Sprint(i) }
	const plain = "CREATE INDEX by_pid ON child (pid, b)"
	for name, c := range map[string]struct {
		page          int
		index, column string
		key           func(int) string
		change        string
		all, sure     bool
	}{
		"plain":              {4096, plain, "TEXT", familyKey, "DELETE FROM child WHERE pid IS NULL", true, true},
		"small pages":        {512, plain, "TEXT", familyKey, "", true, true},
		"large pages":        {16384, plain, "TEXT", familyKey, "", true, true},
		"one gone":           {4096, plain, "TEXT", familyKey, "DELETE FROM parent WHERE a = 77", false, true},
		"first gone":         {512, plain, "TEXT", familyKey, "DELETE FROM parent WHERE id = (SELECT min(id) FROM parent)", false, true},
		"last gone":          {1024, plain, "TEXT", familyKey, "DELETE FROM parent WHERE id = (SELECT max(id) FROM parent)", false, true},
		"no parents":         {512, plain, "TEXT", familyKey, "DELETE FROM parent", false, true},
		"no children":        {4096, plain, "TEXT", familyKey, "DELETE FROM child", true, true},
		"only NULL":          {512, plain, "TEXT", familyKey, "UPDATE child SET pid = NULL", true, true},
		"an empty text":      {512, plain, "TEXT", familyKey, "INSERT INTO child VALUES (9999, '', 'x')", false, true},
		"one with a parent":  {4096, plain, "TEXT", familyKey, "DELETE FROM child WHERE id <> 2", true, true},
		"not indexed":        {4096, "SELECT 1", "TEXT", familyKey, "", true, false},
		"second of an index": {4096, "CREATE INDEX by_b ON child (b, pid)", "TEXT", familyKey, "", true, false},
		"some indexed":       {4096, "CREATE INDEX by_pid ON child (pid) WHERE b = 'y'", "TEXT", familyKey, "", true, false},
		"downward":           {4096, "CREATE INDEX by_pid ON child (pid DESC)", "TEXT", familyKey, "", true, false},
		"any case":           {4096, "CREATE INDEX by_pid ON child (pid COLLATE NOCASE)", "TEXT", familyKey, "", true, false},
		"an expression":      {4096, "CREATE INDEX by_pid ON child (lower(pid))", "TEXT", familyKey, "", true, false},
		"numbers":            {4096, plain, "INTEGER", integer, "", true, false},
		"long keys":          {512, plain, "TEXT", long, "", true, false},
		"long keys that fit": {65536, plain, "TEXT", long, "", true, true},
		"a blob":             {4096, plain, "TEXT", familyKey, "UPDATE child SET pid = x'00' WHERE id = 5", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := families(t, c.page, c.index, c.column, c.key, 300, 2000)
			if c.change != "" {
				d := writable(t, path)
				d.must(t, c.change)
				if err := d.close(); err != nil {
					t.Fatal(err)
				}
			}
			s, alone := both(t, path, pipeline.Limits{})
			all, sure := s.merged(t.Context(), "child", "pid", "parent", "id")
			if sure != c.sure || sure && all != c.all {
				t.Errorf("all have parents: %v (sure: %v)", all, sure)
			}
			if _, sure := alone.merged(t.Context(), "child", "pid", "parent", "id"); sure {
				t.Error("a reader that is to ask SQLite does not")
			}
			for _, s := range []*Source{s, alone} {
				if got := s.allHaveParents(t.Context(), "child"); got != c.all {
					t.Errorf("all have parents: %v", got)
				}
			}
		})
	}
}

// Whatever the bytes of a file are, nothing panics and reading ends.
func TestMergedAtDamage(t *testing.T) {
	t.Parallel()
	for _, page := range []int{512, 4096} {
		path := families(t, page, "CREATE INDEX by_pid ON child (pid)", "TEXT", familyKey, 300, 2000)
		d := writable(t, path)
		d.must(t, "PRAGMA wal_checkpoint(TRUNCATE)")
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
		sound, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(uint64(page), 5))
		told, odd := 0, 0
		for range 150 {
			torn := tear(rng, sound, page, 40)
			path := filepath.Join(t.TempDir(), "webui.db")
			if err := os.WriteFile(path, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), Config{Path: path, Stopped: new(true)})
			if err != nil {
				continue
			}
			if _, sure := s.merged(t.Context(), "child", "pid", "parent", "id"); sure {
				told++
			} else {
				odd++
			}
			_ = s.Close()
		}
		if told == 0 || odd == 0 {
			t.Errorf("%d bytes a page: %d told, %d odd: the test shows too little", page, told, odd)
		}
	}
}
