package chromahttp

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// What chromadb 1.5.9's resolve_url gives.
func TestAPIURL(t *testing.T) {
	for host, want := range map[string][2]string{
		"localhost":           {"http://localhost:8000/api/v2", "https://localhost:8000/api/v2"},
		"http://h:9000/chrom": {"http://h:9000/chrom/api/v2", "https://h:9000/chrom/api/v2"},
		"https://h":           {"https://h/api/v2", "https://h/api/v2"},
		"[::1]":               {"http://[::1]:8000/api/v2", "https://[::1]:8000/api/v2"},
		"http://h/":           {"http://h/api/v2", "https://h/api/v2"},
	} {
		for i, ssl := range []bool{false, true} {
			if got := APIURL(env.ChromaConfig{Host: host, Port: 8000, SSL: ssl}); got != want[i] {
				t.Errorf("%s, SSL %v: %s, want %s", host, ssl, got, want[i])
			}
		}
	}
	if got := Describe(env.ChromaConfig{Host: "https://u:secret@h:1/x", Tenant: "t", Database: "d"}); got != "Chroma at h:1, t/d" {
		t.Errorf("described as %q", got)
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{"abc": true, "a.b_c-D9": true, strings.Repeat("a", 512): true, "ab": false, strings.Repeat("a", 513): false, "x y z": false, "-abc": false,
		"abc-": false, "a..b": false, "1.2.3.4": false, "ключ": false, "abc_": false, "": false} {
		if got := NameProblem(name); (got == "") != good {
			t.Errorf("%.20q: %q", name, got)
		}
	}
	const id = "8b54b40e-9d9b-4f5b-8a6e-3c0f0d3c1f2a"
	for name, own := range map[string]bool{"file-" + id: true, id: true, "user-memory-" + id: true, "knowledge-bases": true, ("web-search-" + id + "-" + strings.Repeat("a", 64))[:63]: true,
		strings.Repeat("a", 63): true, strings.Repeat("0", 64): true, "docs": false, strings.Repeat("a", 62): false, "file-x": false, "my-" + id: false} {
		if IsOpenWebUI(name) != own {
			t.Errorf("%s: %v", name, !own)
		}
	}
}

func TestTransform(t *testing.T) {
	vec := []float32{1, 2}
	f := Transform(env.ChromaConfig{})
	u := pipeline.Unit{Lane: pipeline.Vectors, Name: "abc"}
	text := "t"
	for in, want := range map[string]string{
		`{"a":3.0,"b":-9223372036854775808,"c":9223372036854775807,"a.b":1e300,"n\u0000":"\u0000"}`: "",
		`{}`:                          "",
		``:                            "",
		`{"a":[1,"x"],"b":null}`:      `{"a":"[1, 'x']"}`,
		`{"a":"\ud800x"}`:             `{"a":"x"}`,
		"{\"a\":\"\xff\"}":            "{\"a\":\"\uFFFD\"}",
		`{"a":9223372036854775808}`:   "refused",
		`{"a":-9223372036854775809}`:  "refused",
		`{"a":1e400}`:                 "refused",
		`{"chroma:x":1}`:              "refused",
		`{"$a":1}`:                    "refused",
		`{"#a":1}`:                    "refused",
		`{"":1}`:                      "refused",
		`{"a":NaN}`:                   "refused",
		`"x"`:                         "refused",
		`{"a":1,"a\ud800":1}`:         "refused",
		`{"ok":1,"a":{"b":[{"c":1}]}`: "refused",
	} {
		v := &pipeline.Vector{ID: "i", Text: &text, Metadata: []byte(in), Embedding: vec}
		if in == "" {
			v.Metadata = nil
		}
		out, changes, refusals := f(u, v)
		switch {
		case want == "refused":
			if out != nil || len(refusals) != 1 || refusals[0].Reason != pipeline.Invalid || refusals[0].Column != "vmetadata" {
				t.Errorf("%s: %+v, %+v", in, out, refusals)
			}
		case want == "":
			if out != v || changes != nil || refusals != nil {
				t.Errorf("%s: changed: %+v, %+v", in, changes, refusals)
			}
		case out == nil || string(out.Metadata) != want || len(changes) != 1 || changes[0].Before != pipeline.Digest(in) || changes[0].After != pipeline.Digest(want):
			t.Errorf("%s: %+v, %+v, %+v", in, out, changes, refusals)
		}
	}
	for in, want := range map[string][2]string{ // embedded, on a server
		`{"a":["x","y"],"b":[1,2],"c":[1.0,2e3],"d":[true]}`: {"", `{"a":"['x', 'y']","b":"[1, 2]","c":"[1.0, 2000.0]","d":"[True]"}`},
		`{"n":null,"a":["x"],"b":[1,2.0],"c":[]}`:            {`{"a":["x"],"b":"[1, 2.0]","c":"[]"}`, `{"a":"['x']","b":"[1, 2.0]","c":"[]"}`},
	} {
		for i, cfg := range []env.ChromaConfig{{}, {Host: "h"}} {
			out, changes, refusals := Transform(cfg)(u, &pipeline.Vector{ID: "i", Text: &text, Metadata: []byte(in), Embedding: vec})
			expect := want[i]
			if expect == "" {
				expect = in
			}
			if out == nil || string(out.Metadata) != expect || (len(changes) == 0) != (expect == in) || refusals != nil {
				t.Errorf("%s on %q: %+v, %+v, %+v", in, cfg.Host, out, changes, refusals)
			}
		}
	}
	if out, changes, _ := f(u, &pipeline.Vector{ID: "i", Embedding: vec}); out == nil || *out.Text != "" || len(changes) != 1 || changes[0].Reason != NoText {
		t.Errorf("a null document: %+v, %+v", out, changes)
	}
	for reason, v := range map[pipeline.Reason][]*pipeline.Vector{
		pipeline.NeedsEmbedding: {{ID: "i", Text: &text}},
		pipeline.Invalid: {{ID: "", Text: &text, Embedding: vec}, {ID: "\xff", Text: &text, Embedding: vec}, {ID: "i", Text: &text, Embedding: []float32{1, float32(math.NaN())}},
			{ID: "i", Text: &text, Embedding: []float32{3e38}}, {ID: "i", Text: &text, Embedding: []float32{1e-30, 0}}},
	} {
		for _, x := range v {
			if out, _, refusals := f(u, x); out != nil || len(refusals) != 1 || refusals[0].Reason != reason {
				t.Errorf("%+v: %+v, %+v", x, out, refusals)
			}
		}
	}
	if out, _, refusals := f(pipeline.Unit{Name: "a b"}, &pipeline.Vector{ID: "i", Text: &text, Embedding: vec}); out != nil || len(refusals) != 1 || refusals[0].Reason != CollectionName {
		t.Errorf("in a collection without a name: %+v, %+v", out, refusals)
	}
	if out, _, _ := f(u, &pipeline.Vector{ID: "i", Text: &text, Embedding: []float32{0, 0}}); out == nil {
		t.Error("the zero vector is refused")
	}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		want, got string
		same      bool
	}{
		{`{}`, ``, true}, {`{"a":1}`, ``, false}, {`{"a":1,"b":"x"}`, `{"b":"\u0078","a":1}`, true}, {`{"a":3.0}`, `{"a":3}`, false}, {`{"a":1E2}`, `{"a":100.0}`, true},
		{`{"a":4.2499999999999996e-05}`, `{"a":4.25e-05}`, true}, {`{"a":0.1}`, `{"a":0.10000000000000003}`, false}, {`{"a":-0.0}`, `{"a":0.0}`, true},
		{`{"a":9007199254740993}`, `{"a":9007199254740992}`, false}, {`{"a":true}`, `{"a":1}`, false}, {`{"a":"1"}`, `{"a":1}`, false}, {`{"a":[1,2]}`, `{"a":[1,2]}`, true},
		{`{"a":[4.2499999999999996e-05]}`, `{"a":[4.25e-05]}`, true}, {`{"a":[1,2]}`, `{"a":[1,2.0]}`, false}, {`{"a":["x"]}`, `{"a":["x","y"]}`, false},
	} {
		var got []byte
		if c.got != "" {
			got = []byte(c.got)
		}
		if SameMetadata([]byte(c.want), got) != c.same {
			t.Errorf("%s and %s: %v", c.want, c.got, !c.same)
		}
	}
	for _, c := range []struct {
		want, got []float32
		same      bool
	}{
		{[]float32{1, 2}, []float32{1, 2}, true},
		{[]float32{1, 2}, []float32{1 + 0x1p-23, 2}, true},
		{[]float32{1, 2}, []float32{1 + 0x1p-21, 2}, false},
		{[]float32{1e10, 1e-36}, []float32{1e10, 1.0001e-36}, true}, // no normal float32 beside that length
		{[]float32{1e10, 1e-30}, []float32{1e10, 1.0001e-30}, false},
		{[]float32{1, 2, 0}, []float32{1, 2}, true},
		{[]float32{1, 2}, []float32{1, float32(math.NaN())}, false},
		{[]float32{1, 2}, []float32{-1, 2}, false},
		{[]float32{1}, nil, false},
	} {
		fields, err := Compare(env.ChromaConfig{})(context.Background(), pipeline.Unit{}, &pipeline.Vector{Embedding: c.want}, &pipeline.Vector{Embedding: c.got})
		if err != nil || (len(fields) == 0) != c.same {
			t.Errorf("%v and %v: %+v, %v", c.want, c.got, fields, err)
		}
	}
}

// A server that answers as told: what the client makes of headers and statuses.
func TestHeadersAndErrors(t *testing.T) {
	var got http.Header
	status, after := 200, ""
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"max_batch_size":7,"supports_base64_encoding":true,"id":"d","error":"E","message":"M"}`))
	}))
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := env.ChromaConfig{Host: s.URL, Tenant: "t", Database: "d", CAFile: ca, Headers: map[string]env.Secret{"X-One": " 1"}}
	dial := func(cfg env.ChromaConfig) (*Client, error) { return Dial(t.Context(), cfg, 1) }
	for want, set := range map[string]env.ChromaConfig{
		"Bearer tok": {AuthProvider: env.ChromaTokenAuth, AuthCredentials: "tok", TokenHeader: "Authorization"},
		"Basic " + base64.StdEncoding.EncodeToString([]byte("u:p")): {AuthProvider: env.ChromaBasicAuth, AuthCredentials: "u:p"},
		"": {},
	} {
		set.Host, set.Tenant, set.Database, set.CAFile, set.Headers = cfg.Host, "t", "d", ca, cfg.Headers
		c, err := dial(set)
		if err != nil || got.Get("Authorization") != want || got.Get("X-One") != "1" || c.MaxBatch != 7 || !c.Base64 || c.DatabaseID != "d" {
			t.Errorf("%v, %q, %+v", err, got, c)
		}
	}
	cfg.AuthProvider, cfg.AuthCredentials, cfg.TokenHeader = env.ChromaTokenAuth, "tok", "X-Chroma-Token"
	if _, err := dial(cfg); err != nil || got.Get("X-Chroma-Token") != "tok" || got.Get("Authorization") != "" {
		t.Errorf("%v, %q", err, got)
	}
	for _, c := range []struct {
		status int
		after  string
		exit   int
		retry  bool
		wait   time.Duration
	}{
		{401, "", pipeline.ExitEnvironment, false, 0}, {403, "", pipeline.ExitEnvironment, false, 0}, {404, "", pipeline.ExitEnvironment, false, 0},
		{429, "7", pipeline.ExitEnvironment, true, 7 * time.Second}, {503, "", pipeline.ExitEnvironment, true, 0}, {500, "", pipeline.ExitEnvironment, true, 0},
		{507, "", pipeline.ExitEnvironment, false, 0}, {301, "", pipeline.ExitEnvironment, false, 0}, {400, "", pipeline.ExitFailed, false, 0},
	} {
		status, after = c.status, c.after
		_, err := dial(cfg)
		if err == nil || pipeline.ExitCode(err) != c.exit || pipeline.IsRetryable(err) != c.retry || strings.Contains(err.Error(), "tok") {
			t.Errorf("%d: %v, exit %d, retry %v", c.status, err, pipeline.ExitCode(err), pipeline.IsRetryable(err))
		}
		if d := (pipeline.Delayed)(nil); c.wait > 0 && (!errors.As(err, &d) || d.RetryAfter() != c.wait) {
			t.Errorf("%d: waits %v", c.status, d)
		}
	}
	cfg.CAFile = ""
	if _, err := dial(cfg); pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.IsRetryable(err) {
		t.Errorf("an untrusted certificate: %v", err)
	}
	cfg.Host, cfg.Port = "127.0.0.1", 1
	if _, err := dial(cfg); pipeline.ExitCode(err) != pipeline.ExitEnvironment || !pipeline.IsRetryable(err) {
		t.Errorf("nobody listens: %v", err)
	}
}
