package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The files lane keeps its own state: it starts over with --replace, and with a
// target database that is new, even though its state says that all is done.
func TestFilesStartOverWithTheRows(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate().exits(0)
	uploads := filepath.Join(l.share, "uploads")
	if err := os.RemoveAll(uploads); err != nil {
		t.Fatal(err)
	}
	l.verify().exits(4)
	l.migrate("--replace").exits(0)
	l.equal()

	other := newLab(t, l.from)
	if err := os.RemoveAll(uploads); err != nil {
		t.Fatal(err)
	}
	l.set("DATABASE_URL", other.dsn) // same folders, same state, another database
	l.migrate().exits(0)
	l.equal()
}

// Consent overrules the rule of the stores' ages and nothing else.
func TestConsentDoesNotOverrule(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate().exits(0)
	again := labOn(t, l.from, l.dsn)
	do(t, l.dsn, "DROP SCHEMA outgrow CASCADE")
	again.migrate("--accept", "in-use").exits(2, "refuse")
	if n := ask[int64](l, "SELECT count(*) FROM chat"); n != 200 {
		t.Errorf("%d chats are left", n)
	}
}
