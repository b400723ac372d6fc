package chroma

import (
	"bytes"
	"database/sql"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/fstype"
	"outgrow/pipeline"
)

// alter changes the database of a store that belongs to the test.
func alter(tb testing.TB, store string, statements ...string) {
	tb.Helper()
	db, err := sql.Open("sqlite", dsn(store, "mode=rw"))
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			tb.Fatal(s, err)
		}
	}
}

// rewind makes a store whose records are in the queue only, as after a kill
// between the two transactions of chromadb 1.x.
func rewind(tb testing.TB, store string) {
	tb.Helper()
	alter(tb, store, "DELETE FROM embeddings", "DELETE FROM embedding_metadata", "DELETE FROM embedding_metadata_array",
		"DELETE FROM max_seq_id WHERE segment_id IN (SELECT id FROM segments WHERE scope = 'METADATA')")
}

// TestQueueOnly reads records, with updates and lists, from the queue alone.
func TestQueueOnly(t *testing.T) {
	dir := unpack(t, "1.5.9-types")
	store := filepath.Join(dir, "vector_db")
	list := expected(t, filepath.Join(dir, "expected.jsonl"))
	rewind(t, store)
	s := open(t, Config{Dir: store})
	compare(t, s, list)
	units, _ := s.Units(t.Context())
	for _, w := range list {
		got, err := s.Get(t.Context(), units[0], []string{w.ID})
		if err != nil || got[w.ID] == nil || w.diff(t, got[w.ID]) != "" {
			t.Errorf("Get %s: %v %v", w.ID, got, err)
		}
	}
}

// TestReplay applies changes that embeddings does not hold yet to records that
// it does hold: the number in max_seq_id goes back, as the log is replayed from
// any earlier state to the same end.
func TestReplay(t *testing.T) {
	for _, name := range []string{"1.5.9-types", "1.5.9-config"} {
		dir := unpack(t, name)
		store := filepath.Join(dir, "vector_db")
		alter(t, store, "DELETE FROM max_seq_id WHERE segment_id IN (SELECT id FROM segments WHERE scope = 'METADATA')")
		compare(t, open(t, Config{Dir: store}), expected(t, filepath.Join(dir, "expected.jsonl")))
	}
}

// TestVectorsTwice rewinds the number of the HNSW files, as a kill between
// persisting and noting it does.
func TestVectorsTwice(t *testing.T) {
	dir := unpack(t, "0.6.3-kill9")
	store := filepath.Join(dir, "vector_db")
	alter(t, store, "UPDATE max_seq_id SET seq_id = x'0000000000000000' WHERE segment_id IN (SELECT id FROM segments WHERE scope = 'VECTOR')")
	s := open(t, Config{Dir: store})
	list := expected(t, filepath.Join(dir, "expected.jsonl"))
	all, err := readAll(t.Context(), s)
	if err != nil || len(all) != len(list) {
		t.Fatal(len(all), err)
	}
}

func TestDamagedPickle(t *testing.T) {
	dir := unpack(t, "1.5.9-kill9-hot-journal")
	store := filepath.Join(dir, "vector_db")
	paths, _ := filepath.Glob(filepath.Join(store, "*", filePickle))
	b, err := os.ReadFile(paths[0])
	if err == nil {
		err = os.WriteFile(paths[0], b[:len(b)/2], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Dir: store})
	all, err := readAll(t.Context(), s)
	if err != nil || len(all) != 638 {
		t.Fatalf("%d records, %v", len(all), err)
	}
	kept := 0
	for _, v := range all {
		if v.Embedding != nil {
			kept++
		}
	}
	units, _ := s.Units(t.Context())
	found, err := s.Check(t.Context(), units)
	if err != nil {
		t.Fatal(err)
	}
	by := map[pipeline.Reason]pipeline.Finding{}
	for _, f := range found {
		by[f.Reason] = f
	}
	if kept == 0 || kept == 638 || by[pipeline.NeedsEmbedding].Count != int64(638-kept) || by[pipeline.Unreadable].Severity != pipeline.Warn {
		t.Errorf("%d vectors kept, findings %+v", kept, found)
	}
}

func TestCheck(t *testing.T) {
	check := func(name string, cfg Config, prepare ...string) map[pipeline.Reason]pipeline.Finding {
		cfg.Dir = filepath.Join(unpack(t, name), "vector_db")
		if len(prepare) > 0 {
			alter(t, cfg.Dir, prepare...)
		}
		s := open(t, cfg)
		units, err := s.Units(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found, err := s.Check(t.Context(), units)
		if err != nil {
			t.Fatal(err)
		}
		by := map[pipeline.Reason]pipeline.Finding{}
		for _, f := range found {
			if old := by[f.Reason]; old.Count > 0 {
				f.Count += old.Count
			}
			by[f.Reason] = f
		}
		return by
	}
	if f := check("0.5.9-vectors-lost", Config{})[pipeline.NeedsEmbedding]; f.Severity != pipeline.Accept || f.Count != 7 {
		t.Errorf("lost vectors: %+v", f)
	}
	if f := check("0.5.5-dbs", Config{}); f[ReasonOtherDatabase].Severity != pipeline.Warn || f[ReasonOtherDatabase].Count != 2 {
		t.Errorf("other databases: %+v", f)
	}
	if f := check("0.5.5-dbs", Config{AllDatabases: true}); len(f) != 0 {
		t.Errorf("all databases: %+v", f)
	}
	if f := check("0.4.24-types", Config{})[ReasonInfinite]; f.Severity != pipeline.Warn || f.Count != 1 {
		t.Errorf("infinite: %+v", f)
	}
	if f := check("1.5.9-config", Config{}, "UPDATE collections SET dimension = 99 WHERE name = 'cfg-ip-md-cosine'")[ReasonDimension]; f.Severity != pipeline.Refuse || f.Unit != "vectors/cfg-ip-md-cosine" {
		t.Errorf("dimension: %+v", f)
	}
	drop := []string{"DELETE FROM segments WHERE collection = (SELECT id FROM collections WHERE name = 'cfg-ip-md-cosine')", "DELETE FROM collections WHERE name = 'cfg-ip-md-cosine'"}
	if f := check("1.5.9-config", Config{}, drop...)[ReasonDeleted]; f.Severity != pipeline.Note || f.Count != 1+76 {
		t.Errorf("deleted: %+v", f)
	}
}

func TestCollisions(t *testing.T) {
	find := func(cfg Config) map[string][]string {
		s := open(t, cfg)
		found := map[string][]string{}
		for c, err := range s.Collisions(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			found[c.ID] = c.Collections
		}
		return found
	}
	// All five collections of this store have the same ids.
	dir := filepath.Join(unpack(t, "1.5.9-config"), "vector_db")
	if f := find(Config{Dir: dir}); len(f) != 76 || strings.Join(f["knm-1"], " ") !=
		"cfg-cosine-renamed cfg-ip-md-cosine cfg-l2-md-cosine cfg-none-md-cosine-small cfg-thr-md-cosine" {
		t.Errorf("%d collisions, %v", len(f), f["knm-1"])
	}
	if f := find(Config{Dir: filepath.Join(unpack(t, "0.5.9-vectors-lost"), "vector_db")}); len(f) != 0 {
		t.Errorf("collisions that are none: %v", f)
	}
	dbs := filepath.Join(unpack(t, "0.5.5-dbs"), "vector_db")
	if f := find(Config{Dir: dbs}); len(f) != 0 {
		t.Errorf("collisions with other databases: %v", f)
	}
	if f := find(Config{Dir: dbs, AllDatabases: true}); len(f) == 0 {
		t.Error("none between databases")
	}
}

// TestCollisionsMovedOn looks for equal ids in a store whose index files were written after its database was copied, while
// some of its records stood in the queue alone.
func TestCollisionsMovedOn(t *testing.T) {
	store := filepath.Join(unpack(t, "1.5.9-config"), "vector_db")
	rewind(t, store)
	count := func(s *Source) (n int) {
		for _, err := range s.Collisions(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	before, s := count(open(t, Config{Dir: store})), open(t, Config{Dir: store})
	paths, err := filepath.Glob(filepath.Join(store, "*", fileData))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	later := time.Now().Add(time.Minute)
	for _, p := range paths {
		if err := os.Chtimes(p, later, later); err != nil {
			t.Fatal(err)
		}
	}
	if after := count(s); before == 0 || after != before {
		t.Errorf("%d equal ids, then %d", before, after)
	}
}

func TestIdentity(t *testing.T) {
	dir := filepath.Join(unpack(t, "1.5.9-types"), "vector_db")
	first, err := open(t, Config{Dir: dir}).Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Config{Dir: dir, Stopped: true})
	if err != nil {
		t.Fatal(err)
	}
	again, _ := s.Identity(t.Context())
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if first != again || first.Stable == "" || strings.Contains(first.Stable+first.State, dir) {
		t.Errorf("%+v and %+v", first, again)
	}
	alter(t, dir, "UPDATE collections SET name = 'other'")
	changed, _ := open(t, Config{Dir: dir}).Identity(t.Context())
	if changed.Stable != first.Stable || changed.State == first.State {
		t.Errorf("%+v, then %+v", first, changed)
	}
}

func TestOpenErrors(t *testing.T) {
	empty := t.TempDir()
	if _, err := Open(t.Context(), Config{Dir: empty}); pipeline.ExitCode(err) != pipeline.ExitUsage || !errors.Is(err, fs.ErrNotExist) || pipeline.HintOf(err) == "" {
		t.Errorf("missing: %v", err)
	}
	s := open(t, Config{Dir: empty, AllowMissing: true})
	if units, err := s.Units(t.Context()); err != nil || len(units) != 0 {
		t.Errorf("an empty store has %v, %v", units, err)
	}
	if err := os.WriteFile(filepath.Join(empty, FileName), []byte("not a database, but long enough to be looked at"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: empty, Private: t.TempDir()}); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("not a database: %v", err)
	}
	dir := filepath.Join(unpack(t, "1.5.9-types"), "vector_db")
	if _, err := Open(t.Context(), Config{Dir: dir, Private: dir}); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("private copy in the store: %v", err)
	}
}

// On a file system that other machines share a store is read only when it is
// said to be stopped, and with a warning.
func TestNetworkFileSystem(t *testing.T) {
	dir := filepath.Join(unpack(t, "1.5.9-types"), "vector_db")
	for _, on := range []fstype.Type{{Magic: fstype.NFS}, {Magic: fstype.CIFS}, {Magic: fstype.FUSE, Mount: "fuse.glusterfs"}, {Magic: fstype.XFS}} {
		detect := func(path string) (fstype.Type, error) {
			if path != dir {
				t.Errorf("asked for %s", path)
			}
			return on, nil
		}
		s, err := Open(t.Context(), Config{Dir: dir, FileSystem: detect, Private: t.TempDir()})
		if refused := pipeline.ExitCode(err) == pipeline.ExitEnvironment && strings.Contains(err.Error(), on.String()) && pipeline.HintOf(err) != ""; refused != on.Network() {
			t.Errorf("perhaps in use, on %s: %v", on, err)
		}
		if err == nil {
			_ = s.Close()
		}
		if s, err = Open(t.Context(), Config{Dir: dir, FileSystem: detect, Stopped: true}); err != nil {
			t.Fatalf("stopped, on %s: %v", on, err)
		}
		found, err := s.Check(t.Context(), nil)
		if warned := len(found) > 0 && found[0].Reason == fstype.Network && found[0].Severity == pipeline.Warn; err != nil || warned != on.Network() {
			t.Errorf("stopped, on %s: %+v, %v", on, found, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	failed := errors.New("no answer")
	if _, err := Open(t.Context(), Config{Dir: dir, FileSystem: func(string) (fstype.Type, error) { return fstype.Type{}, failed }}); !errors.Is(err, failed) || pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("no type: %v", err)
	}
}

// TestMovedOn has the store written to after it was opened.
func TestMovedOn(t *testing.T) {
	dir := unpack(t, "1.5.9-config")
	store := filepath.Join(dir, "vector_db")
	s := open(t, Config{Dir: store, Limits: pipeline.Limits{Records: 10}})
	units, _ := s.Units(t.Context())
	later := time.Now().Add(time.Minute)
	touch := func() {
		paths, _ := filepath.Glob(filepath.Join(store, "*", fileData))
		for _, p := range paths {
			if err := os.Chtimes(p, later, later); err != nil {
				t.Fatal(err)
			}
		}
		later = later.Add(time.Minute)
	}
	at, batches := pipeline.Cursor(""), 0
	for b, err := range s.Read(t.Context(), pipeline.Part{Unit: units[0]}, "") {
		if batches == 2 {
			if !pipeline.IsRetryable(err) {
				t.Fatalf("the files were written while they were read, and the error is %v", err)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		at = b.Next
		if batches++; batches == 2 {
			touch()
		}
	}
	// The retry copies the database again.
	rest := 0
	for b, err := range s.Read(t.Context(), pipeline.Part{Unit: units[0]}, at) {
		if err != nil {
			t.Fatal(err)
		}
		rest += b.Read
	}
	if rest != 76-20 {
		t.Errorf("%d records after the retry", rest)
	}

	// Read in place, the store may not change at all.
	p, err := Open(t.Context(), Config{Dir: store, Stopped: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(store, FileName), later, later); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err == nil {
		t.Error("a stopped store that was written to: no error")
	}
}

// TestSameTick has the database written to without a new size or time, as within one tick of the file system's clock.
func TestSameTick(t *testing.T) {
	store := filepath.Join(unpack(t, "1.5.9-types"), "vector_db")
	path := filepath.Join(store, FileName)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Config{Dir: store, Stopped: true})
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	alter(t, store, "UPDATE collections SET name = 'other'")
	if err := os.Chtimes(path, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		t.Fatalf("the file shows the change by itself: %v", err)
	}
	if changed, err := s.Identity(t.Context()); err != nil || changed.State == first.State {
		t.Errorf("%+v, then %+v, %v", first, changed, err)
	}
	if err := s.Close(); err == nil {
		t.Error("a stopped store that was written to: no error")
	}
}

func TestWAL(t *testing.T) {
	dir := unpack(t, "1.5.9-types")
	store := filepath.Join(dir, "vector_db")
	db, err := sql.Open("sqlite", dsn(store, "mode=rw&_pragma=journal_mode(wal)&_pragma=wal_autocheckpoint(0)"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE collections SET name = 'from the wal'"); err != nil {
		t.Fatal(err)
	}
	for _, stopped := range []bool{false, true} {
		s := open(t, Config{Dir: store, Stopped: stopped})
		units, err := s.Units(t.Context())
		if err != nil || len(units) != 1 || units[0].Name != "from the wal" || units[0].Records != 9 {
			t.Errorf("stopped %t: %+v %v", stopped, units, err)
		}
	}
}

func TestFloats(t *testing.T) {
	for f, want := range map[float64]string{
		3: "3.0", 0.1: "0.1", 1e16: "1e+16", 1e15: "1000000000000000.0", 1e-5: "1e-05", 1e-4: "0.0001", 1.0 / 7: "0.14285714285714285",
		1e300: "1e+300", 1e-320: "1e-320", -2.5: "-2.5", 9.223372036854776e18: "9.223372036854776e+18", math.Copysign(0, -1): "0.0",
		math.Inf(1): "1e999", 123456789012345680: "1.2345678901234568e+17",
	} {
		if got := appendFloat(nil, f); !bytes.Equal(got, []byte(want)) {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
}
