package chroma

import (
	"os"
	"path/filepath"
	"testing"

	"outgrow/testdata/servers"
)

// The small stores: Python writer and its types, several databases with the
// seq_id in the pickle, a kill with a left journal, vectors that chromadb 0.5.9
// lost, Rust writer and its types, every space, a hot journal.
var small = []string{
	"0.4.24-types", "0.5.5-dbs", "0.5.9-vectors-lost", "0.6.3-kill9",
	"1.5.9-config", "1.5.9-kill9-hot-journal", "1.5.9-types",
}

func TestStores(t *testing.T) {
	for _, name := range small {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := unpack(t, name)
			store := filepath.Join(dir, "vector_db")
			before := fingerprint(t, store)
			compare(t, open(t, Config{Dir: store, AllDatabases: true}), expected(t, filepath.Join(dir, "expected.jsonl")))
			compare(t, open(t, Config{Dir: store, AllDatabases: true, Stopped: true}), expected(t, filepath.Join(dir, "expected.jsonl")))
			if fingerprint(t, store) != before {
				t.Error("the folder has changed")
			}
		})
	}
}

// TestShared reads the large stores, which are not part of the project.
func TestShared(t *testing.T) {
	shared := servers.Shared(t)
	dirs, err := filepath.Glob(filepath.Join(shared, "fixtures", "chroma", "*", "vector_db"))
	if err != nil || len(dirs) == 0 {
		t.Fatal("no stores", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(filepath.Dir(dir)), func(t *testing.T) {
			store := filepath.Join(t.TempDir(), "vector_db")
			if err := os.CopyFS(store, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			before := fingerprint(t, store)
			list := expected(t, filepath.Join(filepath.Dir(dir), "expected.jsonl.gz"))
			compare(t, open(t, Config{Dir: store, AllDatabases: true}), list)
			compare(t, open(t, Config{Dir: store, AllDatabases: true, Stopped: true}), list)
			if fingerprint(t, store) != before {
				t.Error("the folder has changed")
			}
			t.Logf("%d records", len(list))
		})
	}
}
