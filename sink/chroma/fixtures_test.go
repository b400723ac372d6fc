package chroma

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/chroma"
	"outgrow/testdata/servers"
)

// Small stores of real versions are copied; then chromadb opens the copy and
// gives what the project's reader finds in the original (which lacks the files
// that chromadb needs to open it), but for what the quarantine and the ledger
// tell.
func TestStores(t *testing.T) {
	python := servers.ChromaPython(t)
	for _, name := range []string{"0.4.24-types", "0.5.5-dbs", "0.5.9-vectors-lost", "0.6.3-kill9", "1.5.9-config", "1.5.9-kill9-hot-journal", "1.5.9-types"} {
		t.Run(name, func(t *testing.T) {
			from := t.TempDir()
			unpack(t, filepath.Join("..", "..", "testdata", "chroma", name+".tar.bz2"), from)
			sameStore(t, python, filepath.Join(from, "vector_db"), false)
		})
	}
}

// TestShared copies the large stores, which are not part of the project: chromadb
// opens both, and gives the same.
func TestShared(t *testing.T) {
	shared, python := servers.Shared(t), servers.ChromaPython(t)
	dirs, err := filepath.Glob(filepath.Join(shared, "fixtures", "chroma", "*", "vector_db"))
	if err != nil || len(dirs) == 0 {
		t.Fatal("no stores", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(filepath.Dir(dir)), func(t *testing.T) {
			from := filepath.Join(t.TempDir(), "vector_db")
			if err := os.CopyFS(from, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			// chromadb 1.5.9 itself cannot read what 0.4.24 has left of NaN and Infinity.
			sameStore(t, python, from, !strings.HasPrefix(filepath.Base(filepath.Dir(dir)), "0.4.24"))
		})
	}
}

// sameStore copies a store and compares the copy, as chromadb gives it, with the
// original, as chromadb or as the project's own reader gives it.
func sameStore(t *testing.T, python, from string, theirs bool) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "vector_db")
	journal := (&pipetest.MemoryState{}).Open()
	if _, err := journal.Begin(t.Context(), pipeline.Run{ID: "t"}); err != nil {
		t.Fatal(err)
	}
	where := databases(t, from)
	for i, db := range where {
		tenant, database, _ := strings.Cut(db, "/")
		src, err := reader.Open(t.Context(), reader.Config{Dir: from, Tenant: tenant, Database: database, Private: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		if i > 0 { // its cursors are its own; the store is the same
			marks, _ := journal.Marked(t.Context())
			journal = (&pipetest.MemoryState{}).Open()
			if _, err := journal.Begin(t.Context(), pipeline.Run{ID: "t"}); err != nil {
				t.Fatal(err)
			}
			if err := journal.Mark(t.Context(), mark, marks[mark]); err != nil {
				t.Fatal(err)
			}
		}
		store := env.ChromaConfig{Tenant: tenant, Database: database}
		s := open(t, Config{Dir: to, Journal: journal, Store: store})
		if err := pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Vector]{Source: src, Sink: s, Journal: journal, Workers: 1,
			Transforms: []pipeline.Transform[*pipeline.Vector]{chromahttp.Transform(store)}}); err != nil {
			t.Fatal(err)
		}
		s.Close()
		// What is told of is no difference.
		var want []dumped
		if theirs {
			want = dump(t, python, from, db)
		} else {
			want = read(t, src)
		}
		got := dump(t, python, to, db)
		if len(want) != len(got) {
			t.Fatalf("%s: %d collections, not %d", db, len(got), len(want))
		}
		for k := range want {
			sameCollection(t, journal, want[k], got[k])
		}
	}
}

// read gives what the project's own reader finds, without what it refuses, as
// dump does.
func read(t *testing.T, src *reader.Source) (all []dumped) {
	t.Helper()
	units, err := src.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		d := dumped{Name: u.Name}
		for b, err := range src.Read(t.Context(), pipeline.Part{Unit: u}, "") {
			if err != nil {
				t.Fatal(err)
			}
			d.Count += b.Read
			for _, v := range b.Records {
				d.IDs, d.Documents, d.Metadatas = append(d.IDs, v.ID), append(d.Documents, v.Text), append(d.Metadatas, v.Metadata)
				var raw []byte
				for _, f := range v.Embedding {
					raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
				}
				d.Vectors = append(d.Vectors, base64.StdEncoding.EncodeToString(raw))
			}
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b dumped) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// sameCollection compares a collection of the original with the copy's.
func sameCollection(t *testing.T, journal pipeline.Journal, want, got dumped) {
	t.Helper()
	unit := "vectors/" + want.Name
	// An earlier version's store keeps the distance that it was made with; what
	// Open WebUI makes is always cosine, and so is the copy.
	cosine := strings.Contains(string(want.Config), `"space": "cosine"`)
	text := map[string]bool{}
	for c, err := range journal.Changes(t.Context(), unit) {
		if err != nil {
			t.Fatal(err)
		}
		text[c.Key+"\x00"+c.Column] = true
	}
	refused := map[string]bool{}
	for r, err := range journal.Refusals(t.Context(), unit) {
		if err != nil {
			t.Fatal(err)
		}
		refused[r.Key] = true
	}
	at := map[string]int{}
	for i, id := range got.IDs {
		at[id] = i
	}
	if want.Queries == nil { // the reader's
		want.Filters = got.Filters
	}
	if got.Count != want.Count-len(refused) || len(got.IDs) != got.Count || len(got.Vectors) != got.Count || got.Lost != "" {
		t.Errorf("%s: %d records counted, %d got, %d vectors, not %d - %d; %s", want.Name, got.Count, len(got.IDs), len(got.Vectors), want.Count, len(refused), got.Lost)
		return
	}
	if kept := slices.DeleteFunc(slices.Clone(want.IDs), func(id string) bool { return refused[id] }); !slices.Equal(kept, got.IDs) {
		t.Errorf("%s: another order of records", want.Name)
	}
	exact := 0
	for i, id := range want.IDs {
		k, ok := at[id]
		if !ok {
			if !refused[id] {
				t.Errorf("%s: %s is missing", want.Name, id)
			}
			continue
		}
		w := &pipeline.Vector{ID: id, Text: want.Documents[i], Metadata: want.Metadatas[i]}
		g := &pipeline.Vector{ID: id, Text: got.Documents[k], Metadata: got.Metadatas[k], Embedding: floats(t, got.Vectors[k])}
		if want.Lost == "" {
			w.Embedding = floats(t, want.Vectors[i])
			if want.Vectors[i] == got.Vectors[k] {
				exact++
			}
		} else {
			w.Embedding = g.Embedding
		}
		if w.Text == nil && text[id+"\x00text"] {
			w.Text = new(string)
		}
		for _, v := range []*pipeline.Vector{w, g} {
			if string(v.Metadata) == "null" {
				v.Metadata = nil
			}
		}
		fields, err := compareRecord(w, g)
		if err != nil || len(fields) > 0 {
			t.Errorf("%s, %s: %v %+v", want.Name, id, err, fields)
		}
	}
	t.Logf("%s: %d records, %d vectors to the bit, %d refused, %d changed, cosine %v", want.Name, got.Count, exact, len(refused), len(text), cosine)
	if len(refused) > 0 {
		return // searches find something else
	}
	if !slices.EqualFunc(want.Filters, got.Filters, slices.Equal) {
		t.Errorf("%s: filters find something else: %v, not %v", want.Name, got.Filters, want.Filters)
	}
	if !cosine {
		return
	}
	for i, q := range want.Queries {
		for n := range q.IDs {
			if q.IDs[n] != got.Queries[i].IDs[n] && math.Abs(q.Distances[n]-got.Queries[i].Distances[n]) > 1e-6 || math.Abs(q.Distances[n]-got.Queries[i].Distances[n]) > 2e-6 {
				t.Errorf("%s, search %d, answer %d: %s at %g, not %s at %g", want.Name, i, n, got.Queries[i].IDs[n], got.Queries[i].Distances[n], q.IDs[n], q.Distances[n])
			}
		}
	}
}

// databases lists tenants and databases that have collections.
func databases(t *testing.T, dir string) []string {
	t.Helper()
	copied := t.TempDir() // with its journal, which may have to be rolled back
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return table(t, copied, "SELECT DISTINCT d.tenant_id || '/' || d.name FROM databases d JOIN collections c ON c.database_id = d.id ORDER BY 1")
}
