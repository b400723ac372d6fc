package chroma

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	"outgrow/testdata/servers"
)

// What is embedded is what the real chromadb makes.
func TestGenerated(t *testing.T) {
	python := servers.ChromaPython(t)
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "bash", "generate.sh", python, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"tables.sql", "rows.sql", "indexes.sql", "collection.json"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if have, err := os.ReadFile(name); err != nil || string(have) != string(want) {
			t.Errorf("%s is not what chromadb makes (%v): run generate.sh", name, err)
		}
	}
}

// The same records written by chromadb and by this package give the same tables,
// but for ids, times, the order of metadata keys, and the queue's metadata.
func TestSameTables(t *testing.T) {
	python := servers.ChromaPython(t)
	content := corpus(400, 8, 3)
	for _, e := range content {
		for _, v := range e.Records { // chromadb's own full-text index is malformed after that
			*v.Text = strings.ReplaceAll(*v.Text, "\x00", "")
		}
	}
	var lines []byte
	for _, e := range content {
		one, err := json.Marshal(map[string]any{"name": e.Unit.Name, "records": e.Records})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, one...), '\n')
	}
	theirs, ours := filepath.Join(t.TempDir(), "vector_db"), filepath.Join(t.TempDir(), "vector_db")
	chromadb(t, python, lines, theirs, "--make")
	fill(t, Config{Dir: ours}, content)
	for name, query := range map[string]string{
		"schema":               "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2",
		"migrations":           "SELECT * FROM migrations ORDER BY dir, version",
		"tenants":              "SELECT t.id, d.id, d.name FROM tenants t JOIN databases d ON d.tenant_id = t.id ORDER BY 1",
		"queue":                "SELECT * FROM embeddings_queue_config",
		"lock":                 "SELECT * FROM acquire_write",
		"collections":          "SELECT c.name, c.dimension, c.config_json_str, m.key, m.str_value, m.int_value, m.float_value, m.bool_value FROM collections c LEFT JOIN collection_metadata m ON m.collection_id = c.id ORDER BY c.rowid",
		"segments":             "SELECT c.name, s.type, s.scope, q.seq_id FROM segments s JOIN collections c ON c.id = s.collection LEFT JOIN max_seq_id q ON q.segment_id = s.id ORDER BY s.rowid",
		"metadata of segments": "SELECT count(*) FROM segment_metadata",
		"embeddings":           "SELECT e.id, c.name, e.embedding_id, e.seq_id, typeof(e.seq_id), length(e.created_at) FROM embeddings e JOIN segments s ON s.id = e.segment_id JOIN collections c ON c.id = s.collection ORDER BY e.id",
		"values":               "SELECT id, key, string_value, int_value, round(float_value, 12), bool_value FROM embedding_metadata ORDER BY id, key",
		"lists":                "SELECT id, key, string_value, int_value, float_value, bool_value FROM embedding_metadata_array ORDER BY id, key, rowid",
		"documents":            "SELECT id, c0 FROM embedding_fulltext_search_content ORDER BY id",
		"sizes":                "SELECT id, hex(sz) FROM embedding_fulltext_search_docsize ORDER BY id",
		"log":                  "SELECT q.seq_id, q.operation, c.name, q.id, hex(q.vector), q.encoding, length(q.created_at) FROM embeddings_queue q JOIN collections c ON q.topic = 'persistent://default/default/' || c.id ORDER BY 1",
		"integrity":            "PRAGMA integrity_check",
		"keys":                 "PRAGMA foreign_key_check",
		"page":                 "PRAGMA page_size",
		"mode":                 "PRAGMA journal_mode",
		"version":              "PRAGMA user_version",
		"vacuum":               "PRAGMA auto_vacuum",
	} {
		want, got := table(t, theirs, query), table(t, ours, query)
		if !slices.Equal(want, got) || name != "keys" && len(want) == 0 {
			for i := range min(len(want), len(got)) {
				if want[i] != got[i] {
					t.Errorf("%s, row %d: %s\nnot %s", name, i, got[i], want[i])
					break
				}
			}
			t.Errorf("%s: %d rows, not %d", name, len(got), len(want))
		}
	}
	for i, want := range table(t, theirs, "SELECT schema_str FROM collections ORDER BY rowid") {
		if got := table(t, ours, "SELECT schema_str FROM collections ORDER BY rowid")[i]; !sameSchema(t, want, got) {
			t.Errorf("the schema of collection %d is %s\nnot %s", i, got, want)
		}
	}
	left, err := os.ReadDir(ours)
	if err != nil || len(left) != 1 || left[0].Name() != fileSQLite {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if table(t, ours, "INSERT INTO embedding_fulltext_search (embedding_fulltext_search) VALUES ('integrity-check')") != nil {
		t.Error("the full-text index answers")
	}
}

// sameSchema compares two schemas without the number of threads, which is the
// machine's.
func sameSchema(t *testing.T, want, got string) bool {
	t.Helper()
	plain := func(s string) string {
		var v any
		if err := json.Unmarshal([]byte(s), &v); err != nil {
			t.Fatal(err)
		}
		var strip func(v any)
		strip = func(v any) {
			if m, ok := v.(map[string]any); ok {
				delete(m, "num_threads")
				for _, w := range m {
					strip(w)
				}
			}
		}
		strip(v)
		out, _ := json.Marshal(v)
		return string(out)
	}
	return plain(want) == plain(got)
}

// table gives the rows of a query as text.
func table(t *testing.T, dir, query string) (out []string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, fileSQLite))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	cols, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, at := make([]any, len(cols)), make([]any, len(cols))
		for i := range values {
			at[i] = &values[i]
		}
		if err := rows.Scan(at...); err != nil {
			t.Fatal(err)
		}
		if len(values) == 1 {
			out = append(out, fmt.Sprint(values[0]))
			continue
		}
		out = append(out, fmt.Sprintf("%q", fmt.Sprint(values...)))
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return out
}

// chromadb opens what was written and finds it, also when a collection is beyond
// the 1000 records from which Chroma writes its index to disk and empties the
// queue; it can go on writing to it.
func TestChromadb(t *testing.T) {
	python := servers.ChromaPython(t)
	content := large(1500, 24, 4)
	content = append(content, pipetest.Expected[*pipeline.Vector]{Unit: unit("empty", 0)})
	dir := filepath.Join(t.TempDir(), "vector_db")
	fill(t, Config{Dir: dir}, content)
	for range 2 { // it is opened again once it has an index
		all := dump(t, python, dir)
		if len(all) != len(content) {
			t.Fatalf("%d collections, not %d", len(all), len(content))
		}
		for _, d := range all {
			i := slices.IndexFunc(content, func(e pipetest.Expected[*pipeline.Vector]) bool { return e.Unit.Name == d.Name })
			holds(t, d, content[i].Records)
			if string(d.Metadata) != `{"hnsw:space": "cosine"}` || !strings.Contains(string(d.Config), `"space": "cosine"`) {
				t.Errorf("%s: metadata %s, configuration %s", d.Name, d.Metadata, d.Config)
			}
		}
	}
	if n := table(t, dir, "SELECT count(*) FROM embeddings_queue"); n[0] != "161" { // of four collections, and the last one of the large one
		t.Errorf("%s rows are left in the queue: the indexes were not written to disk", n[0])
	}
	chromadb(t, python, nil, dir, "--add", "file-0c")
	d := dump(t, python, dir)
	at := slices.IndexFunc(d, func(d dumped) bool { return d.Name == "file-0c" })
	if d[at].Count != 1540 || !slices.Contains(d[at].IDs, "added") || slices.Contains(d[at].IDs, content[0].Records[1].ID) || *d[at].Documents[0] != "changed by chromadb" {
		t.Errorf("after chromadb has written: %d records", d[at].Count)
	}
}

// holds compares what chromadb gives with the records, in their order; a search
// for a record's own vector must find it at no distance.
func holds(t *testing.T, d dumped, want []*pipeline.Vector) {
	t.Helper()
	if d.Count != len(want) || len(d.IDs) != len(want) || len(d.Vectors) != len(want) || d.Lost != "" {
		t.Errorf("%s: %d records counted, %d got, %d vectors, not %d %s", d.Name, d.Count, len(d.IDs), len(d.Vectors), len(want), d.Lost)
		return
	}
	for i, w := range want {
		got := &pipeline.Vector{ID: d.IDs[i], Text: d.Documents[i], Metadata: d.Metadatas[i], Embedding: floats(t, d.Vectors[i])}
		if string(got.Metadata) == "null" {
			got.Metadata = nil
		}
		fields, err := compareRecord(w, got)
		if err != nil || len(fields) > 0 {
			t.Errorf("%s, record %d: %v %+v", d.Name, i, err, fields)
			return
		}
	}
	sorted := slices.Sorted(slices.Values(d.IDs))
	for i, q := range d.Queries {
		at := slices.Index(q.IDs, sorted[i])
		if len(q.IDs) != min(10, len(want)) || at < 0 || q.Distances[at] > 1e-6 {
			t.Errorf("%s: a search for %s gives %v at %v", d.Name, sorted[i], q.IDs, q.Distances)
		}
	}
}

func compareRecord(want, got *pipeline.Vector) ([]pipeline.Field, error) {
	return chromahttp.Compare(env.ChromaConfig{})(context.Background(), pipeline.Unit{}, want, got)
}

func floats(t *testing.T, code string) []float32 {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(code)
	if err != nil {
		t.Fatal(err)
	}
	var out []float32
	for ; len(raw) >= 4; raw = raw[4:] {
		out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
	}
	return out
}
