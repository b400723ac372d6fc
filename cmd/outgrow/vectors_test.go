package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	qdrantsink "outgrow/sink/qdrant"
	qdrantsource "outgrow/source/qdrant"
	"outgrow/testdata/servers"
)

// envFile writes an env file of its own folder.
func envFile(tb testing.TB, name string, vars map[string]string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	var b strings.Builder
	for _, k := range slices.Sorted(func(yield func(string) bool) {
		for k := range vars {
			if !yield(k) {
				return
			}
		}
	}) {
		fmt.Fprintf(&b, "%s='%s'\n", k, vars[k])
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// qdrantVars are the variables of a Qdrant with a prefix of the test's own.
func qdrantVars(tb testing.TB, server *servers.QdrantServer, multitenancy bool) map[string]string {
	tb.Helper()
	var b [6]byte
	_, _ = rand.Read(b[:])
	return map[string]string{"VECTOR_DB": "qdrant", "QDRANT_URI": server.URI, "QDRANT_GRPC_PORT": fmt.Sprint(server.GRPCPort), "QDRANT_TIMEOUT": "60",
		"QDRANT_COLLECTION_PREFIX": "t" + hex.EncodeToString(b[:]), "ENABLE_QDRANT_MULTITENANCY_MODE": fmt.Sprint(multitenancy)}
}

// qdrantConfig is what the variables say.
func qdrantConfig(tb testing.TB, vars map[string]string) env.QdrantConfig {
	tb.Helper()
	d, err := env.Load("to", envFile(tb, "q.env", vars), "", nil)
	if err != nil {
		tb.Fatal(err)
	}
	return d.Vector.Qdrant
}

// toQdrant changes a lab's target to a Qdrant beside the PostgreSQL.
func (l *lab) toQdrant(vars map[string]string) {
	l.tb.Helper()
	for k, v := range vars {
		l.set(k, v)
	}
}

// inQdrant counts the records by collection.
func inQdrant(tb testing.TB, vars map[string]string) map[string]int64 {
	tb.Helper()
	out, err := countQdrant(context.Background(), tb, vars)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// countQdrant is inQdrant while somebody writes: a collection that is just being
// made is an error.
func countQdrant(ctx context.Context, tb testing.TB, vars map[string]string) (map[string]int64, error) {
	tb.Helper()
	src, err := qdrantsource.Open(ctx, qdrantsource.Config{Store: qdrantConfig(tb, vars)})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	units, err := src.Units(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, u := range units {
		if out[u.Name], err = src.Count(ctx, u); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func total(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// putInQdrant writes records as Open WebUI would.
func putInQdrant(tb testing.TB, vars map[string]string, collection string, ids ...string) {
	tb.Helper()
	ctx := context.Background()
	dst, err := qdrantsink.Open(ctx, qdrantsink.Config{Store: qdrantConfig(tb, vars)})
	if err != nil {
		tb.Fatal(err)
	}
	defer dst.Close()
	u := pipeline.Unit{Lane: pipeline.Vectors, Name: collection, Dim: 4}
	if err := dst.Prepare(ctx, u); err != nil {
		tb.Fatal(err)
	}
	b := pipeline.Batch[*pipeline.Vector]{Part: pipeline.Part{Unit: u}}
	for i, id := range ids {
		text := collection + " " + id
		b.Records = append(b.Records, &pipeline.Vector{ID: id, Text: &text, Metadata: []byte(fmt.Sprintf(`{"n":%d}`, i)), Embedding: []float32{1, float32(i), 0, 0.5}})
	}
	out, err := dst.Write(ctx, b)
	if err != nil || out.Written != len(ids) {
		tb.Fatalf("%d written: %v", out.Written, err)
	}
}

// From the defaults to PostgreSQL and Qdrant: dry run, copy, comparison, what
// the screens say, and that the same command does nothing twice.
func TestDefaultsToQdrant(t *testing.T) {
	t.Parallel()
	vars := qdrantVars(t, servers.Qdrant(t), true)
	l := newLab(t, "")
	l.toQdrant(vars)
	before := tree(t, l.from)
	l.plan().exits(0, "in the target database", "in the vector store")
	first := l.migrate().exits(0, "674 vectors", "· Qdrant 127.0.0.1")
	if !regexp.MustCompile(`(?m)^      webui\.db .* · chroma 45 collections, 674 vectors · 30 uploads`).MatchString(first.out) {
		t.Errorf("the first screen:\n%s", first.out)
	}
	if n := total(inQdrant(t, vars)); n != 674 {
		t.Errorf("%d records in Qdrant", n)
	}
	if ask[bool](l, "SELECT to_regclass('document_chunk') IS NOT NULL") {
		t.Error("document_chunk was made")
	}
	l.equal()
	l.in("status", "--to", l.env).exits(0, "rows    complete", "vectors complete", "674 vectors")
	l.migrate().exits(0, "resumed, nothing is done twice")
	l.equal()
	unchanged(t, l.from, before)
}

// A target that somebody uses is refused, unless this run's own journal knows
// it; --replace deletes what is there, once.
func TestQdrantInUse(t *testing.T) {
	t.Parallel()
	vars := qdrantVars(t, servers.Qdrant(t), false)
	l := newLab(t, "")
	l.toQdrant(vars)
	putInQdrant(t, vars, "file-8c1d9a90-0000-4000-8000-000000000001", "8c1d9a90-0000-4000-8000-00000000000a")
	l.plan().exits(2, "refuse", "Qdrant holds 1 records")
	l.migrate("--accept", "in-use").exits(2, "refuse")
	l.migrate("--replace").exits(0, "--replace deletes that")
	l.equal()
	if n := total(inQdrant(t, vars)); n != 674 {
		t.Errorf("%d records, want the source's 674 alone", n)
	}
	// By now the app works on it: that is not somebody else's.
	putInQdrant(t, vars, "file-8c1d9a90-0000-4000-8000-000000000002", "8c1d9a90-0000-4000-8000-00000000000b")
	l.migrate().exits(0)
	if n := total(inQdrant(t, vars)); n != 675 {
		t.Errorf("%d records: without --replace nothing is deleted", n)
	}
	l.migrate("--replace").exits(0)
	l.equal()
	if n := total(inQdrant(t, vars)); n != 674 {
		t.Errorf("%d records after starting over", n)
	}
}

// The journal may outlive its target: everything is written again.
func TestQdrantThatWasEmptied(t *testing.T) {
	t.Parallel()
	vars := qdrantVars(t, servers.Qdrant(t), true)
	l := newLab(t, "")
	l.toQdrant(vars)
	l.migrate().exits(0)
	ctx := context.Background()
	dst, err := qdrantsink.Open(ctx, qdrantsink.Config{Store: qdrantConfig(t, vars)})
	if err != nil {
		t.Fatal(err)
	}
	if err := dst.Empty(ctx); err != nil {
		t.Fatal(err)
	}
	_ = dst.Close()
	l.verify().exits(4)
	l.migrate().exits(0, "nothing of what an earlier run wrote")
	l.equal()
}

// switched is a lab between two vector stores, neither of which has a SQLite
// database.
func switched(tb testing.TB, from, to map[string]string) *lab {
	tb.Helper()
	return &lab{tb: tb, from: envFile(tb, "old.env", from), env: envFile(tb, "new.env", to)}
}

// The job "switching vector stores": pgvector to Qdrant, Qdrant to its other
// layout in the same server, and back to pgvector.
func TestSwitchVectorStores(t *testing.T) {
	t.Parallel()
	server := servers.Qdrant(t)
	old := newLab(t, "")
	old.migrate().exits(0)
	pgvector := map[string]string{"DATABASE_URL": old.dsn, "VECTOR_DB": "pgvector"}
	shared := qdrantVars(t, server, true)
	shared["DATABASE_URL"] = old.dsn
	plain := map[string]string{}
	for k, v := range shared {
		plain[k] = v
	}
	plain["ENABLE_QDRANT_MULTITENANCY_MODE"] = "false"
	back := servers.PostgreSQL(t)
	only := []string{"--only", "vectors"}

	l := switched(t, pgvector, shared)
	l.plan(only...).exits(0, "674")
	r := l.migrate(only...).exits(0, "674 vectors")
	if !regexp.MustCompile(`(?m)^from  \S*old\.env   PostgreSQL · pgvector vector\(1536\), ivfflat: 45 collections, 674 vectors$`).MatchString(r.out) ||
		!regexp.MustCompile(`(?m)^to    \S*new\.env   Qdrant `).MatchString(r.out) || strings.Contains(r.out, "\nkey ") {
		t.Errorf("the first screen:\n%s", r.out)
	}
	l.equal(only...)
	l.in("status", "--to", l.env).exits(0, "vectors complete").lacks("rows")
	l.in("replay", "--to", l.env).exits(0, "0 records put in")

	// The same server in its other layout.
	l = switched(t, shared, plain)
	l.migrate(only...).exits(0, "674 vectors")
	l.equal(only...)
	if n := total(inQdrant(t, plain)); n != 674 {
		t.Errorf("%d records in the plain layout", n)
	}
	if n := total(inQdrant(t, shared)); n != 674 {
		t.Errorf("%d records are left in the source", n)
	}

	l = switched(t, plain, map[string]string{"PGVECTOR_DB_URL": back, "VECTOR_DB": "pgvector"})
	l.migrate(only...).exits(0, "674 vectors")
	l.equal(only...)

	// A source without any database in reach.
	delete(plain, "DATABASE_URL")
	l = switched(t, plain, map[string]string{"PGVECTOR_DB_URL": servers.PostgreSQL(t), "VECTOR_DB": "pgvector"})
	l.migrate(only...).exits(0, "674 vectors", "could not be asked")
	l.equal(only...)
}

func (r result) lacks(texts ...string) result {
	r.tb.Helper()
	for _, text := range texts {
		if strings.Contains(r.both(), text) {
			r.tb.Errorf("outgrow %s says %q:\n%s%s", strings.Join(r.args, " "), text, r.out, r.err)
		}
	}
	return r
}

// One store cannot be both sides, by whatever name.
func TestSameStore(t *testing.T) {
	t.Parallel()
	server := servers.Qdrant(t)
	one := qdrantVars(t, server, true)
	putInQdrant(t, one, "knowledge-bases", "8c1d9a90-0000-4000-8000-00000000000a")
	other := map[string]string{}
	for k, v := range one {
		other[k] = v
	}
	u, err := url.Parse(server.URI)
	if err != nil {
		t.Fatal(err)
	}
	other["QDRANT_URI"] = "http://localhost:" + u.Port()
	for _, command := range pairs {
		switched(t, one, other).in(switched(t, one, other).pair(command, "--only", "vectors")...).exits(2, "same vector store", "QDRANT_COLLECTION_PREFIX").nextStep()
	}
	dsn := servers.PostgreSQL(t)
	do(t, dsn, "CREATE TABLE document_chunk (id text PRIMARY KEY, vector vector(1536), collection_name text NOT NULL, text text, vmetadata jsonb)")
	a := map[string]string{"PGVECTOR_DB_URL": dsn, "VECTOR_DB": "pgvector"}
	b := map[string]string{"PGVECTOR_DB_URL": with(t, dsn, func(u *url.URL) { u.Host = "localhost:" + u.Port() }), "VECTOR_DB": "pgvector"}
	switched(t, a, b).migrate("--only", "vectors").exits(2, "same vector store").nextStep()
	folder := map[string]string{"DATA_DIR": t.TempDir()}
	switched(t, folder, folder).migrate("--only", "vectors").exits(2, "same vector store", "another DATA_DIR").nextStep()
}

// Two collections of a plain layout may hold one id; the shared layout cannot.
func TestIDConflicts(t *testing.T) {
	t.Parallel()
	server := servers.Qdrant(t)
	plain, shared := qdrantVars(t, server, false), qdrantVars(t, server, true)
	id := func(n int) string { return fmt.Sprintf("8c1d9a90-0000-4000-8000-%012d", n) }
	const a, b, c = "11111111-0000-4000-8000-000000000000", "22222222-0000-4000-8000-000000000000", "33333333-0000-4000-8000-000000000000"
	putInQdrant(t, plain, a, id(1), id(2), id(3))
	putInQdrant(t, plain, b, id(2), id(4))
	putInQdrant(t, plain, c, id(2), id(3), id(5))
	putInQdrant(t, plain, "file-"+a, id(1)) // another class: no conflict
	l := switched(t, plain, shared)
	only := []string{"--only", "vectors"}
	l.plan(only...).exits(2, a, b, c, id(2), "--id-conflicts=uuid5")
	l.migrate(only...).exits(2, "--id-conflicts=uuid5")
	if n := total(inQdrant(t, shared)); n != 0 {
		t.Errorf("%d records were written", n)
	}
	l.plan("--only", "vectors", "--id-conflicts", "uuid5").exits(0, "2 ids are held by several collections")
	// Neither migrate nor verify needs to be told again.
	l.migrate(only...).exits(0, "9 vectors", "id-mapped")
	l.equal(only...)
	got := inQdrant(t, shared)
	if got[a] != 3 || got[b] != 2 || got[c] != 3 || got["file-"+a] != 1 {
		t.Errorf("collections: %v", got)
	}
	ledger := l.in("status", "--to", l.env, "--ledger").exits(0)
	if n := strings.Count(ledger.out, `"reason":"id-mapped"`); n != 3 || !strings.Contains(ledger.out, vectors.MappedID(c, id(3))) || !strings.Contains(ledger.out, vectors.MappedID(b, id(2))) {
		t.Errorf("%d mapped ids:\n%s", n, ledger.out)
	}
	l.migrate("--only", "vectors", "--id-conflicts", "fail").exits(2)
	// What is on the target only is told by its name, mapped ids are not.
	putInQdrant(t, shared, b, id(77))
	l.verify(only...).exits(4, "1 extra")
}

// The lane's rate is kept to.
func TestRate(t *testing.T) {
	t.Parallel()
	server := servers.Qdrant(t)
	plain := qdrantVars(t, server, false)
	var ids []string
	for n := range 60 {
		ids = append(ids, fmt.Sprintf("8c1d9a90-0000-4000-8000-%012d", n))
	}
	putInQdrant(t, plain, "knowledge-bases", ids...)
	l := switched(t, plain, qdrantVars(t, server, true))
	began := time.Now()
	l.migrate("--only", "vectors", "--rate", "20").exits(0, "60 vectors")
	// The first batch goes at once.
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("60 vectors at 20 a second took %v", took)
	}
}

// A source that was written to while it was copied is never called equal.
func TestVectorsWrittenMeanwhile(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"pgvector", "qdrant"} {
		l, vars := fromBigTable(t, 4000, true)()
		write := func() {
			do(t, strings.TrimSuffix(strings.TrimPrefix(grep(readFile(t, l.from), "PGVECTOR_DB_URL="), "PGVECTOR_DB_URL='"), "'"),
				"INSERT INTO document_chunk SELECT 'new', vector, collection_name, text, vmetadata FROM document_chunk LIMIT 1")
		}
		if from == "qdrant" {
			first := vars
			l.migrate("--only", "vectors").exits(0)
			vars = qdrantVars(t, servers.Qdrant(t), false)
			l = switched(t, first, vars)
			write = func() {
				putInQdrant(t, first, "user-memory-8c1d9a90-0000-4000-8000-000000000009", "8c1d9a90-0000-4000-8000-00000000000f")
			}
		}
		run := l.start(l.pair("migrate", "--only", "vectors", "--rate", "500")...).until("its first record", func() bool { return begunQdrant(t, vars) })
		if r := run.held(write).end(); r.code != 4 || !strings.Contains(r.out, "written to since this migration began") {
			t.Errorf("from %s: exit %d:\n%s", from, r.code, r.both())
		}
	}
}

// grep gives the line that begins so.
func grep(text, begin string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, begin) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
