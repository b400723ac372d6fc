package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/testdata/servers"
)

// onPostgres is a deployment that runs on PostgreSQL with its files on a local
// disk, and a second env file for it: what the variables say is to be different
// there.
func onPostgres(tb testing.TB, vars map[string]string) *lab {
	tb.Helper()
	old := newLab(tb, "", servers.Plain)
	old.set("VECTOR_DB", "")
	old.migrate("--only", "rows,files").exits(0)
	return old.other(vars)
}

// other is the lab from a lab's target to another env file on its database; ""
// removes a variable.
func (l *lab) other(vars map[string]string) *lab {
	l.tb.Helper()
	n := &lab{tb: l.tb, dir: l.tb.TempDir(), from: l.env, share: l.share, dsn: l.dsn, vars: map[string]string{}}
	n.env = filepath.Join(n.dir, "new.env")
	for k, v := range l.vars {
		n.vars[k] = v
	}
	for k, v := range vars {
		n.vars[k] = v
		if v == "" {
			delete(n.vars, k)
		}
	}
	n.write()
	return n
}

// paths are file.path of all rows, and how many begin so.
func (l *lab) paths(prefix string) (all string, n int) {
	l.tb.Helper()
	return ask[string](l, "SELECT string_agg(id || ' ' || coalesce(path, ''), E'\n' ORDER BY id) FROM file"),
		ask[int](l, "SELECT count(*) FROM file WHERE starts_with(path, $1)", prefix)
}

func (l *lab) revert(more ...string) result {
	l.tb.Helper()
	return l.in(append([]string{"files", "revert", "--to", l.env}, more...)...)
}

// The files of a deployment on PostgreSQL go to another folder, the rows follow
// in one transaction, and come back.
func TestSwitchFolderAndRevert(t *testing.T) {
	t.Parallel()
	share := t.TempDir()
	l := onPostgres(t, map[string]string{"DATA_DIR": share})
	before := tree(t, l.share)
	old, n := l.paths(l.share + "/uploads/")
	if n != 30 {
		t.Fatalf("%d paths lead to the old folder", n)
	}
	do(t, l.dsn, "INSERT INTO file (id, user_id, filename, path, created_at, updated_at) VALUES ('lost', 'u', 'x', '/nowhere/lost_x', 1, 1)")
	l.plan("--only", "files").exits(0, "file.path of 30 rows is switched", "1 row name files that the source does not have")
	if _, n := l.paths(share); n != 0 {
		t.Errorf("plan has switched %d paths", n)
	}
	l.verify("--only", "files").exits(4, "missing")
	l.migrate("--only", "files").exits(0, "34 files", "paths   30 rows switched", "1 kept")
	if _, n := l.paths(share + "/uploads/"); n != 30 {
		t.Errorf("%d paths lead to the new folder", n)
	}
	l.equal("--only", "files").says("30 paths of table file compared", "30 equal")
	l.in("status", "--to", l.env).exits(0, "files   complete", "paths   of 30 rows were switched")
	l.migrate("--only", "files").exits(0, "paths   0 rows switched", "30 there already")

	// One row is changed, one deleted, one made by the app that runs on the new
	// folder.
	do(t, l.dsn, "UPDATE file SET path = '/elsewhere/x' WHERE id = (SELECT min(id) FROM file WHERE path LIKE '"+share+"%')",
		"DELETE FROM file WHERE id = (SELECT max(id) FROM file WHERE path LIKE '"+share+"%')",
		"INSERT INTO file (id, user_id, filename, path, created_at, updated_at) VALUES ('new', 'u', 'x', '"+share+"/uploads/new_x', 1, 1)")
	r := l.revert().exits(4, "28 rows have their old file.path again; 1 deleted since", "1 row made since")
	if strings.Count(r.out, "its path was changed since") != 1 {
		t.Errorf("the changed row:\n%s", r.out)
	}
	l.revert().exits(4, "28 rows") // it may be repeated
	l.in("status", "--to", l.env).exits(0, "put back at")
	if _, n := l.paths(l.share + "/uploads/"); n != 28 {
		t.Errorf("%d paths lead to the old folder again", n)
	}
	now, _ := l.paths("")
	same := 0
	for _, line := range strings.Split(now, "\n") {
		if strings.Contains(old, line) {
			same++
		}
	}
	if same != 28 {
		t.Errorf("%d rows are as they were", same)
	}
	unchanged(t, l.share, before)
}

// Nothing is switched while a file waits, or the application seems to run; and
// what makes it wait is said.
func TestSwitchWaits(t *testing.T) {
	t.Parallel()
	share := t.TempDir()
	l := onPostgres(t, map[string]string{"DATA_DIR": share})
	var upload string
	entries, err := os.ReadDir(filepath.Join(l.share, "uploads"))
	if err != nil {
		t.Fatal(err)
	}
	upload = entries[0].Name()
	// Another file of the same name on the target.
	if err := os.Mkdir(filepath.Join(share, "uploads"), 0o755); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(share, "uploads", upload)
	if err := os.WriteFile(taken, []byte("other bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.migrate("--only", "files").exits(4, "paths   not switched", "quarantine", "duplicate")
	if _, n := l.paths(share); n != 0 {
		t.Errorf("%d paths are switched", n)
	}
	if err := os.Remove(taken); err != nil {
		t.Fatal(err)
	}
	app := conn(t, l.dsn) // the application, which runs
	l.plan("--only", "files").exits(0, "seems to run")
	l.migrate("--only", "files", "--replace").exits(4, "paths   not switched: Open WebUI seems to run")
	if _, n := l.paths(share); n != 0 {
		t.Errorf("%d paths are switched", n)
	}
	l.migrate("--only", "files", "--stopped").exits(0, "paths   30 rows switched")
	servers.Hangup(app)
	l.equal("--only", "files")
	l.revert().exits(0, "30 rows have their old file.path again")
}

// Where the rows are elsewhere, it is said who changes them.
func TestPathsElsewhere(t *testing.T) {
	t.Parallel()
	l := newLab(t, "", servers.Plain)
	l.set("VECTOR_DB", "")
	l.plan("--only", "files").exits(0, "file.path is changed where the rows are moved")
	l.set("DATABASE_URL", "")
	l.migrate("--only", "files").exits(0, "file.path in webui.db is not changed")
	a, b := onPostgres(t, nil), newLab(t, "", servers.Plain)
	a.set("DATA_DIR", t.TempDir())
	a.set("DATABASE_URL", b.dsn)
	a.plan("--only", "files").exits(0, "name different databases")
	a.set("DATABASE_URL", "")
	a.plan("--only", "files").exits(0, "does not name the database")
	a.revert().exits(2, "does not name a PostgreSQL").nextStep()
	a.set("DATABASE_URL", a.dsn)
	a.revert().exits(2, "never switched").nextStep()
}
