package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"outgrow/mappings/fstype"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
)

var (
	groupColumns  = []string{"id", "name", "parent_group_id"}
	memberColumns = []string{"id", "group_id", "user_id"}
)

func TestTargetsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make  func(t *testing.T, p place)
		state State
		about string
	}{
		"a database":            {func(t *testing.T, p place) { put(t, p.db(), "SQLite format 3\x00") }, InUse, "was not begun by outgrow"},
		"an empty file":         {func(t *testing.T, p place) { put(t, p.db(), "") }, InUse, "was not begun by outgrow"},
		"a link to nowhere":     {func(t *testing.T, p place) { link(t, "/no/where", p.db()) }, InUse, "was not begun by outgrow"},
		"a folder of the name":  {func(t *testing.T, p place) { dir(t, p.db()) }, InUse, "was not begun by outgrow"},
		"a log alone":           {func(t *testing.T, p place) { put(t, p.db()+"-wal", "x") }, InUse, "without its database"},
		"a journal alone":       {func(t *testing.T, p place) { put(t, p.db()+"-journal", "x") }, InUse, "without its database"},
		"another's unfinished":  {func(t *testing.T, p place) { another(t, p) }, Foreign, "unfinished database of another run"},
		"an unfinished of none": {func(t *testing.T, p place) { put(t, filepath.Join(p.data, ".outgrow-partial-webui.db"), "") }, Foreign, "unfinished database of another run"},
		"no folder":             {func(t *testing.T, p place) { gone(t, p.data) }, NoFolder, "is not there"},
		"a database that is gone": {func(t *testing.T, p place) {
			s, j := opened(t, p, nil)
			prepare(t, s, "user")
			ended(t, s, j)
			for _, f := range p.files(t) {
				gone(t, filepath.Join(p.data, f))
			}
		}, Lost, "that is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			c.make(t, p)
			before := listing(t, p)
			s, _ := opened(t, p, nil)
			got, err := s.Inspect(t.Context())
			if err != nil || got.State != c.state {
				t.Errorf("state %s, %v; want %s", got.State, err, c.state)
			}
			wantHint(t, s.Prepare(t.Context(), unit("user")), pipeline.ExitUsage, c.about)
			found, err := s.Check(t.Context(), nil)
			if err != nil || len(found) == 0 || found[0].Severity != pipeline.Refuse || !strings.Contains(found[0].Text, c.about) || found[0].Fix == "" {
				t.Errorf("%+v, %v", found, err)
			}
			if err := s.Release(t.Context()); err == nil {
				t.Error("released")
			}
			if after := listing(t, p); before != after {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func dir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func gone(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// another begins a run with a state folder of its own.
func another(t *testing.T, p place) {
	t.Helper()
	s, j := opened(t, place{p.data, t.TempDir()}, nil)
	prepare(t, s, "user")
	write(t, s, batch("user", "", "1", users(0, 3)))
	ended(t, s, j)
}

func listing(t *testing.T, p place) string {
	t.Helper()
	var b strings.Builder
	_ = filepath.WalkDir(p.data, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			body, _ := os.ReadFile(path)
			b.WriteString(path + " " + pipeline.Digest(string(body)) + "\n")
		}
		return nil
	})
	return b.String()
}

func TestUnknownHead(t *testing.T) {
	t.Parallel()
	s, _ := opened(t, newPlace(t), func(c *Config) { c.Head = "ffffffffffff" })
	wantHint(t, s.Prepare(t.Context(), unit("user")), pipeline.ExitUsage, "of no release that is known")
	if _, err := s.Columns(t.Context()); err == nil {
		t.Error("columns of an unknown head")
	}
}

func TestNetworkFileSystemIsRefused(t *testing.T) {
	t.Parallel()
	j, err := localstate.Open(t.Context(), t.TempDir(), pipeline.Rows)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, m := range []fstype.Magic{fstype.NFS, fstype.CIFS, fstype.Ceph, fstype.FUSE} {
		_, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "webui.db"), Head: head, Journal: j,
			FileSystem: func(string) (fstype.Type, error) { return fstype.Type{Magic: m}, nil }})
		wantHint(t, err, pipeline.ExitUsage, "SQLite's locks")
		if !errors.Is(err, fstype.ErrSQLite) {
			t.Error(err)
		}
	}
}

// Rows whose parent is missing leave for the quarantine, whole, with their
// children; a key that is SET NULL is cleared, with a line in the ledger.
func TestOrphansAreSettled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s, j := opened(t, p, nil)
	prepare(t, s, "user", "group", "group_member", "knowledge", "knowledge_directory")
	write(t, s, batch("user", "", "1", users(0, 2)))
	write(t, s, batch("group", "", "1", rowsOf("group", groupColumns, []any{"child", "c", "parent"}, []any{"parent", "p", nil}, []any{"stray", "s", "nowhere"})))
	write(t, s, batch("group_member", "", "1", rowsOf("group_member", memberColumns,
		[]any{"m1", "parent", "u000000"}, []any{"m2", "nowhere", "u000000"}, []any{"m3", "parent", "nobody"})))
	dirs := []string{"id", "knowledge_id", "parent_id", "name", "user_id", "created_at", "updated_at"}
	var chain [][]any
	for i := range 250 { // each the parent of the next; the first has none
		parent := "nowhere"
		if i > 0 {
			parent = chain[i-1][0].(string)
		}
		chain = append(chain, []any{"d" + string(rune('a'+i/26)) + string(rune('a'+i%26)), "k", parent, "n", "u", int64(1), int64(1)})
	}
	write(t, s, batch("knowledge", "", "1", rowsOf("knowledge", []string{"id", "user_id", "name", "created_at"}, []any{"k", "u", "n", int64(1)})))
	slices.Reverse(chain)
	write(t, s, batch("knowledge_directory", "", "1", rowsOf("knowledge_directory", dirs, chain...)))
	s.step = func(at string) { // the lines are on the disk before the rows are touched
		if at == "settle" {
			if lines, err := countLines(j); err != nil || lines == 0 {
				t.Errorf("%d lines, %v", lines, err)
			}
		}
	}
	finish(t, s)
	db := whole(t, p)
	if got := ask[string](t, db, `SELECT group_concat(id || ':' || coalesce(parent_group_id, '-'), ' ') FROM (SELECT * FROM "group" ORDER BY id)`); got != "child:parent parent:- stray:-" {
		t.Error(got)
	}
	if got := ask[string](t, db, "SELECT group_concat(id) FROM group_member"); got != "m1" {
		t.Error(got)
	}
	if n := ask[int](t, db, "SELECT count(*) FROM knowledge_directory"); n != 0 {
		t.Errorf("%d directories are left", n)
	}
	refused, changed, err := j.Tallies(t.Context())
	if err != nil || len(refused) != 2 || refused[0].Count != 2 || refused[1].Count != 250 || refused[0].Reason != pipeline.Orphan || len(changed) != 1 || changed[0].Reason != pipeline.ParentCleared {
		t.Errorf("%+v, %+v, %v", refused, changed, err)
	}
	lines, err := j.Refused(t.Context(), "rows/group_member", "m2")
	if err != nil || len(lines) != 1 {
		t.Fatalf("%+v, %v", lines, err)
	}
	var body struct{ Values map[string]any }
	if err := json.Unmarshal(lines[0].Record, &body); err != nil || body.Values["user_id"] != "u000000" || lines[0].Column != "group_id" {
		t.Errorf("%s, %v", lines[0].Record, err)
	}

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// The parent came after all: the row may go in now, and not before.
	missing := rowsOf("group_member", memberColumns, []any{"m2", "nowhere", "u000000"})
	if out, err := s.Put(t.Context(), unit("group_member"), missing); err != nil || out.Written != 0 || len(out.Refused) != 1 || out.Refused[0].Reason != pipeline.Orphan {
		t.Errorf("%+v, %v", out, err)
	}
	for range 2 {
		if out, err := s.Put(t.Context(), unit("group"), rowsOf("group", groupColumns, []any{"nowhere", "found", nil})); err != nil || out.Written != 1 {
			t.Errorf("%+v, %v", out, err)
		}
		if out, err := s.Put(t.Context(), unit("group_member"), missing); err != nil || out.Written != 1 || len(out.Refused) != 0 {
			t.Errorf("%+v, %v", out, err)
		}
	}
	if out, err := s.Put(t.Context(), unit("group"), rowsOf("group", groupColumns, []any{"parent", "another", nil})); err != nil || len(out.Refused) != 1 || out.Refused[0].Reason != pipeline.Duplicate {
		t.Errorf("%+v, %v", out, err)
	}
	ended(t, s, j)
	whole(t, p)
}

func countLines(j *localstate.Store) (n int, err error) {
	refused, changed, err := j.Tallies(context.Background())
	return len(refused) + len(changed), err
}

// A batch that is written again, with other rows than the first time, takes the
// first ones back: the source has changed in between.
func TestRepeatedBatchTakesTheFirstBack(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s, _ := opened(t, p, nil)
	prepare(t, s, "user", "config_old")
	write(t, s, batch("user", "", "1", users(0, 5)))
	write(t, s, batch("user", "1", "2", users(5, 5)))
	changed := users(5, 3)
	changed[0].Values[1] = "other"
	if out := write(t, s, batch("user", "1", "2", changed)); out.Written != 3 || len(out.Refused) > 0 {
		t.Errorf("%+v", out)
	}
	old := []string{"id", "data", "version", "created_at"}
	for _, data := range []string{`{"first": 1}`, `{"then": 1}`} {
		if out := write(t, s, batch("config_old", "", "1", rowsOf("config_old", old, []any{int64(7), data, int64(0), "2024-02-29 01:02:03"}))); out.Written != 1 {
			t.Errorf("%+v", out)
		}
	}
	if out := write(t, s, batch("user", "2", "3", users(7, 2))); out.Written != 2 || len(out.Refused) > 0 { // u7 is there as it is
		t.Errorf("%+v", out)
	}
	other := users(1, 1)
	other[0].Values[3] = "admin"
	if out := write(t, s, batch("user", "3", "4", other)); out.Written != 0 || len(out.Refused) != 1 || out.Refused[0].Reason != pipeline.Duplicate {
		t.Errorf("%+v", out)
	}
	finish(t, s)
	db := whole(t, p)
	if n := ask[int](t, db, `SELECT count(*) FROM "user"`); n != 9 {
		t.Errorf("%d users", n)
	}
	if got := ask[string](t, db, `SELECT name FROM "user" WHERE id = 'u000005'`) + ask[string](t, db, "SELECT data FROM config_old WHERE id = 7"); got != `other{"then": 1}` {
		t.Error(got)
	}
}

// With Replace an old database is moved aside with its log, and stays whole.
func TestReplace(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	another(t, p)
	put(t, p.db(), "old")
	put(t, p.db()+"-wal", "log")
	s, _ := opened(t, p, func(c *Config) { c.Replace = true })
	found, err := s.Check(t.Context(), nil)
	if err != nil || len(found) != 1 || found[0].Severity != pipeline.Warn || !strings.Contains(found[0].Text, "webui.db.replaced-1") {
		t.Errorf("%+v, %v", found, err)
	}
	for range 2 {
		if err := s.Empty(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	prepare(t, s, "user")
	write(t, s, batch("user", "", "1", users(0, 2)))
	put(t, p.db()+"-shm", "of whom?") // made meanwhile
	if _, err := s.Finish(t.Context(), func(string) {}); err != nil {
		t.Fatal(err)
	}
	wantHint(t, s.Release(t.Context()), pipeline.ExitUsage, "without its database")
	gone(t, p.db()+"-shm")
	put(t, p.db(), "made meanwhile")
	wantHint(t, s.Release(t.Context()), pipeline.ExitUsage, "not begun by outgrow")
	gone(t, p.db())
	if err := s.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.files(t); !slices.Equal(got, []string{"webui.db", "webui.db.replaced-1", "webui.db.replaced-1-wal"}) {
		t.Errorf("%v", got)
	}
	for path, want := range map[string]string{p.db() + ".replaced-1": "old", p.db() + ".replaced-1-wal": "log"} {
		if body, err := os.ReadFile(path); string(body) != want {
			t.Errorf("%s: %q, %v", path, body, err)
		}
	}
}

// A log that has no database does not become the new one's, nor that of one
// which was moved aside.
func TestReplaceOfALogAlone(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	put(t, p.db()+"-wal", "log")
	s, _ := opened(t, p, func(c *Config) { c.Replace = true })
	if err := s.Empty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.files(t); !slices.Equal(got, []string{"webui.db-wal.replaced-1"}) {
		t.Errorf("%v", got)
	}
}

// Each call refuses what the one before it has not made.
func TestNotPrepared(t *testing.T) {
	t.Parallel()
	s, _ := opened(t, newPlace(t), nil)
	if _, err := s.Write(t.Context(), batch("user", "", "1", users(0, 1))); err == nil {
		t.Error("written to nothing")
	}
	if _, err := s.Finish(t.Context(), func(string) {}); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Error(err)
	}
	if err := s.Release(t.Context()); err == nil {
		t.Error("released")
	}
	prepare(t, s, "user")
	wantHint(t, s.Prepare(t.Context(), unit("no_such_table")), pipeline.ExitUsage, "no such table")
	wantHint(t, s.Prepare(t.Context(), unit("alembic_version")), pipeline.ExitUsage, "no such table")
	wantHint(t, s.Release(t.Context()), pipeline.ExitFailed, "not finished")
	finish(t, s)
	if _, err := s.Write(t.Context(), batch("user", "", "1", users(0, 1))); err == nil {
		t.Error("loaded into a database that has its name")
	}
}

// While it is made the file is its owner's alone; done, it is its folder's.
func TestOwnerAndMode(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	if err := os.Chmod(p.data, 0o770); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(p.data, 12345, 23456); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := opened(t, p, nil)
	prepare(t, s, "user")
	if st, err := os.Stat(s.Partial()); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	finish(t, s)
	st, err := os.Stat(p.db())
	if err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if own := st.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && (own.Uid != 12345 || own.Gid != 23456) {
		t.Errorf("owner %d:%d", own.Uid, own.Gid)
	}
}

// A release that was stopped after the file had its name, before the journal said
// that nothing is missing any more, is ended by the next one.
func TestReleaseStoppedAtItsLastMark(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s, j := opened(t, p, nil)
	prepare(t, s, "user")
	write(t, s, batch("user", "", "1", users(0, 2)))
	finish(t, s)
	if err := j.Mark(t.Context(), markVersion, head); err != nil {
		t.Fatal(err)
	}
	ended(t, s, j)
	again, j := opened(t, p, nil)
	if err := again.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	marks, err := j.Marked(t.Context())
	if err != nil || marks[markVersion] != "" || marks[markReleased] != head {
		t.Errorf("%v, %v", marks, err)
	}
}
