package pinecone

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	sdk "github.com/pinecone-io/go-pinecone/v5/pinecone"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

var (
	cfg  = env.PineconeConfig{Index: "ix", Cloud: "aws", Environment: "us-east-1", Metric: "cosine", Dimension: 3}
	kb   = pipeline.Unit{Lane: pipeline.Vectors, Name: "file-1"}
	unit = []float32{1, 2, 3}
)

func record(text, metadata string) *pipeline.Vector {
	v := &pipeline.Vector{ID: "id-1", Embedding: unit, Metadata: json.RawMessage(metadata)}
	if text != "-" {
		v.Text = &text
	}
	return v
}

// through is the whole way: what the reader makes of what the writer sends.
func through(t *testing.T, v *pipeline.Vector) (*pipeline.Vector, []pipeline.Change) {
	t.Helper()
	want, changes, refused := Transform(cfg)(kb, v)
	if len(refused) > 0 {
		t.Fatalf("refused: %+v", refused)
	}
	enc, size, err := Encode(want, kb.Name)
	if err != nil || size < 12+len(v.ID) {
		t.Fatalf("%d bytes, %v", size, err)
	}
	if name := enc.Metadata.Fields[CollectionKey].GetStringValue(); name != "open-webui_file-1" {
		t.Errorf("collection_name is %q", name)
	}
	got, collection := Decode(enc)
	if name, ok := Logical(collection); !ok || name != kb.Name {
		t.Errorf("collection %q", collection)
	}
	if fields, err := Compare(cfg)(context.Background(), kb, want, got); err != nil || len(fields) > 0 {
		t.Errorf("%+v, %v", fields, err)
	}
	return got, changes
}

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{`{}`, `{}`}, {``, `{}`}, {`null`, `{}`},
		{`{"b":1,"a":"x"}`, `{"a":"x","b":1.0}`},
		{`{"n":3.0,"i":-7,"t":1e-07,"h":1e300,"big":1099511627776,"f":true,"g":false}`, `{"big":1099511627776.0,"f":true,"g":false,"h":1e+300,"i":-7.0,"n":3.0,"t":1e-07}`},
		{`{"p":9007199254740992,"m":4.2499999999999996e-05,"z":0}`, `{"m":4.2499999999999996e-05,"p":9007199254740992.0,"z":0.0}`},
		{`{"u":"\u05e9 é 😀 \ud83d\ude00","q":"a\"b\\c\n\u0001"}`, `{"q":"a\"b\\c\n\u0001","u":"ש é 😀 😀"}`},
		{`{"l":["a","b"],"e":[],"":"x","ключ":"y","a":"[1, {'k': None}]"}`, `{"":"x","a":"[1, {'k': None}]","e":[],"l":["a","b"],"ключ":"y"}`},
		{`{"a":1,"a":2}`, `{"a":2.0}`},
	} {
		got, changes := through(t, record("text", c.in))
		if string(got.Metadata) != c.out || *got.Text != "text" || len(changes) > 0 {
			t.Errorf("%s\n gave %s, %+v\n want %s", c.in, got.Metadata, changes, c.out)
		}
	}
	if got, _ := through(t, record("-", `{}`)); got.Text != nil {
		t.Errorf("a text came from nothing: %q", *got.Text)
	}
	if got, _ := through(t, record("", `{}`)); got.Text == nil || *got.Text != "" {
		t.Error("an empty text got lost")
	}
}

// What is changed stands in the ledger, with what it becomes.
func TestLedger(t *testing.T) {
	for _, c := range []struct {
		text, in, out string
		reasons       []pipeline.Reason
		note          string
	}{
		{"t", `{"a":null,"b":1}`, `{"b":1.0}`, []pipeline.Reason{Null}, `"a"`},
		{"t", `{"text":"own","collection_name":"mine","b":1}`, `{"b":1.0}`, []pipeline.Reason{Reserved}, `"text" "collection_name"`},
		{"t", `{"n":9007199254740993,"o":9007199254740994}`, `{"n":9007199254740992.0,"o":9007199254740994.0}`, []pipeline.Reason{Digits}, `"n" becomes 9007199254740992.0`},
		{"t", `{"n":18446744073709551615}`, `{"n":1.8446744073709552e+19}`, []pipeline.Reason{Digits}, "1.8446744073709552e+19"},
		{"t", `{"s":"a\u0000b\ud800c"}`, `{"s":"abc"}`, []pipeline.Reason{vectors.Nul}, `"s"`},
		{"a\x00b", `{}`, `{}`, []pipeline.Reason{vectors.Nul}, "NUL"},
		{"a\xffb", `{}`, `{}`, []pipeline.Reason{vectors.Encoding}, "UTF-8"},
		{"t", `{"a":null,"text":"x","n":9007199254740993}`, `{"n":9007199254740992.0}`, []pipeline.Reason{Null, Reserved, Digits}, `"a"`},
	} {
		got, changes := through(t, record(c.text, c.in))
		if string(got.Metadata) != c.out || len(changes) != len(c.reasons) || !strings.Contains(changes[0].Note, c.note) {
			t.Errorf("%q %s gave %q %s, %+v", c.text, c.in, *got.Text, got.Metadata, changes)
			continue
		}
		for i, l := range changes {
			if l.Reason != c.reasons[i] || l.Unit != kb.ID() || l.Key != "id-1" || l.Before == l.After {
				t.Errorf("%s: line %+v", c.in, l)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	long := strings.Repeat("é", MaxMetadata/2)
	inf := float32(math.Inf(1))
	for name, c := range map[string]struct {
		v      *pipeline.Vector
		column string
		reason pipeline.Reason
	}{
		"text of 40 KB":     {record(long, `{}`), "vmetadata", pipeline.TooLong},
		"metadata of 40 KB": {record("t", `{"a":"`+long+`"}`), "vmetadata", pipeline.TooLong},
		"object":            {record("t", `{"a":{"b":1}}`), "vmetadata", pipeline.Invalid},
		"mixed list":        {record("t", `{"a":["x",1]}`), "vmetadata", pipeline.Invalid},
		"no object":         {record("t", `[1]`), "vmetadata", pipeline.Invalid},
		"not JSON":          {record("t", `{"a":}`), "vmetadata", pipeline.Invalid},
		"beyond a double":   {record("t", `{"a":1e999}`), "vmetadata", pipeline.Invalid},
		"key with $":        {record("t", `{"$and":"x"}`), "vmetadata", pipeline.Invalid},
		"no vector":         {&pipeline.Vector{ID: "a"}, "vector", pipeline.NeedsEmbedding},
		"dimension":         {&pipeline.Vector{ID: "a", Embedding: []float32{1}}, "vector", Dimension},
		"zeros":             {&pipeline.Vector{ID: "a", Embedding: make([]float32, 3)}, "vector", pipeline.Invalid},
		"infinity":          {&pipeline.Vector{ID: "a", Embedding: []float32{1, inf, 0}}, "vector", pipeline.Invalid},
		"empty id":          {&pipeline.Vector{Embedding: unit}, "id", pipeline.Invalid},
		"long id":           {&pipeline.Vector{ID: strings.Repeat("i", 513), Embedding: unit}, "id", pipeline.TooLong},
		"id not ASCII":      {&pipeline.Vector{ID: "ж", Embedding: unit}, "id", pipeline.Invalid},
	} {
		out, _, refused := Transform(cfg)(kb, c.v)
		if out != nil || len(refused) != 1 || refused[0].Column != c.column || refused[0].Reason != c.reason || refused[0].Detail == "" {
			t.Errorf("%s: %+v", name, refused)
		}
	}
	// The largest that fits: 40,960 bytes of compact JSON with both added keys.
	room := MaxMetadata - len(`{"text":"","collection_name":"open-webui_file-1"}`)
	if _, _, refused := Transform(cfg)(kb, record(strings.Repeat("x", room), `{}`)); len(refused) > 0 {
		t.Errorf("%+v", refused)
	}
	if _, _, refused := Transform(cfg)(kb, record(strings.Repeat("x", room+3), `{}`)); len(refused) != 1 {
		t.Error("three bytes more fit")
	}
}

func TestCompareFindsDifferences(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`{"a":3}`, `{"a":3.0}`, true}, {`{"a":1e2}`, `{"a":100}`, true}, {`{"a":3}`, `{"a":"3"}`, false}, {`{"a":1}`, `{"a":true}`, false},
		{`{"a":1}`, `{}`, false}, {`{"a":1}`, `{"b":1}`, false}, {`{"a":["x"]}`, `{"a":["x","y"]}`, false}, {`{"a":0.1}`, `{"a":0.10000000000000002}`, false},
		{``, `{}`, true}, {`{"a":"\u00e9"}`, `{"a":"é"}`, true},
	} {
		if SameMetadata([]byte(c.a), []byte(c.b)) != c.same || SameMetadata([]byte(c.b), []byte(c.a)) != c.same {
			t.Errorf("%s and %s: want %v", c.a, c.b, c.same)
		}
	}
}

func TestScoreAndNames(t *testing.T) {
	dot := cfg
	dot.Metric = "dotproduct"
	if Score(cfg, -1) != 0 || Score(cfg, 1) != 1 || Score(dot, -1.5) != -1.5 {
		t.Error("scores are not Open WebUI's")
	}
	if IDSpace(cfg, "a") != IDSpace(cfg, "b") {
		t.Error("ids are global")
	}
	if s := Describe(cfg); s != "Pinecone index ix (aws us-east-1, 3 dimensions, cosine)" {
		t.Error(s)
	}
	if _, ok := Logical("other_x"); ok {
		t.Error("another application's collection is taken for Open WebUI's")
	}
}

func TestClassify(t *testing.T) {
	ctx := context.Background()
	rest := func(code int) error { return &sdk.PineconeError{Code: code, Msg: errors.New("said")} }
	for name, c := range map[string]struct {
		err   error
		retry bool
		exit  int
	}{
		"401": {rest(401), false, 3}, "403": {rest(403), false, 3}, "429": {rest(429), true, 3}, "503": {rest(503), true, 3}, "400": {rest(400), false, 2},
		"unauthenticated": {status.Error(codes.Unauthenticated, ""), false, 3}, "unavailable": {status.Error(codes.Unavailable, ""), true, 3},
		"exhausted": {status.Error(codes.ResourceExhausted, ""), true, 3}, "invalid": {status.Error(codes.InvalidArgument, ""), false, 1},
	} {
		err := Classify(ctx, "doing", c.err)
		if pipeline.IsRetryable(err) != c.retry || pipeline.ExitCode(err) != c.exit {
			t.Errorf("%s: retryable %v, exit %d", name, pipeline.IsRetryable(err), pipeline.ExitCode(err))
		}
	}
	dead, cancel := context.WithCancel(ctx)
	cancel()
	if err := Classify(dead, "doing", status.Error(codes.Canceled, "")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	var d pipeline.Delayed
	err := Classify(ctx, "doing", &delayed{status.Error(codes.ResourceExhausted, ""), 3 * time.Second})
	if !errors.As(err, &d) || d.RetryAfter() != 3*time.Second {
		t.Errorf("the delay got lost: %v", err)
	}
}
