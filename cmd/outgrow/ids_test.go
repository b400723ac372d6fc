package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/mappings/vectors"
	"outgrow/testdata/servers"
)

// plainTable is a pgvector table with the given ids in one collection.
func plainTable(tb testing.TB, collection string, ids ...string) string {
	tb.Helper()
	dsn := servers.PostgreSQL(tb)
	statements := []string{"CREATE TABLE document_chunk (id text PRIMARY KEY, vector vector(4), collection_name text NOT NULL, text text, vmetadata jsonb)"}
	for i, id := range ids {
		statements = append(statements, "INSERT INTO document_chunk VALUES ('"+id+"', '[1,2,"+string(rune('0'+i))+",0.5]', '"+collection+"', 'text', '{\"n\": 1}')")
	}
	do(tb, dsn, statements...)
	return dsn
}

// Ids that Qdrant cannot hold go to the quarantine, from where they can be put in
// with another id; or they are mapped from the start.
func TestIDsThatTheTargetCannotHold(t *testing.T) {
	t.Parallel()
	const uuid, kb = "8c1d9a90-0000-4000-8000-00000000000a", "11111111-0000-4000-8000-000000000000"
	dsn := plainTable(t, kb, uuid, "plain-1", "plain-2")
	vars := qdrantVars(t, servers.Qdrant(t), true)
	l := switched(t, map[string]string{"PGVECTOR_DB_URL": dsn, "VECTOR_DB": "pgvector", "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH": "4"}, vars)
	only := []string{"--only", "vectors"}
	l.plan(only...).exits(0, "accept? 2 records", "--id-conflicts=uuid5", "--accept id-not-uuid")
	l.migrate(only...).exits(4, "2 records of vectors/"+kb+": id-not-uuid")
	l.verify(only...).exits(4, "in the quarantine and not accepted")

	// One is put in by hand under another id, the other one stays.
	lines := l.in("status", "--to", l.env, "--quarantine").exits(0).out
	repaired := strings.ReplaceAll(lines, `"id":"plain-1"`, `"id":"8c1d9a90-0000-4000-8000-00000000000b"`)
	if repaired == lines {
		t.Fatalf("no line to repair:\n%s", lines)
	}
	file := filepath.Join(t.TempDir(), "repaired.jsonl")
	if err := os.WriteFile(file, []byte(repaired), 0o600); err != nil {
		t.Fatal(err)
	}
	l.in("replay", "--to", l.env, file).exits(4, "1 record put in, 1 still")
	if left := l.in("status", "--to", l.env, "--quarantine").exits(0).out; strings.Contains(left, "plain-1") || !strings.Contains(left, "plain-2") {
		t.Errorf("the quarantine holds\n%s", left)
	}
	l.migrate("--only", "vectors", "--accept", "id-not-uuid").exits(0)
	l.equal(only...)

	// Another choice is another run.
	l.migrate("--only", "vectors", "--id-conflicts", "uuid5").exits(2, "begun with --id-conflicts=fail", "--replace")
	l.migrate("--only", "vectors", "--id-conflicts", "uuid5", "--replace").exits(0, "3 vectors", "2 values", "id-mapped")
	if r := l.equal(only...); !strings.Contains(r.out, "3 vectors compared, 3 equal") {
		t.Errorf("not all are equal:\n%s", r.out)
	}
	if n := inQdrant(t, vars)[kb]; n != 3 {
		t.Errorf("%d records", n)
	}
	if !strings.Contains(l.in("status", "--to", l.env, "--ledger").exits(0).out, vectors.MappedID(kb, "plain-1")) {
		t.Error("the ledger does not tell the new id")
	}
}

// Milvus keeps _ for -: a name that is no UUID's comes back through the source's
// database.
func TestMilvusNames(t *testing.T) {
	t.Parallel()
	uri, database := servers.Milvus(t, servers.MilvusLite)
	const kb = "my-kb_1"
	dsn := plainTable(t, kb, "8c1d9a90-0000-4000-8000-00000000000a")
	do(t, dsn, "CREATE TABLE knowledge (id text PRIMARY KEY)", "INSERT INTO knowledge VALUES ('"+kb+"')")
	milvus := map[string]string{"VECTOR_DB": "milvus", "MILVUS_URI": uri, "MILVUS_DB": database, "DATABASE_URL": dsn}
	only := []string{"--only", "vectors"}
	l := switched(t, map[string]string{"PGVECTOR_DB_URL": dsn, "VECTOR_DB": "pgvector", "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH": "4"}, milvus)
	l.migrate(only...).exits(0, "1 vector")
	l.equal(only...)
	vars := qdrantVars(t, servers.Qdrant(t), true)
	l = switched(t, milvus, vars)
	l.migrate(only...).exits(0, "1 vector")
	l.equal(only...)
	if got := inQdrant(t, vars); got[kb] != 1 {
		t.Errorf("collections %v", got)
	}
	// Without that database the name cannot be known, which is said.
	delete(milvus, "DATABASE_URL")
	l = switched(t, milvus, qdrantVars(t, servers.Qdrant(t), true))
	l.plan(only...).says("my_kb_1")
}
