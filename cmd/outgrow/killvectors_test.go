package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"outgrow/pipeline/pipetest"
	"outgrow/testdata/servers"
)

// killed stops migrations of a lab that make makes at random moments, each
// followed by the same command to the end, and compares what Qdrant then holds
// with an undisturbed run's.
func killed(t *testing.T, signal syscall.Signal, n int, migrate, verify []string, make func() (*lab, map[string]string)) {
	t.Helper()
	program(t)
	l, vars := make()
	began := time.Now()
	l.wait(l.command(l.pair("migrate", migrate...)...)).exits(0)
	length := time.Since(began)
	want := fmt.Sprint(inQdrant(t, vars))
	at := newMoments(t, n, length, 2)
	early, stopped := 0, 0
	for i := 0; at.more(i, stopped >= max(1, n/2) && early < stopped); i++ {
		l, vars := make()
		for range 1 + 2*(i%2) {
			args := l.pair("migrate", migrate...)
			var r result
			if i < n {
				r = at.stop(l, l.command(args...), signal, i)
			} else { // whenever it has come so far
				run := l.start(args...).until("its first record", func() bool { return begunQdrant(t, vars) })
				run.signal(signal)
				r = run.end()
			}
			switch {
			case r.code == 0:
			case r.code == -1 || r.code == 130:
				stopped++
			default:
				t.Fatalf("migration %d ended with %d by itself:\n%s", i, r.code, r.both())
			}
			// A signal that comes before main has begun ends the process as signals do.
			if unborn := r.code == -1 && r.both() == ""; signal == syscall.SIGINT && r.code != 0 && !unborn {
				r.exits(130)
				if strings.Contains(r.err, "failed") {
					t.Errorf("an interrupt reads as a failure:\n%s", r.err)
				}
			}
			if !begunQdrant(t, vars) {
				early++
			}
		}
		l.wait(l.command(l.pair("migrate", migrate...)...)).exits(0)
		l.equal(verify...)
		if got := fmt.Sprint(inQdrant(t, vars)); got != want {
			t.Errorf("migration %d: Qdrant holds %s, want %s", i, got, want)
		}
		if st := l.in("status", "--to", l.env).exits(0, "vectors complete"); strings.Contains(st.out, "not back yet") {
			t.Errorf("migration %d: %s", i, st.out)
		}
	}
	t.Logf("%d stops, %d before the first record", stopped, early)
	if stopped < n/2 || early == stopped {
		t.Errorf("%d of %d migrations were stopped before their end, %d before the first record", stopped, n, early)
	}
}

// begunQdrant reports whether any record is there. A collection that a killed
// migration has not quite made cannot be listed.
func begunQdrant(tb testing.TB, vars map[string]string) bool {
	tb.Helper()
	ctx := context.Background()
	n, err := countQdrant(ctx, tb, vars)
	return err == nil && total(n) > 0
}

// signalled runs a command to its end, which may be a signal's.
func (l *lab) signalled(cmd *exec.Cmd, signal syscall.Signal, after time.Duration) result {
	l.tb.Helper()
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Start(); err != nil {
		l.tb.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Signal(signal) })
	_ = cmd.Wait()
	timer.Stop()
	return result{l.tb, cmd.Args[1:], cmd.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// slow keeps the vectors under way for some seconds.
var slow = []string{"--rate", "400"}

// SQLite and embedded Chroma to PostgreSQL and Qdrant, killed at any moment.
func TestKillDefaultsToQdrant(t *testing.T) {
	server := servers.Qdrant(t)
	data := servers.DataDir(t)
	before := tree(t, data)
	source := (&lab{tb: t, from: data}).sourceCounts()
	var last *lab
	killed(t, syscall.SIGKILL, max(3, pipetest.Kills(t)/3), slow, slow, func() (*lab, map[string]string) {
		vars := qdrantVars(t, server, true)
		last = newLab(t, data)
		last.toQdrant(vars)
		return last, vars
	})
	target := last.targetCounts()
	for name, n := range source {
		if target[name] != n {
			t.Errorf("table %s: %d rows on the target, %d on the source", name, target[name], n)
		}
	}
	unchanged(t, data, before)
}

// bigTable is a pgvector table with collections of several batches.
func bigTable(tb testing.TB, rows int) string {
	tb.Helper()
	dsn := servers.PostgreSQL(tb)
	do(tb, dsn, "CREATE TABLE document_chunk (id text PRIMARY KEY, vector vector(16), collection_name text NOT NULL, text text, vmetadata jsonb)",
		fmt.Sprintf(`INSERT INTO document_chunk SELECT gen_random_uuid()::text, (SELECT array_agg(random() + 0.01 + 0 * (o.i + g))::real[] FROM generate_series(1, 16) g)::vector,
			'file-' || lpad((i %% 7)::text, 8, '0') || '-0000-4000-8000-000000000000', 'text ' || i, jsonb_build_object('n', i, 'score', 3.0, 'name', 'x') FROM generate_series(1, %d) o(i)`, rows))
	return dsn
}

func fromBigTable(t *testing.T, rows int, multitenancy bool) func() (*lab, map[string]string) {
	server, dsn := servers.Qdrant(t), bigTable(t, rows)
	return func() (*lab, map[string]string) {
		vars := qdrantVars(t, server, multitenancy)
		return switched(t, map[string]string{"PGVECTOR_DB_URL": dsn, "VECTOR_DB": "pgvector", "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH": "16"}, vars), vars
	}
}

var onlyVectors = []string{"--only", "vectors", "--rate", "3000", "--dim", "16"}

// pgvector to Qdrant, killed at any moment.
func TestKillPGVectorToQdrant(t *testing.T) {
	killed(t, syscall.SIGKILL, max(3, pipetest.Kills(t)/3), onlyVectors, onlyVectors, fromBigTable(t, 9000, false))
}

// An interrupt is an announced crash, with a journal of the command's own too.
func TestInterruptPGVectorToQdrant(t *testing.T) {
	killed(t, syscall.SIGINT, max(3, pipetest.Kills(t)/3), onlyVectors, onlyVectors, fromBigTable(t, 9000, true))
}

// --replace that was killed goes on as the same run: it deletes what was there
// before, and never what it wrote itself.
func TestKillReplace(t *testing.T) {
	make := fromBigTable(t, 6000, true)
	flags := append([]string{"--replace"}, onlyVectors...)
	killed(t, syscall.SIGKILL, max(3, pipetest.Kills(t)/3), flags, onlyVectors, func() (*lab, map[string]string) {
		l, vars := make()
		putInQdrant(t, vars, "user-memory-8c1d9a90-0000-4000-8000-000000000001", "8c1d9a90-0000-4000-8000-00000000000a")
		return l, vars
	})
}

// One outgrow at a time: the second one is told so, and the first goes on.
func TestLockedJournal(t *testing.T) {
	l, vars := fromBigTable(t, 6000, true)()
	only := []string{"--only", "vectors", "--dim", "16"}
	first := l.start(l.pair("migrate", append(only, "--rate", "20")...)...).until("its first record", func() bool { return begunQdrant(t, vars) })
	l.migrate(only...).exits(3, "another outgrow").nextStep()
	before := total(inQdrant(t, vars))
	first.until("more records", func() bool { return total(inQdrant(t, vars)) > before }).signal(syscall.SIGINT)
	first.end().exits(130)
	l.migrate(only...).exits(0, "resumed")
	l.equal(only...)
}

// A server that goes away for a moment is waited for; one that stays away is the
// environment's, and the same command resumes.
func TestQdrantGoesAway(t *testing.T) {
	t.Parallel()
	server := servers.StartQdrant(t)
	dsn := bigTable(t, 6000)
	vars := qdrantVars(t, server, true)
	l := switched(t, map[string]string{"PGVECTOR_DB_URL": dsn, "VECTOR_DB": "pgvector", "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH": "16"}, vars)
	// The first one is to be met in its middle, the second to come to its end.
	writing := func(rate string) *running {
		before := total(inQdrant(t, vars))
		return l.start(l.pair("migrate", "--only", "vectors", "--rate", rate)...).until("its first record", func() bool {
			n, err := countQdrant(t.Context(), t, vars)
			return err == nil && total(n) > before
		})
	}
	run := writing("200")
	server.Kill()
	run.end().exits(3, "the vector index of ").nextStep()
	server.Restart(t)
	run = writing("800")
	server.Kill()
	time.Sleep(300 * time.Millisecond) // some calls fail; how long a server needs to start is not what is tested
	run.held(func() { server.Restart(t) }).end().exits(0, "resumed")
	l.equal("--only", "vectors")
}

// A key that the server refuses is the environment's, and is shown nowhere.
func TestQdrantKey(t *testing.T) {
	t.Parallel()
	const key, wrong = "right-key-8a7f", "wrong-key-31bc"
	server := servers.StartQdrant(t, "QDRANT__SERVICE__API_KEY="+key)
	vars := qdrantVars(t, server, false)
	vars["QDRANT_API_KEY"] = wrong
	l := switched(t, map[string]string{"PGVECTOR_DB_URL": bigTable(t, 50), "VECTOR_DB": "pgvector", "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH": "16"}, vars)
	for _, command := range append([]string{"status"}, pairs...) {
		args := l.pair(command, "--only", "vectors")
		if command == "status" {
			args = []string{"status", "--to", l.env}
		}
		if r := l.in(args...).exits(3, "QDRANT_API_KEY").nextStep(); strings.Contains(r.both(), wrong) {
			t.Errorf("%s shows the key:\n%s", command, r.both())
		}
	}
	l.environ = []string{"OUTGROW_TO_QDRANT_API_KEY=" + key}
	for _, command := range pairs {
		if r := l.in(l.pair(command, "--only", "vectors")...).exits(0); strings.Contains(r.both(), key) {
			t.Errorf("%s shows the key:\n%s", command, r.both())
		}
	}
	for name := range tree(t, strings.TrimSuffix(l.env, ".env")+".outgrow") {
		path := strings.TrimSuffix(l.env, ".env") + ".outgrow/" + name
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && strings.Contains(readFile(t, path), key) {
			t.Errorf("%s holds the key", name)
		}
	}
}
