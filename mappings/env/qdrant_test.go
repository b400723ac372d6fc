package env

import (
	"fmt"
	"strings"
	"testing"
)

func TestQdrantDefaults(t *testing.T) {
	d, err := load(t, "VECTOR_DB=qdrant\nDATABASE_URL=sqlite:////x.db\nQDRANT_URI=http://qdrant:6333\n")
	if err != nil {
		t.Fatal(err)
	}
	want := QdrantConfig{URI: "http://qdrant:6333", Host: "qdrant", GRPCPort: 6334, Timeout: 5, HNSWM: 16, Prefix: "open-webui", Multitenancy: true}
	if d.Vector.Qdrant != want {
		t.Errorf("%+v", d.Vector.Qdrant)
	}
}

func TestQdrantAddress(t *testing.T) {
	for _, c := range []struct {
		in, uri, host string
		tls           bool
		warned        string
	}{
		{"QDRANT_URI=https://q.example.org", "https://q.example.org", "q.example.org", true, ""},
		{"QDRANT_URI=https://q:6333\nQDRANT_API_KEY=k", "https://q:6333", "q", true, ""},
		{"QDRANT_URI=http://q:6333\nQDRANT_API_KEY=k", "http://q:6333", "q", false, "QDRANT_API_KEY"},
		{"QDRANT_URI=localhost:6333", "localhost:6333", "localhost", false, ""},
		{"QDRANT_URI=q:6333\nQDRANT_API_KEY=k", "q:6333", "q", true, ""},
		{"QDRANT_URI=http://[::1]:6333", "http://[::1]:6333", "::1", false, ""},
		{"QDRANT_URI=http://q:6333\nQDRANT_API_KEY=k\nQDRANT_PREFER_GRPC=true", "http://q:6333", "q", true, "QDRANT_URI"},
		{"QDRANT_URI=https://q:6333\nQDRANT_PREFER_GRPC=true", "https://q:6333", "q", false, "QDRANT_URI"},
		{"QDRANT_URI=http://me:s3cretpw@q:6333", "http://q:6333", "q", false, "QDRANT_URI"},
		{"QDRANT_URI=https://q/qdrant", "https://q/qdrant", "q", true, "QDRANT_URI"},
	} {
		d, err := load(t, "VECTOR_DB=qdrant\nDATABASE_URL=sqlite:////x.db\n"+c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		q := d.Vector.Qdrant
		if q.URI != c.uri || q.Host != c.host || q.TLS != c.tls {
			t.Errorf("%s: %+v", c.in, q)
		}
		found := ""
		for _, w := range d.Warnings {
			if strings.HasPrefix(w.Variable, "QDRANT_") {
				found = w.Variable
			}
		}
		if found != c.warned {
			t.Errorf("%s: a warning about %q, want %q", c.in, found, c.warned)
		}
		if s := fmt.Sprintf("%+v %v", d, d.Redact(c.in)); strings.Contains(s, "s3cretpw") {
			t.Errorf("the password is shown: %s", s)
		}
	}
}

func TestQdrantMistakesAllAtOnce(t *testing.T) {
	_, err := load(t, "VECTOR_DB=qdrant\nDATABASE_URL=sqlite:////x.db\nQDRANT_GRPC_PORT=x\nQDRANT_TIMEOUT=\nQDRANT_HNSW_M=-1\nQDRANT_COLLECTION_PREFIX=a/b\n")
	seen := map[string]bool{}
	for _, e := range ConfigErrors(err) {
		seen[e.Variable] = true
		if e.Fix == "" {
			t.Errorf("%s has no fix", e.Variable)
		}
	}
	for _, name := range []string{"QDRANT_URI", "QDRANT_GRPC_PORT", "QDRANT_TIMEOUT", "QDRANT_HNSW_M", "QDRANT_COLLECTION_PREFIX"} {
		if !seen[name] {
			t.Errorf("%s is not named", name)
		}
	}
	for _, uri := range []string{":memory:", "ftp://q", "http://", "q:6333\nQDRANT_PREFER_GRPC=true", "http://q:port"} {
		if _, err := load(t, "VECTOR_DB=qdrant\nDATABASE_URL=sqlite:////x.db\nQDRANT_URI="+uri); err == nil {
			t.Errorf("%s is taken", uri)
		}
	}
}

func TestQdrantKeyIsHidden(t *testing.T) {
	d := Deployment{Vector: Vector{Qdrant: QdrantConfig{APIKey: "the-api-key"}}}
	if got := d.Redact("sent the-api-key"); got != "sent ***" {
		t.Error(got)
	}
}
