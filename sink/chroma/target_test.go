package chroma

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/mappings/fstype"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	"outgrow/testdata/servers"
)

// begun gives a journal of a run that has begun.
func begun(t *testing.T) pipeline.Journal {
	t.Helper()
	j := (&pipetest.MemoryState{}).Open()
	if _, err := j.Begin(t.Context(), pipeline.Run{ID: "t"}); err != nil {
		t.Fatal(err)
	}
	return j
}

func reasons(found []pipeline.Finding) (out []pipeline.Reason) {
	for _, f := range found {
		if f.Severity == pipeline.Refuse {
			out = append(out, f.Reason)
		}
	}
	return out
}

// A store that this run has not made is found, refused and left alone, unless
// it is emptied by order.
func TestStoreOfOthers(t *testing.T) {
	content := corpus(60, 8, 1)
	u := content[0].Unit
	for name, make := range map[string]func(t *testing.T, dir string){
		"of another run":         func(t *testing.T, dir string) { fill(t, Config{Dir: dir}, content) },
		"half-filled by another": func(t *testing.T, dir string) { half(t, dir, content) },
		"no database": func(t *testing.T, dir string) {
			put(t, dir, fileSQLite, "not a database, but long enough to be read as one")
		},
		"of chromadb":          func(t *testing.T, dir string) { unpackStore(t, "1.5.9-config", dir) },
		"of an older chromadb": func(t *testing.T, dir string) { unpackStore(t, "0.6.3-kill9", dir) },
		"with a write-ahead log": func(t *testing.T, dir string) {
			fill(t, Config{Dir: dir}, content)
			table(t, dir, "PRAGMA journal_mode = WAL")
		},
		"of another run, and half": func(t *testing.T, dir string) {
			half(t, dir, content)
			put(t, dir, fileSQLite, "something else was started meanwhile, and has made this")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "vector_db")
			make(t, dir)
			before := list(t, dir)
			j := begun(t)
			s := open(t, Config{Dir: dir, Journal: j})
			found, err := s.Check(t.Context(), []pipeline.Unit{u})
			if err != nil || !slices.Contains(reasons(found), InUse) {
				t.Errorf("the check finds %+v, %v", found, err)
			}
			if err := s.Prepare(t.Context(), u); err == nil || pipeline.HintOf(err) == "" || pipeline.ExitCode(err) == pipeline.ExitFailed {
				t.Errorf("preparing gives %v, exit %d, hint %q", err, pipeline.ExitCode(err), pipeline.HintOf(err))
			}
			if now := list(t, dir); !slices.Equal(before, now) {
				t.Errorf("the folder has changed: %v, was %v", now, before)
			}
			err = s.Empty(t.Context())
			if name == "no database" || name == "of another run, and half" { // what it has cannot be told
				if pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), "away") {
					t.Errorf("emptying gives %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if left := list(t, dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
			if err := s.Prepare(t.Context(), u); err != nil {
				t.Error(err)
			}
		})
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// half fills a store and does not finish it.
func half(t *testing.T, dir string, content []pipetest.Expected[*pipeline.Vector]) {
	t.Helper()
	s := open(t, Config{Dir: dir, Journal: begun(t)})
	for _, e := range content {
		if err := s.Prepare(t.Context(), e.Unit); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(t.Context(), batch(e.Unit, e.Records...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func unpackStore(t *testing.T, name, dir string) {
	t.Helper()
	from := t.TempDir()
	unpack(t, filepath.Join("..", "..", "testdata", "chroma", name+".tar.bz2"), from)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(from, "vector_db"))); err != nil {
		t.Fatal(err)
	}
}

// list gives names, sizes and times of all files.
func list(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		line := e.Name() + " " + info.ModTime().String()
		if e.IsDir() {
			line = e.Name() + "\n" + strings.Join(list(t, filepath.Join(dir, e.Name())), "\n")
		}
		out = append(out, line)
	}
	return out
}

func TestEmptyLeavesOthers(t *testing.T) {
	content := corpus(20, 8, 1)
	dir := filepath.Join(t.TempDir(), "vector_db")
	fill(t, Config{Dir: dir, Store: env.ChromaConfig{Tenant: "t", Database: "d"}}, content)
	put(t, filepath.Join(dir, "3f2b8c1e-0d6a-4a53-9c55-6f1f4b8d2f10"), "notes.txt", "mine")
	put(t, filepath.Join(dir, "7f2b8c1e-0d6a-4a53-9c55-6f1f4b8d2f10"), "header.bin", "an index")
	s := open(t, Config{Dir: dir})
	if err := s.Empty(t.Context()); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("emptying a store with another tenant's collections gives %v", err)
	}
	s = open(t, Config{Dir: dir, Store: env.ChromaConfig{Tenant: "t", Database: "d"}})
	if err := s.Empty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := list(t, dir); len(left) != 1 || !strings.Contains(left[0], "notes.txt") {
		t.Errorf("left: %v", left)
	}
}

// What the state says of a store is compared with what is there.
func TestStateAndStore(t *testing.T) {
	content := corpus(40, 8, 1)
	u := content[0].Unit
	t.Run("the store is gone", func(t *testing.T) {
		dir, j := filepath.Join(t.TempDir(), "vector_db"), begun(t)
		fill(t, Config{Dir: dir, Journal: j}, content)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := open(t, Config{Dir: dir, Journal: j}).Prepare(t.Context(), u); pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("%v", err)
		}
	})
	t.Run("an empty one of another run", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "vector_db")
		if err := open(t, Config{Dir: dir, Journal: begun(t)}).Prepare(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		s := open(t, Config{Dir: dir, Journal: begun(t)})
		if found, err := s.Check(t.Context(), nil); err != nil || len(reasons(found)) > 0 {
			t.Errorf("%+v, %v", found, err)
		}
		if err := s.Prepare(t.Context(), u); err != nil {
			t.Errorf("it is not made anew: %v", err)
		}
	})
	t.Run("finished but for the old name", func(t *testing.T) {
		dir, j := filepath.Join(t.TempDir(), "vector_db"), begun(t)
		fill(t, Config{Dir: dir, Journal: j}, content)
		if err := errors.Join(os.Mkdir(filepath.Join(dir, partialDir), 0o700), os.Link(filepath.Join(dir, fileSQLite), filepath.Join(dir, partialDir, fileSQLite))); err != nil {
			t.Fatal(err)
		}
		s := open(t, Config{Dir: dir, Journal: j})
		if _, err := s.Finish(t.Context(), func(string) {}); err != nil {
			t.Fatal(err)
		}
		if left := list(t, dir); len(left) != 1 {
			t.Errorf("left: %v", left)
		}
	})
	t.Run("taken over by another process", func(t *testing.T) {
		dir, j := filepath.Join(t.TempDir(), "vector_db"), begun(t)
		old := open(t, Config{Dir: dir, Journal: j})
		if err := old.Prepare(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if _, err := old.Write(t.Context(), batch(u, content[0].Records[:3]...)); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, Config{Dir: dir, Journal: j}).Finish(t.Context(), func(string) {}); err != nil {
			t.Fatal(err)
		}
		if _, err := old.Write(t.Context(), batch(u, content[0].Records[3:]...)); !errors.Is(err, pipeline.ErrFenced) {
			t.Errorf("writing under the old name gives %v", err)
		}
		if got := table(t, dir, "SELECT count(*) FROM embeddings"); got[0] != "3" {
			t.Errorf("%s records", got[0])
		}
	})
	t.Run("tables of another version", func(t *testing.T) {
		dir, j := filepath.Join(t.TempDir(), "vector_db"), begun(t)
		fill(t, Config{Dir: dir, Journal: j}, content)
		table(t, dir, "INSERT INTO migrations VALUES ('sysdb', 99, 'x', 'x', 'x')")
		if err := open(t, Config{Dir: dir, Journal: j}).Prepare(t.Context(), u); pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("%v", err)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "no", "vector_db")}); pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("without a data folder: %v", err)
	}
	nfs := func(string) (fstype.Type, error) { return fstype.Type{Magic: fstype.NFS}, nil }
	if _, err := Open(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "vector_db"), Detect: nfs}); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("on NFS: %v", err)
	}
}

func TestCheck(t *testing.T) {
	s := open(t, Config{Dir: filepath.Join(t.TempDir(), "vector_db")})
	found, err := s.Check(t.Context(), []pipeline.Unit{{Lane: pipeline.Vectors, Name: "a b", Records: 3}, {Lane: pipeline.Vectors, Name: "abc", Records: 1, Bytes: 1 << 60}})
	if err != nil || len(found) != 2 || found[0].Reason != chromahttp.CollectionName || found[0].Count != 3 || found[1].Reason != NoSpace {
		t.Errorf("%+v, %v", found, err)
	}
}

// Records are put in, replaced and deleted once the store has its name, and also
// once chromadb has an index of it and an emptied queue: it sees all of that.
func TestAfterwards(t *testing.T) {
	python := servers.ChromaPython(t)
	content := large(1200, 16, 9)
	e := content[0] // Chroma writes its index to disk
	dir, j := filepath.Join(t.TempDir(), "vector_db"), begun(t)
	fill(t, Config{Dir: dir, Journal: j}, content)
	late := vector("late", "put in late", `{"a":1}`, e.Records[7].Embedding...)
	changed := vector(e.Records[3].ID, "replaced", `{"list":[1,2]}`, e.Records[8].Embedding...)
	for round := range 2 {
		if round == 1 {
			dump(t, python, dir)
			if got := table(t, dir, "SELECT count(*) FROM embeddings_queue WHERE operation = 0"); got[0] == "1400" {
				t.Fatal("chromadb has not emptied the queue")
			}
			late.ID, late.Embedding = "later", e.Records[9].Embedding
		}
		s := open(t, Config{Dir: dir, Journal: j})
		for range 2 {
			if out, err := s.Put(t.Context(), e.Unit, []*pipeline.Vector{late, changed}); err != nil || out.Written != 2 {
				t.Fatalf("%+v, %v", out, err)
			}
		}
		gone := []string{e.Records[5+round].ID, "no such"}
		for range 2 {
			if err := s.Delete(t.Context(), e.Unit, gone); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		e.Records = slices.DeleteFunc(slices.Clone(e.Records), func(v *pipeline.Vector) bool { return v.ID == gone[0] })
		e.Records[3] = changed
		one := *late
		e.Records = append(e.Records, &one)
		if got := table(t, dir, "PRAGMA integrity_check"); got[0] != "ok" {
			t.Error(got)
		}
		copied := filepath.Join(t.TempDir(), "vector_db")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		for _, at := range []string{copied, dir} {
			if at == dir && round == 0 {
				continue // the copy only: the next round finds an index of it
			}
			all := dump(t, python, at)
			holds(t, all[slices.IndexFunc(all, func(d dumped) bool { return d.Name == e.Unit.Name })], e.Records)
		}
		hits := chromadb(t, python, nil, copied, "--find", e.Unit.Name, "put in late")
		if n := strings.Count(string(hits), "late"); n != round+1 {
			t.Errorf("the full-text index finds %s", hits)
		}
	}
	// A collection that was dropped is gone for chromadb too, with its index.
	s := open(t, Config{Dir: dir, Journal: j})
	for range 2 {
		if err := s.Drop(t.Context(), e.Unit); err != nil {
			t.Fatal(err)
		}
	}
	if left := list(t, dir); len(left) != len(content) { // the folders of the others, and the database
		t.Errorf("left behind: %v", left)
	}
	if out, err := s.Upsert(t.Context(), e.Unit, []*pipeline.Vector{late}, pipeline.Upsert{}); err != nil || out.Written != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	all := dump(t, python, dir)
	for _, d := range all {
		if i := slices.IndexFunc(content, func(x pipetest.Expected[*pipeline.Vector]) bool { return x.Unit.Name == d.Name }); i > 0 {
			holds(t, d, content[i].Records)
		} else {
			holds(t, d, []*pipeline.Vector{late})
		}
	}
	if len(all) != len(content) || table(t, dir, "PRAGMA integrity_check")[0] != "ok" {
		t.Errorf("%d collections", len(all))
	}
	// What Chroma has not taken into its tables yet must not be passed over.
	table(t, dir, "INSERT INTO embeddings_queue (operation, topic, id) SELECT 3, 'persistent://default/default/' || id, 'x' FROM collections WHERE name = 'file-0c'")
	if _, err := open(t, Config{Dir: dir, Journal: j}).Put(t.Context(), e.Unit, []*pipeline.Vector{late}); pipeline.ExitCode(err) != pipeline.ExitEnvironment || !errors.Is(err, errUnsettled) {
		t.Errorf("into a store in the middle: %v", err)
	}
}
