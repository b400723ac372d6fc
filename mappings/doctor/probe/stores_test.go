package probe_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "github.com/qdrant/go-client/qdrant"

	"outgrow/mappings/env"
	"outgrow/mappings/fstype"
	"outgrow/mappings/qdrant"
	"outgrow/testdata/servers"
)

func TestQdrant(t *testing.T) {
	t.Parallel()
	s := servers.StartQdrant(t)
	look := func(what, prefix, multitenancy string, want ...string) {
		t.Helper()
		f := asked(t, set{"VECTOR_DB": "qdrant", "QDRANT_URI": s.URI, "QDRANT_GRPC_PORT": fmt.Sprint(s.GRPCPort), "QDRANT_TIMEOUT": "60", "QDRANT_COLLECTION_PREFIX": prefix, "ENABLE_QDRANT_MULTITENANCY_MODE": multitenancy})
		expect(t, what, found(f, "D59", "D26", "D27", "D30"), want...)
		if kind := f.Answers.Store.Kind; !strings.HasPrefix(kind, "Qdrant 1.") {
			t.Errorf("it is %q", kind)
		}
	}
	look("empty", "ours", "true")

	cfg := env.QdrantConfig{Host: "127.0.0.1", GRPCPort: s.GRPCPort, Prefix: "ours", Multitenancy: true, HNSWM: 16}
	c, err := qdrant.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Collections.Create(t.Context(), qdrant.Create(cfg, "ours_files", 4)); err != nil {
		t.Fatal(err)
	}
	look("indexes are missing", "ours", "true", "D30: ours_files")
	for _, ix := range qdrant.Indexes(cfg, "ours_files") {
		if _, err := c.Points.CreateFieldIndex(t.Context(), ix); err != nil {
			t.Fatal(err)
		}
	}
	look("well", "ours", "true")
	look("the other layout", "ours", "false", "D26: false, while all 1")
	look("another prefix", "theirs", "true", "D27: ours")
	if _, err := c.Collections.Create(t.Context(), qdrant.Create(env.QdrantConfig{HNSWM: 16}, "ours_knowledge", 4)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Collections.Update(t.Context(), &pb.UpdateCollection{CollectionName: "ours_files", StrictModeConfig: &pb.StrictModeConfig{Enabled: new(true)}}); err != nil {
		t.Fatal(err)
	}
	look("strict, with all indexes", "ours", "true")
	s.Stop()
	f := asked(t, set{"VECTOR_DB": "qdrant", "QDRANT_URI": s.URI, "QDRANT_GRPC_PORT": fmt.Sprint(s.GRPCPort)})
	expect(t, "stopped", found(f, "D59", "D26"), "D59", "D26?")
	if down := f.Answers.Unreachable(); len(down) != 1 || down[0] != "QDRANT_URI" {
		t.Errorf("unreachable: %v", down)
	}
}

func TestCollector(t *testing.T) {
	t.Parallel()
	s := servers.StartCollector(t)
	grpc, http := fmt.Sprintf("http://127.0.0.1:%d", s.GRPC), fmt.Sprintf("http://127.0.0.1:%d", s.HTTP)
	for what, c := range map[string]struct {
		vars set
		want []string
	}{
		"grpc":              {set{"ENABLE_OTEL_TRACES": "true", "ENABLE_OTEL_METRICS": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": grpc, "OTEL_EXPORTER_OTLP_INSECURE": "true"}, nil},
		"grpc, with a user": {set{"ENABLE_OTEL_TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": grpc, "OTEL_EXPORTER_OTLP_INSECURE": "true", "OTEL_BASIC_AUTH_USERNAME": "u", "OTEL_BASIC_AUTH_PASSWORD": "s3cretpw"}, nil},
		"without INSECURE":  {set{"ENABLE_OTEL_METRICS": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": grpc}, []string{"D57: (grpc)"}},
		"http":              {set{"ENABLE_OTEL_TRACES": "true", "OTEL_OTLP_SPAN_EXPORTER": "http", "OTEL_EXPORTER_OTLP_ENDPOINT": http + "/v1/traces"}, nil},
		"http, no path":     {set{"ENABLE_OTEL_TRACES": "true", "OTEL_OTLP_SPAN_EXPORTER": "http", "OTEL_EXPORTER_OTLP_ENDPOINT": http}, []string{"D57: it answers 404"}},
		"http, both": {set{"ENABLE_OTEL_TRACES": "true", "ENABLE_OTEL_METRICS": "true", "OTEL_OTLP_SPAN_EXPORTER": "http", "OTEL_EXPORTER_OTLP_ENDPOINT": http + "/v1/traces"},
			[]string{"D57: the path is that of traces"}},
		"no pipeline of logs": {set{"ENABLE_OTEL_LOGS": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": grpc, "OTEL_EXPORTER_OTLP_INSECURE": "true"}, []string{"D57: Unimplemented"}},
		"grpc to http":        {set{"ENABLE_OTEL_METRICS": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": http, "OTEL_EXPORTER_OTLP_INSECURE": "true"}, []string{"D57: (grpc)"}},
		"http to grpc":        {set{"ENABLE_OTEL_TRACES": "true", "OTEL_OTLP_SPAN_EXPORTER": "http", "OTEL_EXPORTER_OTLP_ENDPOINT": grpc + "/v1/traces"}, []string{"D57: (http)"}},
		"nobody there":        {set{"ENABLE_OTEL_TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_INSECURE": "true"}, []string{"D57: refused"}},
		"off":                 {set{"ENABLE_OTEL": "false", "ENABLE_OTEL_TRACES": "true"}, nil},
	} {
		vars := set{"ENABLE_OTEL": "true"}
		for k, v := range c.vars {
			vars[k] = v
		}
		got := found(asked(t, vars), "D57")
		if what == "without INSECURE" { // metrics: the check of the variables looks at traces
			got = got[len(got)-min(len(got), 1):]
		}
		expect(t, what, got, c.want...)
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	kind := func(magic fstype.Magic) fstype.Detect {
		return func(string) (fstype.Type, error) { return fstype.Type{Magic: magic}, nil }
	}
	look := func(what string, magic fstype.Magic, mount string, vars set, want ...string) {
		t.Helper()
		expect(t, what, found(askedIn(t, vars, mount, kind(magic), 0), "D02", "D33", "D48"), want...)
		if left, _ := filepath.Glob(filepath.Join(mount, ".outgrow*")); len(left) > 0 {
			t.Errorf("%s: left %v", what, left)
		}
	}
	dir := t.TempDir()
	postgres := set{"DATABASE_URL": "postgresql://u:s3cretpw@127.0.0.1:1/x"}
	look("a share", fstype.NFS, dir, postgres)
	look("a local disk", fstype.Ext4, dir, postgres, "D33: ext")
	look("memory", fstype.Tmpfs, dir, postgres, "D33: tmpfs")
	look("not here", fstype.NFS, filepath.Join(dir, "gone"), postgres, "D33?", "D02?", "D48?")
	sqlite := set{"VECTOR_DB": "qdrant", "QDRANT_URI": "http://127.0.0.1:1"}
	look("SQLite on a share", fstype.NFS, dir, sqlite, "D02: on NFS")
	look("SQLite", fstype.Ext4, dir, sqlite, "D33")
	if err := os.WriteFile(filepath.Join(dir, "webui.db-wal"), []byte("frames"), 0o600); err != nil {
		t.Fatal(err)
	}
	look("a stray -wal", fstype.Ext4, dir, sqlite, "D33", "D48")
	if err := os.WriteFile(filepath.Join(dir, "webui.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	look("both", fstype.Ext4, dir, sqlite, "D33")
}

// A server that takes the connection and says nothing costs its limit, not
// more, and is named.
func TestSilence(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	began := time.Now()
	f := askedIn(t, set{"DATABASE_URL": "postgresql://u:s3cretpw@127.0.0.1:" + port + "/x", "REDIS_URL": "redis://127.0.0.1:" + port, "VECTOR_DB": "qdrant",
		"QDRANT_URI": "http://127.0.0.1", "QDRANT_GRPC_PORT": port, "ENABLE_OTEL": "true", "ENABLE_OTEL_TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:" + port,
		"OTEL_EXPORTER_OTLP_INSECURE": "true"}, t.TempDir(), nil, 300*time.Millisecond)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
	for _, s := range []string{f.Answers.Database.Down, f.Answers.Redis[0].Down, f.Answers.Store.Down, f.Answers.Telemetry[0].Problem} {
		if !strings.Contains(s, "no answer within 300ms") {
			t.Errorf("it says %q", s)
		}
	}
}
