package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outgrow/source/chroma"
	"outgrow/testdata/servers"
)

// An old webui.db that was left in the folder of a deployment which has long
// moved on is the worst trap of a cutover.
func TestDatabaseLeftBehind(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	later := time.Now().Add(72 * time.Hour)
	for i := range 5 {
		path := filepath.Join(l.from, "uploads", fmt.Sprintf("00000000-0000-4000-8000-00000000000%d_new.md", i))
		if err := os.WriteFile(path, []byte("written by an app that uses another database"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
	}
	l.plan().exits(2, "the database looks left behind", "--from", "DATABASE_URL", "--accept drift")
	l.migrate().exits(2, "left behind").nextStep()
	if l.released() {
		t.Error("the target was written to")
	}
	l.migrate("--accept", "drift").exits(0)
	l.equal()
}

// A vector store without the collections of the database's files.
func TestVectorStoreLeftBehind(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	if err := os.Rename(filepath.Join(l.from, "vector_db"), filepath.Join(l.dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	l.plan().exits(2, "the vector store looks left behind", "VECTOR_DB", "--from")
	l.migrate().exits(2).nextStep()
	l.plan("--accept", "drift").exits(0)
	l.migrate("--only", "rows").exits(0)
}

// Uploads of another time than the rows.
func TestUploadsLeftBehind(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.edit(func(db *sql.DB) {
		now := time.Now().Add(72 * time.Hour).Unix()
		for i := range 5 {
			id := fmt.Sprintf("'00000000-0000-4000-8000-00000000000%d'", i)
			cloneRow(t, db, "file", "", map[string]string{"id": id, "path": "'/app/backend/data/uploads/' || " + id + " || '_new.md'", "created_at": fmt.Sprint(now), "updated_at": fmt.Sprint(now)})
		}
	})
	l.plan().exits(2, "the uploads look left behind", "--from-mount")
}

// A source whose database is at rest is in use all the same while somebody has its
// vector store open, or writes to its folders.
func TestLiveStore(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	plan := func() result { return l.wait(l.command(l.pair("plan")...)).exits(0) } // another process: its own descriptors are not looked at
	plan().says("stopped: last write").lacks("is not copied")
	store := filepath.Join(l.from, "vector_db")
	app, err := sql.Open("sqlite", "file:"+filepath.Join(store, chroma.FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = app.Close() }()
	var n int
	if err := app.QueryRow("SELECT count(*) FROM collections").Scan(&n); err != nil || n == 0 {
		t.Fatalf("%d collections, %v", n, err)
	}
	plan().says("live: last write", "vector_db is open in another process")
	plan2 := l.wait(l.command(l.pair("plan", "--stopped")...)).exits(0)
	plan2.says("stopped: last write").lacks("is not copied")
	if err := app.Close(); err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan error)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				ended <- nil
				return
			case <-time.After(time.Millisecond):
			}
			if err := os.WriteFile(filepath.Join(store, "written"), fmt.Append(nil, n), 0o600); err != nil {
				ended <- err
				return
			}
		}
	}()
	r := plan()
	for began := time.Now(); !strings.Contains(r.out, "is written to") && time.Since(began) < 5*time.Minute; {
		r = plan() // on a loaded machine none may fall between its looks
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	r.says("live: last write", "vector_db is written to (written, ")
}

// While Open WebUI runs, the source is read all the same, and what it writes
// meanwhile makes a sync pass necessary, never "equal".
func TestLiveSource(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	app, err := sql.Open("sqlite", "file:"+filepath.Join(l.from, "webui.db")+"?_pragma=journal_mode(wal)&_pragma=wal_autocheckpoint(0)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = app.Close() }()
	app.SetMaxIdleConns(1)
	if _, err := app.Exec("UPDATE user SET last_active_at = last_active_at + 1"); err != nil {
		t.Fatal(err)
	}
	before := tree(t, filepath.Join(l.from, "vector_db"))
	// Another process, because locks of one's own are not seen.
	l.wait(l.command(l.pair("plan")...)).exits(0, "live", "Open WebUI is running on the source")
	l.wait(l.command(l.pair("migrate")...)).exits(0, "live")
	l.wait(l.command(l.pair("verify")...)).exits(0, "verify: equal")
	if _, err := app.Exec("UPDATE user SET last_active_at = last_active_at + 1"); err != nil {
		t.Fatal(err)
	}
	l.wait(l.command(l.pair("migrate")...)).exits(4, "a sync pass is needed")
	l.wait(l.command(l.pair("verify")...)).exits(4, "rows/user")
	// The migration has kept digests, as the source was in use: only what has
	// changed is written, and the target is not asked.
	if _, err := app.Exec("UPDATE user SET name = 'new' WHERE id = (SELECT min(id) FROM user)"); err != nil {
		t.Fatal(err)
	}
	users := ask[int](l, `SELECT count(*) FROM "user"`)
	l.wait(l.command(l.pair("sync")...)).exits(0, fmt.Sprintf("0 new, %d changed, 0 removed, 0 refused", users))
	l.wait(l.command(l.pair("verify")...)).exits(0, "verify: equal")
	unchanged(t, filepath.Join(l.from, "vector_db"), before)
	entries, err := os.ReadDir(l.from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch e.Name() {
		case "webui.db", "webui.db-wal", "webui.db-shm", "uploads", "cache", "vector_db":
		default:
			t.Errorf("the source has got %s", e.Name())
		}
	}
}

// Entries that nobody knows are told of, and taken along on demand.
func TestUnknownEntries(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	if err := os.MkdirAll(filepath.Join(l.from, "l.data", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.from, "l.data", "deep", "made by a function"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.plan().exits(0, "l.data")
	l.migrate("--include", "l.data").exits(0)
	l.equal("--include", "l.data").says("35 files compared, 35 equal")
	if body, err := os.ReadFile(filepath.Join(l.share, "l.data", "deep", "made by a function")); err != nil || string(body) != "x" {
		t.Errorf("%q %v", body, err)
	}
}

// Whatever differs is found, in every lane, and told by its place.
func TestVerifyFindsDifferences(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate().exits(0)
	user := ask[string](l, `SELECT id FROM "user" ORDER BY id LIMIT 1`)
	memory := ask[string](l, "SELECT id FROM memory ORDER BY id LIMIT 1")
	chunk := ask[string](l, "SELECT id FROM document_chunk ORDER BY id LIMIT 1")
	gone := ask[string](l, "SELECT id FROM document_chunk ORDER BY id DESC LIMIT 1")
	do(t, l.dsn, `UPDATE "user" SET name = name || 'x' WHERE id = '`+user+`'`, "DELETE FROM memory WHERE id = '"+memory+"'",
		"INSERT INTO folder (id, user_id, name, is_expanded, created_at, updated_at) VALUES ('extra', 'u', 'n', false, 1, 1)",
		"UPDATE document_chunk SET text = text || 'x' WHERE id = '"+chunk+"'", "DELETE FROM document_chunk WHERE id = '"+gone+"'")
	uploads, err := filepath.Glob(filepath.Join(l.share, "uploads", "*"))
	if err != nil || len(uploads) < 3 {
		t.Fatal(err, uploads)
	}
	body, err := os.ReadFile(uploads[0])
	if err != nil {
		t.Fatal(err)
	}
	body[len(body)/2] ^= 1
	if err := os.WriteFile(uploads[0], body, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(uploads[1]); err != nil {
		t.Fatal(err)
	}
	l.verify().exits(4, "* rows/user "+user+" name", "+ rows/memory "+memory, "- rows/folder extra", "* vectors/", chunk, gone,
		filepath.Base(uploads[0]), filepath.Base(uploads[1]), "7 differences")
	if lines := decodeLines[map[string]any](t, readFile(t, filepath.Join(l.dir, "scaled.outgrow", "differences.jsonl"))); len(lines) != 7 {
		t.Errorf("%d lines in the list of differences, want 7", len(lines))
	}
	if r := l.verify("--json").exits(4); !strings.Contains(r.out, `"equal":false`) {
		t.Errorf("as JSON: %s", r.out)
	}
}

func readFile(tb testing.TB, path string) string {
	tb.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(body)
}

// The state folder is lost: what stands in the target is enough to go on.
func TestStateFolderLost(t *testing.T) {
	t.Parallel()
	l := labOn(t, servers.DataDir(t), servers.PostgreSQL(t))
	l.migrate().exits(0)
	if err := os.RemoveAll(filepath.Join(l.dir, "scaled.outgrow")); err != nil {
		t.Fatal(err)
	}
	l.equal()
	l.migrate().exits(0)
	l.equal()
	l.sameCounts(l.sourceCounts(), 674)
}
