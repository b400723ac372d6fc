package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"outgrow/mappings/fstype"
)

// appFolder is the variable that makes this test program the writer on a data
// folder: SQLite's locks are a process's, so it must be another one.
const appFolder = "OUTGROW_TEST_APP"

// appMain writes what users write until it is told to end: rows that are new,
// changed and gone, files, and texts of vectors.
func appMain(dir string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "webui.db")+"?_pragma=busy_timeout(60000)")
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(1)
	chroma, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "vector_db", "chroma.sqlite3")+"?_pragma=busy_timeout(60000)")
	if err != nil {
		panic(err)
	}
	do := func(db *sql.DB, statement string) {
		if _, err := db.Exec(statement); err != nil {
			panic(fmt.Sprintf("%v in: %s", err, statement))
		}
	}
	began := time.Now().UnixMilli()
	for n := 0; ; n++ {
		id := fmt.Sprintf("%08x-0000-4000-8000-%012d", began&0xffffffff, n)
		do(db, fmt.Sprintf(`INSERT INTO memory (id, user_id, content, created_at, updated_at) SELECT '%s', user_id, 'new', unixepoch(), unixepoch() FROM memory LIMIT 1`, id))
		do(db, fmt.Sprintf(`UPDATE chat SET title = 'title %d', updated_at = unixepoch() WHERE id = (SELECT id FROM chat ORDER BY id LIMIT 1 OFFSET %d)`, n, n%5))
		if n%10 == 9 {
			do(db, `DELETE FROM memory WHERE id = (SELECT id FROM memory WHERE content = 'new' ORDER BY id LIMIT 1)`)
			if err := os.WriteFile(filepath.Join(dir, "uploads", id+"_new.txt"), []byte("new "+id), 0o600); err != nil {
				panic(err)
			}
			do(db, fmt.Sprintf(`INSERT INTO file (id, user_id, filename, meta, created_at, updated_at, path) SELECT '%s', user_id, 'new.txt', meta, unixepoch(), unixepoch(), '/app/backend/data/uploads/%s_new.txt' FROM file LIMIT 1`, id, id))
		}
		if n%40 == 39 {
			do(chroma, fmt.Sprintf(`UPDATE embedding_metadata SET string_value = 'changed %d' WHERE key = 'chroma:document' AND id = (SELECT min(id) FROM embedding_metadata WHERE key = 'chroma:document')`, n))
		}
		if n == 0 {
			fmt.Println("writing")
		}
		select {
		case <-stop:
			_, _ = db.Close(), chroma.Close()
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// runApp starts the writer on the source, waits until it writes and gives a shell
// command that ends it, which may be repeated.
func (l *lab) runApp() (stop string) {
	l.tb.Helper()
	self, err := os.Executable()
	if err != nil {
		l.tb.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), appFolder+"="+l.from)
	var said strings.Builder
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		l.tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.tb.Fatal(err)
	}
	writing, err := bufio.NewReader(stdout).ReadString('\n')
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	l.tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			l.tb.Errorf("the writer ended badly: %v: %.500s", err, said.String())
		}
	})
	if writing == "" {
		l.tb.Fatalf("the writer does not write: %v", err)
	}
	return fmt.Sprintf("kill %d 2>/dev/null; while kill -0 %d 2>/dev/null; do sleep 0.05; done", cmd.Process.Pid, cmd.Process.Pid)
}

// report reads the report of the state folder.
func (l *lab) report() (r report) {
	l.tb.Helper()
	if _, err := updateReport(filepath.Join(l.dir, "scaled.outgrow"), func(old *report) { r = *old }); err != nil {
		l.tb.Fatal(err)
	}
	return r
}

// guided is cutover with what a test needs not wait for. Beside other tests a
// server has no room for the pools of a whole Open WebUI; and a target in memory
// is one that doctor stops at.
func (l *lab) guided(more ...string) []string {
	for _, name := range []string{"DATABASE_POOL_SIZE", "PGVECTOR_POOL_SIZE"} {
		if l.vars[name] == "" {
			l.set(name, "1")
		}
	}
	if t, err := fstype.Of(l.share); err == nil && t.Volatile() && l.fs == nil {
		more = append(more, "--skip-doctor")
	}
	return l.pair("cutover", append([]string{"--drain", "0s", "--quiet", "300ms", "--searches", "2"}, more...)...)
}
