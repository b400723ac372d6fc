package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/testdata/servers"
)

// The whole cutover on a small real data folder, and all of it a second time.
func TestCutover(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	before := tree(t, l.from)
	l.plan().exits(0, "45 units", "674", "rows: 47 units", "plan: can run", "next  outgrow migrate --from")
	if n := ask[int](l, "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"); n != 0 {
		t.Errorf("plan made %d tables", n)
	}
	if entries, err := os.ReadDir(l.share); err != nil || len(entries) != 0 {
		t.Errorf("plan wrote into the target's folder: %v %v", entries, err)
	}

	l.migrate().exits(0, "done    2,972 rows, 674 vectors, 34 files")
	l.equal().says("47 tables, 2,972 rows compared, 2,972 equal", "45 collections, 674 vectors compared, 674 equal", "34 files compared, 34 equal")
	source := l.sourceCounts()
	l.sameCounts(source, 674)
	if source["memory"] != 13 {
		t.Fatalf("the source has %d memories, the test wants 13, one of them only in the -wal", source["memory"])
	}
	if n := ask[int](l, "SELECT count(DISTINCT collection_name) FROM document_chunk"); n != 45 {
		t.Errorf("%d collections on the target, want 45", n)
	}
	uploads, err := os.ReadDir(filepath.Join(l.share, "uploads"))
	if err != nil || len(uploads) != 30 {
		t.Errorf("%d uploads on the target, want 30 (%v)", len(uploads), err)
	}
	if !l.released() {
		t.Error("alembic_version is not there after a complete migration")
	}

	// The second time nothing is done twice.
	state := tree(t, l.share)
	epoch := ask[int64](l, "SELECT sum(written)::bigint FROM outgrow.part")
	stamp := ask[string](l, "SELECT max(xmin::text::bigint)::text FROM chat")
	l.migrate().exits(0, "nothing is done twice")
	if again := ask[int64](l, "SELECT sum(written)::bigint FROM outgrow.part"); again != epoch {
		t.Errorf("the second run counts %d written records, the first %d", again, epoch)
	}
	if again := ask[string](l, "SELECT max(xmin::text::bigint)::text FROM chat"); again != stamp {
		t.Error("the second run wrote chats again")
	}
	unchanged(t, l.share, state)
	l.equal()
	l.in("status", "--to", l.env).exits(0, "rows    complete: 47 of 47 parts", "vectors complete", "files   complete")
	unchanged(t, l.from, before)
}

// Sources that cannot be written to at all are read the same.
func TestReadOnlyMount(t *testing.T) {
	t.Parallel()
	data := servers.DataDir(t)
	mount := filepath.Join(t.TempDir(), "mounted")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "--bind", "-o", "ro", data, mount).CombinedOutput(); err != nil {
		servers.Skip(t, "a read-only bind mount is not permitted: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	if err := os.WriteFile(filepath.Join(mount, "x"), nil, 0o600); err == nil {
		t.Fatal("the mount can be written to")
	}
	before := tree(t, data)
	l := newLab(t, mount)
	l.plan().exits(0)
	l.migrate().exits(0)
	l.equal().says("2,972 rows compared", "674 vectors compared")
	l.sameCounts(l.sourceCounts(), 674)
	unchanged(t, data, before)
}

// A database that a peewee-age release made has other types and one more table.
func TestPeeweeBornSource(t *testing.T) {
	t.Parallel()
	l := newLab(t, filepath.Dir(servers.LegacyDB(t)))
	before := tree(t, l.from)
	l.plan().exits(0)
	l.migrate().exits(0)
	l.equal()
	source := l.sourceCounts()
	delete(source, "migratehistory")
	l.sameCounts(source, 0)
	unchanged(t, l.from, before)
}

// createdByApp loads what alembic leaves behind on an empty database, and the
// config rows of a first start.
func createdByApp(t *testing.T, l *lab, head string) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "..", "mappings", "schema", head+".sql"))
	if err != nil {
		t.Fatal(err)
	}
	do(t, l.dsn, string(body),
		"DELETE FROM alembic_version", "INSERT INTO alembic_version VALUES ('"+head+"')",
		`INSERT INTO config (key, value, updated_at) VALUES ('ui.default_locale', '"seeded"', 1), ('seeded.only', 'true', 1)`)
}

const head = "0bd252b206fb"

// catalog describes every index and constraint of the target's schema.
func catalog(l *lab) string {
	l.tb.Helper()
	return ask[string](l, `SELECT coalesce(string_agg(d, E'\n' ORDER BY d), '') FROM (
		SELECT pg_get_indexdef(i.indexrelid) || ' valid ' || i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE n.nspname = $1 AND c.relname <> 'document_chunk'
		UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(o.oid) || ' ' || convalidated FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace
		 WHERE n.nspname = $1 AND conrelid::regclass::text <> 'document_chunk') x(d)`, l.schema())
}

// A target that Open WebUI created and seeded itself is used as it is.
func TestTargetCreatedByOpenWebUI(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	createdByApp(t, l, head)
	before := catalog(l)
	l.plan().exits(0, "Open WebUI created the target's tables")
	l.migrate().exits(0)
	l.equal()
	l.sameCounts(l.sourceCounts(), 674)
	if ask[bool](l, "SELECT EXISTS (SELECT FROM config WHERE key = 'seeded.only')") {
		t.Error("a config row that the target's first start seeded is still there")
	}
	if after := catalog(l); after != before {
		t.Errorf("indexes and constraints are not those that Open WebUI made:\n%s\nwere\n%s", after, before)
	}

	// What outgrow creates itself is the same.
	own := newLab(t, l.from)
	own.migrate().exits(0)
	if mine := catalog(own); mine != before {
		t.Errorf("the created target differs from Open WebUI's:\n%s\nwant\n%s", mine, before)
	}
}

// An older head than the source's is not upgraded by a copy.
func TestHeadsDiffer(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	createdByApp(t, l, "d4c1a8e37b62")
	l.plan().exits(2, "d4c1a8e37b62", "make both sides the same release")
	l.migrate().exits(2)
}

func TestDatabaseSchema(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.set("DATABASE_SCHEMA", "own ui")
	l.plan().exits(2, `"own ui" does not exist`, "CREATE SCHEMA")
	l.migrate().exits(2, `"own ui" does not exist`)
	l.set("DATABASE_SCHEMA", "webui")
	l.migrate().exits(2, "CREATE SCHEMA")

	do(t, l.dsn, "CREATE SCHEMA webui")
	l.migrate().exits(0)
	l.equal()
	target := l.targetCounts()
	for name, n := range l.sourceCounts() {
		if target[name] != n {
			t.Errorf("webui.%s: %d rows, want %d", name, target[name], n)
		}
	}
	if n := ask[int](l, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'document_chunk'"); n != 0 {
		t.Errorf("%d tables in public", n)
	}
}

// The commonest move: the data folder stays, database and vectors move.
func TestFilesInPlace(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	before := tree(t, l.from)
	l.set("DATA_DIR", l.from)
	l.plan().exits(0, "files: same folder, in place")
	l.migrate().exits(0, "in place", "0 files")
	l.equal().says("34 files compared, 34 equal")
	unchanged(t, l.from, before)
	if got, want := ask[string](l, "SELECT path FROM file ORDER BY id LIMIT 1"), l.from+"/uploads/"; !strings.HasPrefix(got, want) {
		t.Errorf("file.path = %s, want it below %s", got, want)
	}
}

// Both sides run in containers: their DATA_DIR is another path than here.
func TestMounts(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	data := l.from
	l.from = filepath.Join(l.dir, "old.env")
	if err := os.WriteFile(l.from, []byte("DATA_DIR=/app/backend/data\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.set("DATA_DIR", "/srv/webui")
	mounts := []string{"--from-mount", data, "--to-mount", l.share}
	l.plan(mounts...).exits(0)
	l.migrate(mounts...).exits(0, "30 values of rows/file: path", "--from-mount", "--to-mount")
	l.equal(mounts...)
	if n := ask[int](l, "SELECT count(*) FROM file WHERE path LIKE '/srv/webui/uploads/%'"); n != 30 {
		t.Errorf("%d paths were rewritten, want 30", n)
	}
	lines := strings.Split(strings.TrimSpace(l.in("status", "--to", l.env, "--to-mount", l.share, "--ledger").exits(0).out), "\n")
	if len(lines) != 30 {
		t.Errorf("%d ledger lines, want 30", len(lines))
	}
	for _, line := range lines {
		var c struct{ Unit, Column, Reason, Before, After string }
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if c.Unit != "rows/file" || c.Column != "path" || c.Reason != "path" || c.Before == "" || c.After == "" || c.Before == c.After {
			t.Errorf("ledger line %s", line)
		}
	}
}

// Tables that Open WebUI does not have are told of, not dropped in silence.
func TestExtraTableIsReported(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	onSQLite(t, filepath.Join(l.from, "webui.db"), "CREATE TABLE my_notes (a TEXT)", "INSERT INTO my_notes VALUES ('x')", "CREATE TABLE _alembic_tmp_chat (id TEXT)")
	l.plan().exits(0, "my_notes", "_alembic_tmp_chat")
	l.migrate().exits(0, "my_notes")
	l.equal()
}

// Without the files lane, or one lane after the other, the result is the same.
func TestLanesOneAfterTheOther(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate("--only", "vectors").exits(2)
	l.migrate("--only", "rows").exits(0)
	l.migrate("--only", "files").exits(0)
	l.migrate("--only", "vectors").exits(0)
	l.equal()
	l.migrate().exits(0)
	l.equal()
	l.sameCounts(l.sourceCounts(), 674)
}
