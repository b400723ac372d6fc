package qdrant

import (
	"math"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

const someID = "6a2f41a3-c54c-4ce8-98fd-0b0a1e5a0c11"

func TestTransform(t *testing.T) {
	u := pipeline.Unit{Lane: pipeline.Vectors, Name: "file-1", Dim: 2}
	vec := []float32{3, 4}
	text := func(s string) *string { return &s }
	for _, c := range []struct {
		name   string
		in     pipeline.Vector
		mapIDs bool
		out    pipeline.Vector // ID "" when it is refused
		reason pipeline.Reason // of the change or the refusal
		column string
	}{
		{name: "untouched", in: pipeline.Vector{ID: someID, Text: text("a\x00"), Metadata: []byte(`{"a":3.0,"b":"\u0000"}`), Embedding: vec}, out: pipeline.Vector{ID: someID, Text: text("a\x00"), Metadata: []byte(`{"a":3.0,"b":"\u0000"}`)}},
		{name: "upper case", in: pipeline.Vector{ID: "6A2F41A3-C54C-4CE8-98FD-0B0A1E5A0C11", Embedding: vec}, out: pipeline.Vector{ID: someID}, reason: IDSpelling, column: "id"},
		{name: "no hyphens", in: pipeline.Vector{ID: "6a2f41a3c54c4ce898fd0b0a1e5a0c11", Embedding: vec}, mapIDs: true, out: pipeline.Vector{ID: someID}, reason: IDSpelling, column: "id"},
		{name: "no UUID", in: pipeline.Vector{ID: "plain-id", Embedding: vec}, reason: IDNotUUID, column: "id"},
		{name: "mapped", in: pipeline.Vector{ID: "plain-id", Embedding: vec}, mapIDs: true, out: pipeline.Vector{ID: vectors.MappedID("file-1", "plain-id")}, reason: vectors.IDMapped, column: "id"},
		{name: "null", in: pipeline.Vector{ID: someID, Metadata: []byte(" null "), Embedding: vec}, out: pipeline.Vector{ID: someID}},
		{name: "text", in: pipeline.Vector{ID: someID, Text: text("a\xffb"), Embedding: vec}, out: pipeline.Vector{ID: someID, Text: text("a\uFFFDb")}, reason: vectors.Encoding, column: "text"},
		{name: "metadata", in: pipeline.Vector{ID: someID, Metadata: []byte("{\"a\":\"\xff\"}"), Embedding: vec}, out: pipeline.Vector{ID: someID, Metadata: []byte("{\"a\":\"\uFFFD\"}")}, reason: vectors.Encoding, column: "vmetadata"},
		{name: "surrogate", in: pipeline.Vector{ID: someID, Metadata: []byte(`{"a":"x\udfffy\ud800\ud83d\ude00\\ud800"}`), Embedding: vec}, out: pipeline.Vector{ID: someID, Metadata: []byte(`{"a":"xy\ud83d\ude00\\ud800"}`)}, reason: Surrogate, column: "vmetadata"},
		{name: "two keys", in: pipeline.Vector{ID: someID, Metadata: []byte(`{"a":1,"a\ud800":2}`), Embedding: vec}, reason: pipeline.Invalid, column: "vmetadata"},
		{name: "wide", in: pipeline.Vector{ID: someID, Metadata: []byte(`{"a":"99999999999999999999","b":18446744073709551616,"c":-9223372036854775809,"d":9223372036854775807,"e":0.1234567890123456789}`), Embedding: vec},
			out:    pipeline.Vector{ID: someID, Metadata: []byte(`{"a":"99999999999999999999","b":1.8446744073709552e+19,"c":-9.223372036854776e+18,"d":9223372036854775807,"e":0.1234567890123456789}`)},
			reason: WideNumber, column: "vmetadata"},
		{name: "too large", in: pipeline.Vector{ID: someID, Metadata: []byte(`{"a":1e400}`), Embedding: vec}, reason: pipeline.Invalid, column: "vmetadata"},
		{name: "NaN in metadata", in: pipeline.Vector{ID: someID, Metadata: []byte(`{"a":NaN}`), Embedding: vec}, reason: pipeline.Invalid, column: "vmetadata"},
		{name: "list", in: pipeline.Vector{ID: someID, Metadata: []byte(`[1]`), Embedding: vec}, reason: pipeline.Invalid, column: "vmetadata"},
		{name: "empty", in: pipeline.Vector{ID: someID, Metadata: []byte(``), Embedding: vec}, reason: pipeline.Invalid, column: "vmetadata"},
		{name: "no vector", in: pipeline.Vector{ID: someID}, reason: pipeline.NeedsEmbedding, column: "vector"},
		{name: "longer", in: pipeline.Vector{ID: someID, Embedding: []float32{1, 2, 3}}, reason: Dimension, column: "vector"},
		{name: "NaN", in: pipeline.Vector{ID: someID, Embedding: []float32{1, float32(math.NaN())}}, reason: pipeline.Invalid, column: "vector"},
		{name: "enormous", in: pipeline.Vector{ID: someID, Embedding: []float32{1e20, 0}}, reason: pipeline.Invalid, column: "vector"},
	} {
		before := c.in
		got, changes, refused := Transform(env.QdrantConfig{}, Options{MapIDs: c.mapIDs})(u, &c.in)
		if c.out.ID == "" {
			if got != nil || len(refused) != 1 || refused[0].Reason != c.reason || refused[0].Column != c.column || refused[0].Key != c.in.ID {
				t.Errorf("%s: %+v, %+v", c.name, got, refused)
			}
			continue
		}
		if got == nil || got.ID != c.out.ID || string(got.Metadata) != string(c.out.Metadata) || (got.Metadata == nil) != (c.out.Metadata == nil) ||
			(got.Text == nil) != (c.out.Text == nil) || (got.Text != nil && *got.Text != *c.out.Text) || len(refused) > 0 {
			t.Errorf("%s: %+v, %s, %+v", c.name, got, got.Metadata, refused)
			continue
		}
		if c.reason == "" && len(changes) > 0 || c.reason != "" && (len(changes) != 1 || changes[0].Reason != c.reason || changes[0].Column != c.column || changes[0].Key != c.in.ID || changes[0].Before == changes[0].After) {
			t.Errorf("%s: %+v", c.name, changes)
		}
		if c.in.ID != before.ID || string(c.in.Metadata) != string(before.Metadata) {
			t.Errorf("%s: the record itself was changed", c.name)
		}
		again, changes, refused := Transform(env.QdrantConfig{}, Options{})(u, got)
		if again != got || len(changes)+len(refused) > 0 {
			t.Errorf("%s: a second time: %+v, %+v, %+v", c.name, again, changes, refused)
		}
	}
}

func TestCompare(t *testing.T) {
	compare := Compare(env.QdrantConfig{})
	columns := func(want, got *pipeline.Vector) (out string) {
		t.Helper()
		fields, err := compare(t.Context(), pipeline.Unit{}, want, got)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fields {
			out += f.Column + " "
		}
		return out
	}
	text, other := "a", "b"
	want := &pipeline.Vector{ID: someID, Text: &text, Metadata: []byte(`{"a":3.0}`), Embedding: []float32{3, 4}}
	with := func(change func(*pipeline.Vector)) *pipeline.Vector {
		v := *want
		v.Embedding = []float32{0.6, 0.8}
		change(&v)
		return &v
	}
	for _, c := range []struct {
		got  *pipeline.Vector
		want string
	}{
		{with(func(*pipeline.Vector) {}), ""},
		{with(func(v *pipeline.Vector) { v.Metadata = []byte(`{ "a" : 3.0 }`) }), ""},
		{with(func(v *pipeline.Vector) { v.Metadata = []byte(`{"a":3}`) }), "vmetadata "},
		{with(func(v *pipeline.Vector) { v.Text = &other }), "text "},
		{with(func(v *pipeline.Vector) { v.Text = nil }), "text "},
		{with(func(v *pipeline.Vector) { v.ID = "x" }), "id "},
		{with(func(v *pipeline.Vector) { v.Embedding = []float32{3, 4} }), "vector "},
		{with(func(v *pipeline.Vector) { v.Embedding = []float32{0.6, 0.80001} }), "vector "},
		{with(func(v *pipeline.Vector) { v.Embedding = nil }), "vector "},
	} {
		if got := columns(want, c.got); got != c.want {
			t.Errorf("%+v: %q, want %q", c.got, got, c.want)
		}
	}
	zero := &pipeline.Vector{ID: someID, Embedding: []float32{0, 0}}
	tiny := &pipeline.Vector{ID: someID, Embedding: []float32{3e-4, 0}}
	edge := &pipeline.Vector{ID: someID, Embedding: []float32{float32(math.Sqrt(0x1p-23)), 0}}
	one := &pipeline.Vector{ID: someID, Embedding: []float32{1, 0}}
	for _, c := range []struct {
		want, got *pipeline.Vector
		same      bool
	}{{zero, zero, true}, {tiny, tiny, true}, {tiny, one, false}, {edge, edge, true}, {edge, one, true}, {edge, zero, false}, {one, one, true}} {
		if same := columns(c.want, c.got) == ""; same != c.same {
			t.Errorf("%v came back as %v: same is %t", c.want.Embedding, c.got.Embedding, same)
		}
	}
}
