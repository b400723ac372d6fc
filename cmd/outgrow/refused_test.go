package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/testdata/servers"
)

// taken puts another file into a folder under the name of the source's first
// upload, and gives the id of its row.
func taken(tb testing.TB, l *lab, uploads map[string]string, put func(name, body string)) (id, name string) {
	tb.Helper()
	name = slices.Sorted(maps.Keys(uploads))[0]
	put(name, "somebody else's")
	id, _, _ = strings.Cut(name, "_")
	return id, name
}

func inFolder(tb testing.TB, dir string) func(name, body string) {
	return func(name, body string) {
		tb.Helper()
		if err := os.MkdirAll(filepath.Join(dir, "uploads"), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "uploads", name), []byte(body), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

func (l *lab) path(id string) string {
	l.tb.Helper()
	return ask[string](l, "SELECT path FROM file WHERE id = $1", id)
}

// A row whose file the target has refused is not led to the file that is there
// in its place, whether the operator agrees to the loss or not.
func TestRowOfRefusedUpload(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{"folder", "s3"} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "", servers.Plain)
			l.set("VECTOR_DB", "")
			put, prefix := inFolder(t, l.share), l.share+"/uploads/"
			if provider == "s3" {
				vars, path := providers["s3"](t)
				for k, v := range vars {
					l.set(k, v)
				}
				put, prefix = func(name, body string) { l.put(map[string]string{name: body}) }, path
			}
			id, name := taken(t, l, inUploads(t, l.from), put)
			flags := []string{"--only", "rows,files"}
			check := func(led int) {
				t.Helper()
				if _, n := l.paths(prefix); n != led {
					t.Errorf("%d paths lead to the target, want %d", n, led)
				}
				if at := l.path(id); strings.HasPrefix(at, prefix) != (led == 30) || !strings.HasSuffix(at, name) {
					t.Errorf("the refused file's path is %s", at)
				}
			}
			l.migrate(flags...).exits(4, "duplicate", "paths   1 row of refused files lead where they did before")
			check(29)
			l.verify(flags...).exits(4, "1 difference;", "! files/uploads uploads/"+name+": in the quarantine, not accepted", "2,972 rows compared, 2,972 equal")
			l.migrate(append(flags, "--accept", "duplicate")...).exits(0)
			check(29)
			l.verify(flags...).exits(0, "1 as agreed to", "verify: equal")
			l.migrate(append(flags, "--replace")...).exits(0)
			check(30)
			l.equal(flags...)
		})
	}
}

// Rows that were moved before the files were refused: they are named, and it is
// no success until somebody agrees.
func TestRowsBeforeRefusedUpload(t *testing.T) {
	t.Parallel()
	l := newLab(t, "", servers.Plain)
	l.set("VECTOR_DB", "")
	l.migrate("--only", "rows").exits(0)
	if _, n := l.paths(l.share + "/uploads/"); n != 30 {
		t.Fatalf("%d paths lead to the target", n)
	}
	id, _ := taken(t, l, inUploads(t, l.from), inFolder(t, l.share))
	l.migrate("--only", "files").exits(4, "another "+id+": its file.path leads to a file that the target had before", "--replace puts their own files there", "path-of-another")
	l.migrate("--only", "files", "--accept", "duplicate").exits(4, "another "+id, "--accept path-of-another")
	l.verify("--only", "files").exits(4, "* rows/file "+id+" path: leads to a file that the target had before")
	l.verify("--only", "rows,files").exits(4, id)

	// The rows once more, which leave that one alone.
	l.migrate("--only", "rows", "--replace").exits(0)
	if _, n := l.paths(l.share + "/uploads/"); n != 29 {
		t.Errorf("%d paths lead to the target", n)
	}
	l.migrate("--only", "files").exits(0, "paths   1 row of refused files lead where they did before")
	l.verify("--only", "rows,files").exits(0, "1 as agreed to", "2,972 rows compared, 2,972 equal", "verify: equal")
	l.equal("--only", "rows")
}

// Who agrees that a row leads to another file gets his way.
func TestRowOfAnotherAccepted(t *testing.T) {
	t.Parallel()
	l := newLab(t, "", servers.Plain)
	l.set("VECTOR_DB", "")
	l.migrate("--only", "rows").exits(0)
	taken(t, l, inUploads(t, l.from), inFolder(t, l.share))
	l.migrate("--only", "files", "--accept", "duplicate,path-of-another").exits(0, "another ")
	l.verify("--only", "files").exits(0, "1 as agreed to", "verify: equal")
}

// The switch of a deployment on PostgreSQL: the row of a refused file stays.
func TestSwitchLeavesRefused(t *testing.T) {
	t.Parallel()
	share := t.TempDir()
	l := onPostgres(t, map[string]string{"DATA_DIR": share})
	id, name := taken(t, l, inUploads(t, l.share), inFolder(t, share))
	old := l.path(id)
	l.migrate("--only", "files").exits(4, "not switched", "duplicate")
	l.migrate("--only", "files", "--accept", "duplicate").exits(0, "29 rows switched", "1 kept")
	if now := l.path(id); now != old {
		t.Errorf("the path is %s, was %s", now, old)
	}
	l.verify("--only", "files").exits(0, "29 paths of table file", "verify: equal")
	l.migrate("--only", "files", "--replace").exits(0, "1 row switched")
	if now := l.path(id); now != share+"/uploads/"+name {
		t.Errorf("the path is %s", now)
	}
	l.equal("--only", "files").says("30 paths of table file")
}
