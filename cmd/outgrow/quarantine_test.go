package main

import (
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/pipeline"
)

// cloneRow inserts a copy of a row of the source's table, with the columns
// given set to SQL expressions. where picks the row that is copied.
func cloneRow(tb testing.TB, db *sql.DB, table, where string, set map[string]string) {
	tb.Helper()
	rows, err := db.Query("SELECT name FROM pragma_table_info(?)", table)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var names, values []string
	known := 0
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			tb.Fatal(err)
		}
		value, ok := set[name]
		if ok {
			known++
		} else {
			value = `"` + name + `"`
		}
		names, values = append(names, `"`+name+`"`), append(values, value)
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	if known != len(set) {
		tb.Fatalf("table %s lacks a column of %v", table, set)
	}
	if where == "" {
		where = "1"
	}
	text := `INSERT INTO "` + table + `" (` + strings.Join(names, ",") + `) SELECT ` + strings.Join(values, ",") + ` FROM "` + table + `" WHERE ` + where + ` LIMIT 1`
	res, err := db.Exec(text)
	if err != nil {
		tb.Fatalf("%.300s: %v", text, err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		tb.Fatalf("%.300s: %d rows", text, n)
	}
}

// edit opens the source's database for changes and closes it after f.
func (l *lab) edit(f func(db *sql.DB)) {
	l.tb.Helper()
	db, err := sql.Open("sqlite", filepath.Join(l.from, "webui.db"))
	if err != nil {
		l.tb.Fatal(err)
	}
	db.SetMaxOpenConns(2)
	f(db)
	if err := db.Close(); err != nil {
		l.tb.Fatal(err)
	}
}

// quarantine gives the lines of status --quarantine.
func (l *lab) quarantine() []pipeline.Refusal {
	l.tb.Helper()
	return decodeLines[pipeline.Refusal](l.tb, l.in("status", "--to", l.env, "--quarantine").exits(0).out)
}

// ledger gives the lines of status --ledger.
func (l *lab) ledger() []pipeline.Change {
	l.tb.Helper()
	return decodeLines[pipeline.Change](l.tb, l.in("status", "--to", l.env, "--ledger").exits(0).out)
}

func decodeLines[T any](tb testing.TB, text string) []T {
	tb.Helper()
	var out []T
	for line := range strings.Lines(text) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			tb.Fatalf("%.300s: %v", line, err)
		}
		out = append(out, v)
	}
	return out
}

// withOrphans adds two messages of a chat that is gone, one that answers in a
// chat of its own, and a file of a knowledge base in a folder that is gone.
func withOrphans(l *lab) {
	l.tb.Helper()
	l.edit(func(db *sql.DB) {
		for _, id := range []string{"orphan-1", "orphan-2"} {
			cloneRow(l.tb, db, "chat_message", "", map[string]string{"id": "'" + id + "'", "chat_id": "'gone'", "content": `'"what was said: ünï"'`})
		}
		cloneRow(l.tb, db, "knowledge_directory", "parent_id IS NULL", map[string]string{"id": "'lost-dir'", "parent_id": "'gone'"})
		// Its parent is refused in the second round only.
		cloneRow(l.tb, db, "knowledge_directory", "parent_id IS NULL", map[string]string{"id": "'lost-child'", "parent_id": "'lost-dir'"})
		if _, err := db.Exec("UPDATE knowledge_file SET directory_id = 'gone' WHERE id = (SELECT min(id) FROM knowledge_file)"); err != nil {
			l.tb.Fatal(err)
		}
	})
}

// Orphans are normal in real databases: kept whole, told of, and no obstacle
// once the operator has agreed.
func TestOrphansAreKeptAndAccepted(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	withOrphans(l)
	l.plan().exits(0, "accept?", "--accept orphan")
	l.migrate().exits(4, "--accept orphan", "outgrow replay", "status")
	l.verify().exits(4, "!", "orphan-1", "not accepted")
	lines := l.quarantine()
	if len(lines) != 4 {
		t.Fatalf("%d lines in the quarantine, want 4: %v", len(lines), lines)
	}
	for _, r := range lines {
		if r.Reason != pipeline.Orphan || len(r.Record) == 0 {
			t.Errorf("line %s: %s", r.Key, r.Reason)
		}
		if r.Key != "orphan-1" {
			continue
		}
		var rec struct {
			Table  string
			Values map[string]any
		}
		if err := json.Unmarshal(r.Record, &rec); err != nil {
			t.Fatal(err)
		}
		if rec.Values["content"] != `"what was said: ünï"` || rec.Values["chat_id"] != "gone" || len(rec.Values) != 19 {
			t.Errorf("the record is not whole: %s", r.Record)
		}
	}
	var cleared int
	for _, c := range l.ledger() {
		if c.Reason == pipeline.ParentCleared && c.Unit == "rows/knowledge_file" && c.Column == "directory_id" {
			cleared++
		}
	}
	if cleared != 1 {
		t.Errorf("%d lines tell of a cleared parent, want 1", cleared)
	}

	l.migrate("--accept", "orphan").exits(0, "agreed")
	l.equal()
	counts := l.sourceCounts()
	counts["chat_message"] -= 2
	counts["knowledge_directory"] -= 2
	l.sameCounts(counts, 674)
	l.in("status", "--to", l.env).exits(0, "orphan (accepted)")

	// It was agreed to of what they are, not of whatever the source holds later.
	l.edit(func(db *sql.DB) {
		if _, err := db.Exec("UPDATE chat_message SET chat_id = (SELECT min(id) FROM chat) WHERE id = 'orphan-1'"); err != nil {
			t.Fatal(err)
		}
	})
	l.verify().exits(4, "+ rows/chat_message orphan-1: the quarantine holds another state of it", "1 missing, 0 extra")
	l.sync().exits(0, "1 new, 0 changed")
	l.equal()
}

// What plan was told to accept, migrate knows.
func TestConsentGivenToPlan(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	withOrphans(l)
	l.plan("--accept", "orphan").exits(0, "agreed")
	l.migrate().exits(0)
	l.equal()
}

// A repaired line goes in, the others stay where they are.
func TestReplay(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	withOrphans(l)
	l.migrate().exits(4)
	file := filepath.Join(l.dir, "refused.jsonl")
	text := l.in("status", "--to", l.env, "--quarantine").exits(0).out
	parent := ask[string](l, "SELECT min(id) FROM chat")
	repaired := strings.ReplaceAll(text, `"chat_id":"gone"`, `"chat_id":"`+parent+`"`)
	if repaired == text {
		t.Fatalf("nothing to repair in %s", text)
	}
	if err := os.WriteFile(file, []byte(repaired), 0o600); err != nil {
		t.Fatal(err)
	}
	l.in("replay", "--to", l.env, file).exits(4, "2 records put in", "2 still in the quarantine")
	if n := ask[int](l, "SELECT count(*) FROM chat_message WHERE id IN ('orphan-1', 'orphan-2') AND chat_id = $1 AND content::text = $2", parent, `"what was said: ünï"`); n != 2 {
		t.Errorf("%d repaired rows are on the target, want 2", n)
	}
	if left := l.quarantine(); len(left) != 2 {
		t.Errorf("%d lines are left, want 2", len(left))
	}
	l.verify().exits(4)
	l.migrate("--accept", "orphan").exits(0)
	l.equal().says("repaired ones put in")

	// Once more: nothing is put in twice.
	l.in("replay", "--to", l.env, file).exits(4)
	if n := ask[int](l, "SELECT count(*) FROM chat_message WHERE id IN ('orphan-1', 'orphan-2')"); n != 2 {
		t.Errorf("%d rows after the second replay, want 2", n)
	}
	l.equal()

	if err := os.WriteFile(file, []byte("{\"unit\":\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.in("replay", "--to", l.env, file).exits(2, "line 1").nextStep()
}

// A target that was never begun has nothing to put anything into.
func TestReplayWithoutMigration(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	file := filepath.Join(l.dir, "refused.jsonl")
	if err := os.WriteFile(file, []byte(`{"unit":"rows/memory","key":"x","reason":"invalid","detail":"","record":{"table":"memory","values":{"id":"x"}}}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.in("status", "--to", l.env).exits(0, "nothing begun")
	l.in("replay", "--to", l.env, file).exits(2).nextStep()
}
