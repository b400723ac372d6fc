package milvus

import (
	"context"
	"encoding/json"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

var (
	plain  = env.MilvusConfig{IndexType: "HNSW", MetricType: "COSINE", HNSWM: 16, HNSWEf: 100, IVFFlatNlist: 128, DiskANNDegree: 56, DiskANNSearch: 100, Prefix: "open_webui"}
	shared = func() env.MilvusConfig { c := plain; c.Multitenancy = true; return c }()
)

func TestLayoutOf(t *testing.T) {
	for version, want := range map[string]Layout{"v2.3.5": {}, "2.4.17": {}, "v2.5.0": {BM25: true}, "2.6.0": {BM25: true}, "3.0-beta": {BM25: true},
		"milvus_lite-1.1.0": {Lite: true}, "v2.10.1": {BM25: true}, "": {}, "2": {}, "master-20250101": {}} {
		if got := LayoutOf(version); got != want {
			t.Errorf("%q: %+v", version, got)
		}
	}
}

const id = "0b6d7c1e-5f1b-4b59-9d6a-0c4c2f7a1b11"

func TestNames(t *testing.T) {
	hash := strings.Repeat("0f", 32)
	for _, c := range []struct{ logical, plain, class string }{
		{"file-" + id, "open_webui_file_0b6d7c1e_5f1b_4b59_9d6a_0c4c2f7a1b11", Files},
		{id, "open_webui_0b6d7c1e_5f1b_4b59_9d6a_0c4c2f7a1b11", Knowledge},
		{"user-memory-" + id, "open_webui_user_memory_0b6d7c1e_5f1b_4b59_9d6a_0c4c2f7a1b11", Memories},
		{"web-search-" + id + "-0123456789abcde", "open_webui_web_search_0b6d7c1e_5f1b_4b59_9d6a_0c4c2f7a1b11_0123456789abcde", WebSearch},
		{"knowledge-bases", "open_webui_knowledge_bases", Knowledge},
		{hash[:63], "open_webui_" + hash[:63], HashBased},
		{hash, "open_webui_" + hash, Knowledge},
		{"handbook", "open_webui_handbook", Knowledge},
	} {
		if got := Physical(plain, c.logical); got != c.plain {
			t.Errorf("%s: %s", c.logical, got)
		}
		if got := Physical(shared, c.logical); got != "open_webui_"+c.class {
			t.Errorf("%s: %s", c.logical, got)
		}
		if BadName(plain, c.logical)+BadName(shared, c.logical) != "" {
			t.Errorf("%s cannot be: %s", c.logical, BadName(plain, c.logical))
		}
		names, unsure, err := Recover(t.Context(), []string{strings.TrimPrefix(c.plain, "open_webui_")}, nil)
		if err != nil || len(unsure) > 0 || names[strings.TrimPrefix(c.plain, "open_webui_")] != c.logical {
			t.Errorf("%s is recovered as %v %v %v", c.logical, names, unsure, err)
		}
	}
	if IDSpace(shared, id) != IDSpace(shared, "handbook") || IDSpace(shared, id) == IDSpace(shared, "file-"+id) || IDSpace(plain, id) == IDSpace(plain, "handbook") {
		t.Error("id spaces")
	}
	for _, bad := range []string{"", "a.b", "naïve", "x y", strings.Repeat("x", 250), "kb_bm25_staging"} {
		if BadName(plain, bad) == "" {
			t.Errorf("%q can be", bad)
		}
	}
	for _, bad := range []string{"", "a.b", "naïve", strings.Repeat("x", 256)} {
		if BadName(shared, bad) == "" {
			t.Errorf("%q can be in a shared collection", bad)
		}
	}
}

func TestRecoverAsksTheDatabase(t *testing.T) {
	tables := map[string][]string{"knowledge": {"hr-hand_book", "x"}, "file": {"scan-7"}, "user": {"me_myself"}}
	asked := 0
	ids := func(_ context.Context, table string) iter.Seq2[string, error] {
		asked++
		return func(yield func(string, error) bool) {
			for _, s := range tables[table] {
				if !yield(s, nil) {
					return
				}
			}
		}
	}
	names, unsure, err := Recover(t.Context(), []string{"hr_hand_book", "file_scan_7", "user_memory_me_myself", "other_thing", "single"}, ids)
	if err != nil || !slices.Equal(unsure, []string{"other_thing"}) {
		t.Errorf("unsure %v, %v", unsure, err)
	}
	for s, want := range map[string]string{"hr_hand_book": "hr-hand_book", "file_scan_7": "file-scan-7", "user_memory_me_myself": "user-memory-me_myself", "other_thing": "other_thing", "single": "single"} {
		if names[s] != want {
			t.Errorf("%s is %s", s, names[s])
		}
	}
	asked = 0
	if _, _, err := Recover(t.Context(), []string{"knowledge_bases", "single"}, ids); err != nil || asked > 0 {
		t.Errorf("the database was asked %d times for nothing, %v", asked, err)
	}
	failing := func(context.Context, string) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) { yield("", context.DeadlineExceeded) }
	}
	if _, _, err := Recover(t.Context(), []string{"a_b"}, failing); err == nil {
		t.Error("a failing database went unseen")
	}
}

func text(s string) *string { return &s }

func TestTransform(t *testing.T) {
	vec := []float32{1, 0, -0.5}
	old, bm25, lite := Options{}, Options{Layout: Layout{BM25: true}}, Options{Layout: Layout{Lite: true}}
	long := strings.Repeat("x", 65534) + "é" // the character ends one byte too late
	meta := `{"a":"` + strings.Repeat("y", 65536-8) + `"}`
	cases := []struct {
		name    string
		cfg     env.MilvusConfig
		o       Options
		unit    string
		in      pipeline.Vector
		text    string
		meta    string
		changes []pipeline.Reason
		refuse  pipeline.Reason
	}{
		{"as it is", plain, old, "c", pipeline.Vector{ID: "a", Text: text("t\x00"), Metadata: []byte(`{"a":3.0,"b":9223372036854775807}`), Embedding: vec}, "t\x00", `{"a":3.0,"b":9223372036854775807}`, nil, ""},
		{"nothing", plain, old, "c", pipeline.Vector{ID: "a", Embedding: vec}, "", "{}", []pipeline.Reason{NoText, NoMetadata}, ""},
		{"null", plain, old, "c", pipeline.Vector{ID: "a", Text: text("t"), Metadata: []byte(" null"), Embedding: vec}, "t", "{}", []pipeline.Reason{NoMetadata}, ""},
		{"cut", plain, bm25, "c", pipeline.Vector{ID: "a", Text: text(long), Metadata: []byte(`{}`), Embedding: vec}, long[:65534], "{}", []pipeline.Reason{TextCut}, ""},
		{"cut, shared", shared, old, "c", pipeline.Vector{ID: "a", Text: text(long), Metadata: []byte(`{}`), Embedding: vec}, long[:65534], "{}", []pipeline.Reason{TextCut}, ""},
		{"whole", plain, bm25, "c", pipeline.Vector{ID: "a", Text: text(long[:65533] + "é"), Metadata: []byte(`{}`), Embedding: vec}, long[:65533] + "é", "{}", nil, ""},
		{"too long for JSON", plain, old, "c", pipeline.Vector{ID: "a", Text: text(strings.Repeat("x", 65526)), Metadata: []byte(`{}`), Embedding: vec}, "", "", nil, pipeline.TooLong},
		{"longest in JSON", plain, old, "c", pipeline.Vector{ID: "a", Text: text(strings.Repeat("x", 65525)), Metadata: []byte(`{}`), Embedding: vec}, strings.Repeat("x", 65525), "{}", nil, ""},
		{"escapes count", plain, old, "c", pipeline.Vector{ID: "a", Text: text(strings.Repeat("\n", 32763)), Metadata: []byte(`{}`), Embedding: vec}, "", "", nil, pipeline.TooLong},
		{"Lite has no limit", plain, lite, "c", pipeline.Vector{ID: "a", Text: text(strings.Repeat("\n", 65535)), Metadata: []byte(`{}`), Embedding: vec}, strings.Repeat("\n", 65535), "{}", nil, ""},
		{"longest metadata", plain, old, "c", pipeline.Vector{ID: "a", Text: text("t"), Metadata: []byte(meta), Embedding: vec}, "t", meta, nil, ""},
		{"metadata too long", plain, bm25, "c", pipeline.Vector{ID: "a", Text: text("t"), Metadata: []byte(meta + " "), Embedding: vec}, "", "", nil, pipeline.TooLong},
		{"beyond int64", shared, bm25, "c", pipeline.Vector{ID: "a", Text: text("t"), Metadata: []byte(`{"n":[1,{"m":-9223372036854775809}]}`), Embedding: vec}, "", "", nil, pipeline.Invalid},
		{"beyond double", plain, bm25, "c", pipeline.Vector{ID: "a", Text: text("t"), Metadata: []byte(`{"n":1e400}`), Embedding: vec}, "", "", nil, pipeline.Invalid},
		{"no object", plain, bm25, "c", pipeline.Vector{ID: "a", Text: text("t"), Metadata: []byte(`[1]`), Embedding: vec}, "", "", nil, pipeline.Invalid},
		{"surrogates", plain, bm25, "c", pipeline.Vector{ID: "a", Text: text("t"), Metadata: []byte(`{"a":"x\ud800y\u0000"}`), Embedding: vec}, "t", `{"a":"xy\u0000"}`, []pipeline.Reason{vectors.Nul}, ""},
		{"not UTF-8", plain, bm25, "c", pipeline.Vector{ID: "a", Text: text("t\xff"), Metadata: []byte("{\"a\":\"\xff\"}"), Embedding: vec}, "t\uFFFD", "{\"a\":\"\uFFFD\"}", []pipeline.Reason{vectors.Encoding, vectors.Encoding}, ""},
		{"long id", plain, old, "c", pipeline.Vector{ID: strings.Repeat("i", 37), Text: text("t"), Metadata: []byte(`{}`), Embedding: vec}, "t", "{}", nil, ""},
		{"long id, shared", shared, old, "c", pipeline.Vector{ID: strings.Repeat("i", 37), Text: text("t"), Metadata: []byte(`{}`), Embedding: vec}, "", "", nil, IDTooLong},
		{"long id, mapped", shared, Options{MapIDs: true}, "c", pipeline.Vector{ID: strings.Repeat("i", 37), Text: text("t"), Metadata: []byte(`{}`), Embedding: vec}, "t", "{}", []pipeline.Reason{vectors.IDMapped}, ""},
		{"short id is never mapped", shared, Options{MapIDs: true}, "c", pipeline.Vector{ID: strings.Repeat("i", 36), Text: text("t"), Metadata: []byte(`{}`), Embedding: vec}, "t", "{}", nil, ""},
		{"a memory is never mapped", shared, Options{MapIDs: true}, "user-memory-" + id, pipeline.Vector{ID: strings.Repeat("i", 37), Text: text("t"), Metadata: []byte(`{}`), Embedding: vec}, "", "", nil, IDTooLong},
		{"no vector", plain, old, "c", pipeline.Vector{ID: "a", Text: text("t"), Metadata: []byte(`{}`)}, "", "", nil, pipeline.NeedsEmbedding},
		{"NaN", plain, old, "c", pipeline.Vector{ID: "a", Embedding: []float32{float32(math.NaN())}}, "", "", nil, pipeline.Invalid},
		{"zero vector", plain, old, "c", pipeline.Vector{ID: "a", Text: text("t"), Metadata: []byte(`{}`), Embedding: []float32{0, 0}}, "t", "{}", nil, ""},
		{"no id", plain, old, "c", pipeline.Vector{Embedding: vec}, "", "", nil, pipeline.Invalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			unit := pipeline.Unit{Lane: pipeline.Vectors, Name: c.unit}
			before, _ := json.Marshal(&c.in)
			out, changes, refused := Transform(c.cfg, c.o)(unit, &c.in)
			if after, _ := json.Marshal(&c.in); string(after) != string(before) {
				t.Error("the record that was read has been changed")
			}
			if c.refuse != "" {
				if out != nil || len(refused) != 1 || refused[0].Reason != c.refuse || refused[0].Key != c.in.ID || refused[0].Record == nil {
					t.Fatalf("out %v, refused %+v", out, refused)
				}
				return
			}
			if len(refused) > 0 {
				t.Fatalf("refused %.300v", refused)
			}
			if *out.Text != c.text || string(out.Metadata) != c.meta || !utf8.ValidString(*out.Text) {
				t.Errorf("text %.80q (%d), metadata %.80s", *out.Text, len(*out.Text), out.Metadata)
			}
			var reasons []pipeline.Reason
			for _, ch := range changes {
				reasons = append(reasons, ch.Reason)
				if ch.Before == ch.After || ch.Key != c.in.ID || ch.Note == "" {
					t.Errorf("change %+v", ch)
				}
			}
			if !slices.Equal(reasons, c.changes) {
				t.Errorf("changes %v", reasons)
			}
			if again, more, _ := Transform(c.cfg, c.o)(unit, out); again != out || len(more) > 0 {
				t.Errorf("a second time gives %v", more)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	equal := Compare(plain)
	a := &pipeline.Vector{ID: "a", Text: text("t"), Metadata: []byte(`{"a":3.0,"b":"x"}`), Embedding: []float32{1, 2}}
	for _, c := range []struct {
		name   string
		change func(v *pipeline.Vector)
		column string
	}{
		{"the same", func(*pipeline.Vector) {}, ""},
		{"Lite's spelling", func(v *pipeline.Vector) { v.Metadata = []byte(`{"b": "x", "a": 3.0}`) }, ""},
		{"an int", func(v *pipeline.Vector) { v.Metadata = []byte(`{"a":3,"b":"x"}`) }, "vmetadata"},
		{"a bit", func(v *pipeline.Vector) { v.Embedding = []float32{1, math.Nextafter32(2, 3)} }, "vector"},
		{"text", func(v *pipeline.Vector) { v.Text = text("T") }, "text"},
	} {
		b := *a
		c.change(&b)
		fields, err := equal(t.Context(), pipeline.Unit{}, a, &b)
		if err != nil || (c.column == "") != (len(fields) == 0) || len(fields) > 0 && fields[0].Column != c.column {
			t.Errorf("%s: %v, %v", c.name, fields, err)
		}
	}
	bare := &pipeline.Vector{ID: "a", Embedding: []float32{1}}
	stored := &pipeline.Vector{ID: "a", Embedding: []float32{1}, Text: text(""), Metadata: []byte("{}")}
	if fields, _ := equal(t.Context(), pipeline.Unit{}, bare, stored); len(fields) > 0 {
		t.Errorf("%v", fields)
	}
}

func TestSpelling(t *testing.T) {
	for in, want := range map[string]string{
		`plain`:                      `"plain"`,
		"q\" b\\ n\n r\r t\t":        `"q\" b\\ n\n r\r t\t"`,
		"\b\f\x01\x1f\x7f é \u2028<": "\"\\b\\f\\u0001\\u001f\x7f é \u2028<\"",
	} {
		if got := string(appendQuoted(nil, in)); got != want {
			t.Errorf("%q is spelled %s", in, got)
		}
		var back string
		if err := json.Unmarshal(appendQuoted(nil, in), &back); err != nil || back != in {
			t.Errorf("%q comes back as %q, %v", in, back, err)
		}
	}
	if got := Quote("a\"b\\c\nd'"); got != `"a\"b\\c\nd'"` {
		t.Error(got)
	}
	if e, ok := Among([]string{"\xff"}); ok {
		t.Error(e)
	}
	if got := (Bounds{From: true, After: "a", To: "b"}).Expr(Filter(shared, "kb")); got != `resource_id == "kb" and id > "a" and id <= "b"` {
		t.Error(got)
	}
}
