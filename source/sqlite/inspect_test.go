package sqlite

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/inspect"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

func TestInspect(t *testing.T) {
	ctx := t.Context()
	path := makeDB(t,
		`CREATE TABLE chat (id VARCHAR NOT NULL PRIMARY KEY, updated_at BIGINT)`, `INSERT INTO chat VALUES ('c1', 1700000000), ('c2', 'yesterday'), ('c3', 1700000500)`,
		`CREATE TABLE message (id TEXT PRIMARY KEY, created_at BIGINT)`, `INSERT INTO message VALUES ('m1', 1700000000123456789)`,
		`CREATE TABLE chat_message (id TEXT PRIMARY KEY, chat_id TEXT REFERENCES chat (id), created_at BIGINT, done BOOLEAN)`,
		`INSERT INTO chat_message VALUES ('1', 'c1', 1700000001, 1), ('2', 'gone', NULL, 0), ('3', 'gone', 1, NULL), ('4', NULL, 1, 0)`,
		`CREATE TABLE odd_child (id TEXT, p TEXT REFERENCES nowhere (x))`,
		`CREATE TABLE file (id VARCHAR NOT NULL PRIMARY KEY, path TEXT, filename TEXT, meta JSON, data JSON)`,
		`INSERT INTO file VALUES ('f1', '/app/f1_a.txt', 'a.txt', '{"size": 12}', '{"status": "pending"}'), ('f2', NULL, 'b', 'broken', '{"status":"processing"}'),
			('f3', '', NULL, NULL, '{"status":"completed","content":"pending"}'), ('f4', 'x', 'y', '{"size":"big"}', 'pending but no JSON'), ('f5', 'x', 'y', '{}', NULL)`,
		`CREATE TABLE knowledge (id TEXT PRIMARY KEY, meta JSON)`, `INSERT INTO knowledge VALUES ('k1', '{"source":"external"}'), ('k2', NULL), ('k3', 'nope'), ('k4', '{}')`,
		`CREATE TABLE oauth_session (id TEXT PRIMARY KEY, token TEXT)`, `INSERT INTO oauth_session VALUES ('o1', 'gAAAA'), ('o2', '')`,
		`CREATE TABLE config (key TEXT PRIMARY KEY, value JSON)`,
		`INSERT INTO config VALUES ('tool_server.connections', '[{"info":{"oauth_client_info":"gAAAA"}},{"info":{}},{}]'), ('a', 60)`,
		`CREATE TABLE auth (id VARCHAR PRIMARY KEY, mfa JSON)`, `INSERT INTO auth VALUES ('a', 'null'), ('b', NULL), ('c', '{"x":"y"}')`)
	s := open(t, Config{Path: path})
	in, err := s.Inspect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	at := func(sec, nsec int64) time.Time { return time.Unix(sec, nsec) }
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"head", in.Head, "0bd252b206fb"},
		{"newest", in.Newest, map[string]time.Time{"chat": at(1700000500, 0), "message": at(1700000000, 123456789), "chat_message": at(1700000001, 0), "user": at(1700000100, 0)}},
		{"unprocessed", in.Unprocessed, map[string]int64{"pending": 1, "processing": 1}},
		{"unfinished", in.Unfinished, int64(2)},
		{"orphans", in.Orphans, []inspect.Orphans{{Table: "chat_message", Parent: "chat", Rows: 2}}},
		{"secrets", in.Secrets, map[string]int64{"oauth_session": 1, "tool_server": 1, "mfa": 1}},
		{"external", in.External, []string{"k1"}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	if in.Size == 0 || time.Since(in.Wrote) > time.Minute {
		t.Errorf("%d bytes, written %v", in.Size, in.Wrote)
	}
	var files []inspect.FileRow
	for r, err := range s.FileRows(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, r)
	}
	if want := []inspect.FileRow{{ID: "f1", Path: "/app/f1_a.txt", Filename: "a.txt", HasPath: true, Size: 12}, {ID: "f2", Filename: "b", Size: -1}, {ID: "f3", Size: -1},
		{ID: "f4", Path: "x", Filename: "y", HasPath: true, Size: -1}, {ID: "f5", Path: "x", Filename: "y", HasPath: true, Size: -1}}; !reflect.DeepEqual(files, want) {
		t.Errorf("files %+v", files)
	}
	var ids []string
	for id, err := range s.IDs(ctx, "knowledge") {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if strings.Join(ids, " ") != "k1 k2 k3 k4" {
		t.Errorf("ids %q", ids)
	}
}

func TestInspectRealData(t *testing.T) {
	s := open(t, Config{Path: filepath.Join(servers.DataDir(t), "webui.db")})
	in, err := s.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if in.Size != 7151616 || in.WAL != 20632 || len(in.Newest) != 7 {
		t.Errorf("%+v", in)
	}
	if len(in.Orphans)+len(in.Notes)+len(in.External) != 0 {
		t.Errorf("%+v", in)
	}
}

// BenchmarkRead scans the database that OUTGROW_BENCH_DB names, or the small
// one.
func BenchmarkRead(b *testing.B) {
	path := os.Getenv("OUTGROW_BENCH_DB")
	if path == "" {
		path = filepath.Join(servers.DataDir(b), "webui.db")
	}
	ctx := b.Context()
	s, err := Open(ctx, Config{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	units, err := s.Units(ctx)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var bytes int64
		for _, u := range units {
			for batch, err := range s.Read(ctx, pipeline.Part{Unit: u}, "") {
				if err != nil {
					b.Fatal(err)
				}
				bytes += batch.Bytes
			}
		}
		b.SetBytes(bytes)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys>>20), "MiB-from-OS")
}
