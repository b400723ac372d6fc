package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"outgrow/pipeline/pipetest"
)

// sqlite runs statements on a database of the source.
func (l *lab) sqlite(name string, statements ...string) {
	l.tb.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(l.from, name))
	if err != nil {
		l.tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			l.tb.Fatalf("%v in: %s", err, s)
		}
	}
}

// live does to the source what a day of users does: of each kind something is
// new, changed and gone. The database is left as a stopped Open WebUI leaves it.
func (l *lab) live(n int) {
	l.tb.Helper()
	id := fmt.Sprintf("%08x-0000-4000-8000-00000000000%d", n, n%10)
	l.sqlite("webui.db",
		fmt.Sprintf(`UPDATE "user" SET name = 'renamed %d', updated_at = updated_at + 1 WHERE id = (SELECT id FROM "user" ORDER BY id LIMIT 1)`, n),
		"DELETE FROM chat_message WHERE chat_id = (SELECT id FROM chat ORDER BY id LIMIT 1)",
		"DELETE FROM chat_file WHERE chat_id = (SELECT id FROM chat ORDER BY id LIMIT 1)",
		"DELETE FROM shared_chat WHERE chat_id = (SELECT id FROM chat ORDER BY id LIMIT 1)",
		"DELETE FROM chat WHERE id = (SELECT id FROM chat ORDER BY id LIMIT 1)",
		fmt.Sprintf(`INSERT INTO memory (id, user_id, content, created_at, updated_at) SELECT '%s', user_id, 'new', created_at, updated_at FROM memory LIMIT 1`, id),
		fmt.Sprintf(`INSERT INTO file (id, user_id, filename, meta, created_at, updated_at, path) SELECT '%s', user_id, 'new.txt', meta, created_at, updated_at, '/app/backend/data/uploads/%s_new.txt' FROM file LIMIT 1`, id, id),
		"PRAGMA wal_checkpoint(TRUNCATE)")
	uploads := filepath.Join(l.from, "uploads")
	if err := os.WriteFile(filepath.Join(uploads, id+"_new.txt"), []byte("new "+id), 0o600); err != nil {
		l.tb.Fatal(err)
	}
	entries, err := os.ReadDir(uploads)
	if err != nil {
		l.tb.Fatal(err)
	}
	old := filepath.Join(uploads, entries[n%len(entries)].Name())
	if !strings.HasSuffix(old, "_new.txt") {
		if err := os.WriteFile(old, []byte(fmt.Sprintf("changed %d", n)), 0o600); err != nil {
			l.tb.Fatal(err)
		}
	}
	gone := filepath.Join(uploads, entries[(n+3)%len(entries)].Name())
	if gone != old {
		if err := os.Remove(gone); err != nil {
			l.tb.Fatal(err)
		}
	}
	l.sqlite("vector_db/chroma.sqlite3",
		fmt.Sprintf(`UPDATE embedding_metadata SET string_value = 'changed %d' WHERE key = 'chroma:document' AND id = (SELECT min(id) FROM embedding_metadata WHERE key = 'chroma:document')`, n),
		"DELETE FROM collections WHERE id = (SELECT id FROM collections ORDER BY id LIMIT 1)")
}

func (l *lab) sync(more ...string) result {
	l.tb.Helper()
	return l.in(l.pair("sync", more...)...)
}

// A target follows its source: what is new, changed or gone, in every lane, and
// nothing else is touched.
func TestSync(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.sync().exits(2, "it holds no tables of Open WebUI", "migrate first").nextStep()
	l.migrate().exits(0)
	l.live(1)
	l.in(l.pair("verify")...).exits(4)
	r := l.sync("--accept", "drift")
	r.exits(0, "rows/memory", "1 new", "rows/chat_message", "removed", "files/uploads", "vectors/", "next    outgrow verify")
	l.equal()
	// Nothing changed since: nothing is written.
	l.sync().exits(0, "0 new, 0 changed, 0 removed, 0 refused")
	l.equal()
	for n := 2; n < 5; n++ {
		l.live(n)
		l.sync("--accept", "drift").exits(0)
		l.equal()
	}
	// Digests that are lost, of another version or damaged: the target is asked.
	kept := func(lane string) string { return filepath.Join(l.dir, "scaled.outgrow", lane, "digests.db") }
	if err := errors.Join(os.Remove(kept("files")), os.WriteFile(kept("rows"), []byte("SQLite format 3\x00, as it once was"), 0o600), os.Truncate(kept("vectors"), 21)); err != nil {
		t.Fatal(err)
	}
	l.live(5)
	l.sync("--accept", "drift").exits(0, "compares with the target", "lane=rows", "lane=vectors", "another version of outgrow",
		"neither the source nor an earlier pass knows of", "--allow-deletes", "unit=files/uploads", "files=1")
	l.verify().exits(4, "- files/uploads uploads/")
	l.sync("--accept", "drift", "--allow-deletes").exits(0, "1 removed")
	l.equal()
}

// A pass that has nothing to write removes what is gone, and knows its own rows also
// where the target's table has a column more.
func TestSyncOnlyRemoves(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate().exits(0)
	do(t, l.dsn, "ALTER TABLE memory ADD COLUMN of_an_extension text NOT NULL DEFAULT 'x'")
	l.sync("--accept", "drift").exits(0)
	l.sqlite("webui.db", "DELETE FROM memory WHERE id = (SELECT max(id) FROM memory)", "PRAGMA wal_checkpoint(TRUNCATE)")
	l.sync("--stopped", "--accept", "drift").exits(0, "rows/memory", "1 removed, 0 refused")
	do(t, l.dsn, "ALTER TABLE memory DROP COLUMN of_an_extension")
	l.equal()
}

// Two rows that exchange a unique value do so in one pass; what refers to them
// stays.
func TestSyncSwaps(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate().exits(0)
	l.sync().exits(0)
	l.sqlite("webui.db", `UPDATE "user" SET email = 'x' WHERE email = 'user1@example.com'`, `UPDATE "user" SET email = 'user1@example.com' WHERE email = 'user2@example.com'`,
		`UPDATE "user" SET email = 'user2@example.com' WHERE email = 'x'`, "PRAGMA wal_checkpoint(TRUNCATE)")
	l.sync().exits(0, "2 changed, 0 removed, 0 refused")
	l.equal()
	l.sync().exits(0, "0 new, 0 changed, 0 removed, 0 refused")
}

// A row that somebody else has written on the target is neither changed nor
// removed, until that is agreed to.
func TestSyncLeavesWhatOthersWrote(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate().exits(0)
	l.sync().exits(0)
	chat, memory := ask[string](l, "SELECT min(id) FROM chat"), ask[string](l, "SELECT min(id) FROM memory")
	l.sqlite("webui.db", "UPDATE chat SET title = 'source'", "DELETE FROM memory WHERE id = '"+memory+"'", "PRAGMA wal_checkpoint(TRUNCATE)")
	do(t, l.dsn, "UPDATE chat SET title = 'target' WHERE id = '"+chat+"'")
	do(t, l.dsn, "UPDATE memory SET content = 'target' WHERE id = '"+memory+"'")
	for range 2 {
		l.sync("--accept", "drift").exits(4, "conflict 2 records", "touched.jsonl", "--overwrite").nextStep()
		if n := ask[int](l, "SELECT (SELECT count(*) FROM chat WHERE title = 'target') + (SELECT count(*) FROM memory WHERE content = 'target')"); n != 2 {
			t.Errorf("%d of 2 rows are as they were written on the target", n)
		}
		if n := ask[int](l, "SELECT count(*) FROM chat WHERE title <> 'source'"); n != 1 {
			t.Errorf("%d chats are not as the source has them", n)
		}
		list, err := os.ReadFile(filepath.Join(l.dir, "scaled.outgrow", touchedFile))
		if err != nil || !strings.Contains(string(list), chat) || !strings.Contains(string(list), memory) || strings.Count(string(list), "\n") != 2 {
			t.Errorf("the list: %v\n%s", err, list)
		}
	}
	l.sync("--accept", "drift", "--overwrite").exits(0)
	l.equal()
}

// What a pass was not asked for, does not know, or finds gone altogether, it does not
// remove; verify names what the sides do not have both.
func TestSyncLeavesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	put := func(path string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("mine"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	there := func(path string) {
		t.Helper()
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	put(filepath.Join(l.from, "extra", "a"))
	others := filepath.Join(l.share, "uploads", "others.txt")
	put(others)
	entries, err := os.ReadDir(filepath.Join(l.from, "uploads"))
	if err != nil {
		t.Fatal(err)
	}
	twin := filepath.Join(l.share, "uploads", entries[0].Name())
	put(twin)
	l.migrate("--include", "extra", "--accept", "duplicate").exits(0, "duplicate")
	// Files of others, and a folder that is left out this time.
	l.sync().exits(0, "0 removed", "--allow-deletes")
	there(others)
	there(filepath.Join(l.share, "extra", "a"))
	for range 2 { // with what the migration remembered of the files, and without
		if b, err := os.ReadFile(twin); err != nil || string(b) != "mine" {
			t.Errorf("a file that the target had before: %q, %v", b, err)
		}
		if err := os.Remove(filepath.Join(l.dir, "scaled.outgrow", "files", "digests.db")); err != nil {
			t.Fatal(err)
		}
		l.sync().exits(0, "0 removed")
		there(others)
	}
	if err := os.Remove(others); err != nil {
		t.Fatal(err)
	}
	l.equal()

	// A table that the source or the target has lost.
	tags := ask[int](l, "SELECT count(*) FROM tag")
	l.sqlite("webui.db", "ALTER TABLE tag RENAME TO gone", "PRAGMA wal_checkpoint(TRUNCATE)")
	l.sync().exits(2, "rows/tag", "--allow-deletes").nextStep()
	l.verify().exits(4, "- rows/tag")
	if now := ask[int](l, "SELECT count(*) FROM tag"); now != tags || now == 0 {
		t.Errorf("%d of %d tags are left", now, tags)
	}
	l.sqlite("webui.db", "ALTER TABLE gone RENAME TO tag", "PRAGMA wal_checkpoint(TRUNCATE)")
	do(t, l.dsn, "ALTER TABLE tag RENAME TO gone")
	l.sync().exits(2, "has no tag").nextStep()
	l.verify().exits(4, "+ rows/tag")
	do(t, l.dsn, "ALTER TABLE gone RENAME TO tag")
	l.equal()

	// A vector store and a folder that are not there.
	for _, name := range []string{"vector_db", "uploads"} {
		away := filepath.Join(t.TempDir(), name)
		if err := os.Rename(filepath.Join(l.from, name), away); err != nil {
			t.Fatal(err)
		}
		l.verify().exits(4, "the source does not have it any more")
		if err := os.Rename(away, filepath.Join(l.from, name)); err != nil {
			t.Fatal(err)
		}
	}
	l.equal()
}

// The copy of a file that the source cannot give any more may be the last one: it
// stays, the next passes say no more of it, and it follows the source again later. A
// file of somebody else's is not overwritten when the source's of its name changes.
func TestSyncKeepsTheLastCopy(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	entries, err := os.ReadDir(filepath.Join(l.from, "uploads"))
	if err != nil {
		t.Fatal(err)
	}
	in := func(dir string, i int) string { return filepath.Join(dir, "uploads", entries[i].Name()) }
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(i int, want string) {
		t.Helper()
		if got, err := os.ReadFile(in(l.share, i)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", entries[i].Name(), got, err, want)
		}
	}
	must(os.MkdirAll(filepath.Dir(in(l.share, 2)), 0o755), os.WriteFile(in(l.share, 2), []byte("of somebody else"), 0o600))
	l.migrate("--accept", "duplicate").exits(0)
	was, err := os.ReadFile(in(l.from, 0))
	must(err)
	bad := func(i int) { must(os.Remove(in(l.from, i)), os.Symlink("nowhere", in(l.from, i))) }
	bad(0)
	bad(1)
	bad(2)
	must(os.WriteFile(in(l.from, 3), []byte("changed"), 0o600))
	l.sync("--accept", "drift").exits(4, "unreadable", "3 refused")
	for range 2 {
		holds(0, string(was))
		holds(2, "of somebody else")
		l.verify().exits(4, "! files/uploads").lacks("- files/uploads")
		l.sync("--accept", "drift").exits(4, "0 new, 0 changed, 0 removed, 0 refused")
	}
	must(os.Remove(in(l.from, 0)), os.WriteFile(in(l.from, 0), []byte("readable"), 0o600), os.Remove(in(l.from, 1)),
		os.Remove(in(l.from, 2)), os.WriteFile(in(l.from, 2), []byte("readable, too"), 0o600))
	l.sync("--accept", "drift,duplicate").exits(0)
	holds(0, "readable")
	holds(2, "of somebody else")
	if _, err := os.Stat(in(l.share, 1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is gone from the source: %v", err)
	}
	l.equal()
}

// A line of the ledger, which tells of a value that was changed to fit, excuses
// nothing that the source has written since, and no path of a file that is gone.
func TestSyncAfterTheLedger(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.sqlite("webui.db", "UPDATE chat SET title = 'a' || char(0) || 'b' WHERE id = (SELECT min(id) FROM chat)", "PRAGMA wal_checkpoint(TRUNCATE)")
	l.migrate().exits(0, "nul (in the ledger)")
	l.equal()
	file, old := ask[string](l, "SELECT min(id) FROM file"), ""
	onSource := func(query string, into *string) {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(l.from, "webui.db"))
		if err == nil {
			err = errors.Join(db.QueryRow(query).Scan(into), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	onSource("SELECT path FROM file WHERE id = '"+file+"'", &old)
	if err := os.Remove(filepath.Join(l.from, "uploads", filepath.Base(old))); err != nil {
		t.Fatal(err)
	}
	l.sqlite("webui.db", "UPDATE chat SET title = 'later' WHERE id = (SELECT min(id) FROM chat)", "PRAGMA wal_checkpoint(TRUNCATE)")
	l.verify().exits(4, "* rows/chat", "title")
	l.sync("--accept", "drift").exits(0, "rows/chat ", "rows/file ", "1 changed")
	if got := ask[string](l, "SELECT title FROM chat ORDER BY id LIMIT 1"); got != "later" {
		t.Errorf("the title is %q", got)
	}
	if got := ask[string](l, "SELECT path FROM file WHERE id = '"+file+"'"); got != old {
		t.Errorf("the path leads to %q, not to %q as on the source", got, old)
	}
	l.equal()
}

// A pass that would remove much stops before it removes anything.
func TestSyncRefusesToRemoveMuch(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate().exits(0)
	l.sync().exits(0)
	messages := ask[int](l, "SELECT count(*) FROM chat_message")
	l.sqlite("webui.db", "DELETE FROM chat_message WHERE rowid % 2 = 0", "PRAGMA wal_checkpoint(TRUNCATE)")
	l.sync().exits(2, "rows/chat_message", "--allow-deletes").nextStep()
	if now := ask[int](l, "SELECT count(*) FROM chat_message"); now != messages {
		t.Errorf("%d messages of %d are left", now, messages)
	}
	l.sync("--allow-deletes").exits(0)
	l.equal()
}

// Whatever moment a pass dies at, the same command ends equal.
func TestKillSync(t *testing.T) {
	n := 4
	if os.Getenv("OUTGROW_KILLS") != "" {
		n = pipetest.Kills(t)
	}
	program(t)
	l := newLab(t, "")
	l.migrate().exits(0)
	l.live(1)
	began := time.Now()
	l.wait(l.command(l.pair("sync", "--accept", "drift")...)).exits(0)
	at, killed := newMoments(t, n, time.Since(began), 5), 0
	i := 0
	for ; at.more(i, killed >= n) && !t.Failed(); i++ {
		l.live(i + 2)
		r := at.stop(l, l.command(l.pair("sync", "--accept", "drift")...), syscall.SIGKILL, killed)
		if r.code == -1 {
			killed++
		}
		l.wait(l.command(l.pair("sync", "--accept", "drift")...)).exits(0)
		l.equal()
	}
	at.all(t, killed, i)
}
