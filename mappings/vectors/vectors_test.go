package vectors

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/env"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

var wide = env.PGVectorConfig{MaxLength: 8, HNSWM: 16, HNSWEf: 64, IVFFlatLists: 100}

func half(cfg env.PGVectorConfig) env.PGVectorConfig { cfg.HalfVec = true; return cfg }

func TestEveryHalfComesBack(t *testing.T) {
	for h := range 1 << 16 {
		f := FromHalf(uint16(h))
		got, ok := ToHalf(f)
		if finite := h>>10&0x1f != 31; ok != finite || finite && got != uint16(h) {
			t.Fatalf("%#04x is %g, which gives %#04x %v", h, f, got, ok)
		}
	}
}

func TestHalfIsTheServersCast(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), servers.PostgreSQL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	r := rand.New(rand.NewPCG(1, 2))
	values := []float32{0, float32(math.Copysign(0, -1)), 1, -1, 65504, 65519.996, -65519.996, 1e-45, 5.9604645e-8, 2.9802322e-8, 2.9802326e-8, -2.98e-8,
		6.0975552e-5, 6.1035156e-5, 6.1005353e-5, 0.1, 1.0 / 3, 2049, 2051, 0.99975586, 1.17549435e-38}
	for range 60_000 { // all magnitudes that round to something, and many in the middle between two halves
		f := math.Float32frombits(r.Uint32())
		if r.IntN(2) == 0 {
			h := uint16(r.IntN(0x7bff))
			f = (FromHalf(h) + FromHalf(h+1)) / 2
		} else if r.IntN(2) == 0 {
			f = float32(r.NormFloat64() * 0.05)
		}
		if _, ok := ToHalf(f); ok {
			values = append(values, f)
		}
	}
	for len(values) > 0 {
		n := min(len(values), 4000)
		var b strings.Builder
		for i, f := range values[:n] {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.FormatFloat(float64(f), 'g', -1, 32))
		}
		var raw []byte
		if err := conn.QueryRow(t.Context(), "SELECT halfvec_send(('['||$1::text||']')::vector::halfvec)", b.String()).Scan(&raw); err != nil {
			t.Fatal(err)
		}
		for i, f := range values[:n] {
			want := binary.BigEndian.Uint16(raw[4+2*i:])
			if got, _ := ToHalf(f); got != want {
				t.Fatalf("%g (%#08x): %#04x, the server says %#04x", f, math.Float32bits(f), got, want)
			}
		}
		values = values[n:]
	}
	for _, f := range []float32{65520, 1e30, -65520} {
		var raw []byte
		err := conn.QueryRow(t.Context(), "SELECT halfvec_send(('['||$1::text||']')::vector::halfvec)", strconv.FormatFloat(float64(f), 'g', -1, 32)).Scan(&raw)
		if _, ok := ToHalf(f); ok || err == nil {
			t.Errorf("%g: ToHalf says %v, the server %v", f, ok, err)
		}
	}
}

func TestSameMetadata(t *testing.T) {
	cases := []struct {
		a, b string
		want bool
	}{
		{`{"a":3.0,"b":"x"}`, `{"b": "x", "a": 3.0}`, true},
		{`{"a":3.0}`, `{"a":3.00}`, true},
		{`{"a":3.0}`, `{"a":3}`, false}, // Python reads a float and an int
		{`{"a":1e-05}`, `{"a":0.00001}`, true},
		{`{"a":1E-5}`, `{"a":1.0e-05}`, true},
		{`{"a":1e300}`, `{"a":1` + strings.Repeat("0", 300) + `}`, true},
		{`{"a":1.5e3}`, `{"a":1500}`, true},
		{`{"a":4.25e-05}`, `{"a":4.2499999999999996e-05}`, false},
		{`{"a":9223372036854775807}`, `{"a":9223372036854775806}`, false},
		{`{"a":18446744073709551616}`, `{"a":18446744073709551616}`, true},
		{`{"a":0}`, `{"a":-0}`, true},
		{`{"a":1,"a":2}`, `{"a":2}`, true},
		{`{"a":1,"a":2}`, `{"a":1}`, false},
		{`{"a":"\u00e9\ud83d\ude00"}`, `{"a":"é😀"}`, true},
		{`{"a":"1"}`, `{"a":1}`, false},
		{`{"a":true}`, `{"a":false}`, false},
		{`{"a":null}`, `{}`, false},
		{`{"a":[1,{"b":2.50}]}`, `{"a": [1, {"b": 2.5}]}`, true},
		{`{"a":[1,2]}`, `{"a":[2,1]}`, false},
		{`{}`, ` { } `, true},
		{`{"":1,"$x":2,"chroma:document":"d"}`, `{"$x":2,"":1,"chroma:document":"d"}`, true},
	}
	conn, err := pgx.Connect(t.Context(), servers.PostgreSQL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, c := range cases {
		if got := SameMetadata(json.RawMessage(c.a), json.RawMessage(c.b)); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
		var server bool
		var stored string
		if err := conn.QueryRow(t.Context(), "SELECT $1::text::jsonb = $2::text::jsonb, $1::text::jsonb::text", c.a, c.b).Scan(&server, &stored); err != nil {
			t.Fatal(err)
		}
		if server != c.want && c.a != `{"a":3.0}` {
			t.Errorf("%s and %s: the server says %v", c.a, c.b, server)
		}
		if !SameMetadata(json.RawMessage(c.a), json.RawMessage(stored)) {
			t.Errorf("%s is stored as %s, and that is not the same", c.a, stored)
		}
	}
	if SameMetadata(nil, json.RawMessage("{}")) || !SameMetadata(nil, nil) {
		t.Error("no metadata is not an empty object")
	}
}

func TestTransform(t *testing.T) {
	text := func(s string) *string { return &s }
	vec := []float32{1, 0, -0.5}
	unit := pipeline.Unit{Lane: pipeline.Vectors, Name: "c"}
	nan := float32(math.NaN())
	cases := []struct {
		name   string
		cfg    env.PGVectorConfig
		in     pipeline.Vector
		text   *string
		meta   string
		change pipeline.Reason
		refuse pipeline.Reason
	}{
		{"plain", wide, pipeline.Vector{ID: "a", Text: text("t"), Metadata: []byte(`{"a":3.0}`), Embedding: vec}, text("t"), `{"a":3.0}`, "", ""},
		{"nothing but a vector", wide, pipeline.Vector{ID: "", Embedding: vec}, nil, "", "", ""},
		{"NUL in text", wide, pipeline.Vector{ID: "a", Text: text("a\x00b"), Embedding: vec}, text("ab"), "", Nul, ""},
		{"not UTF-8", wide, pipeline.Vector{ID: "a", Text: text("a\xffb"), Embedding: vec}, text("a\uFFFDb"), "", Encoding, ""},
		{"NUL in value", wide, pipeline.Vector{ID: "a", Metadata: []byte(`{"k":"x\u0000y\\u0000","n":1e-05}`), Embedding: vec}, nil, `{"k":"xy\\u0000","n":1e-05}`, Nul, ""},
		{"NUL in key", wide, pipeline.Vector{ID: "a", Metadata: []byte(`{"k\u0000":1}`), Embedding: vec}, nil, `{"k":1}`, Nul, ""},
		{"keys fall together", wide, pipeline.Vector{ID: "a", Metadata: []byte(`{"k\u0000":1,"k":2}`), Embedding: vec}, nil, "", "", pipeline.Invalid},
		{"lone surrogates", wide, pipeline.Vector{ID: "a", Metadata: []byte(`{"k":"\ud83d\ude00\ud800x\udc00\uD83Dy"}`), Embedding: vec}, nil, `{"k":"\ud83d\ude00xy"}`, Nul, ""},
		{"no object", wide, pipeline.Vector{ID: "a", Metadata: []byte(`[1]`), Embedding: vec}, nil, "", "", pipeline.Invalid},
		{"no JSON", wide, pipeline.Vector{ID: "a", Metadata: []byte(`{"a":NaN}`), Embedding: vec}, nil, "", "", pipeline.Invalid},
		{"JSON null", wide, pipeline.Vector{ID: "a", Metadata: []byte(`null`), Embedding: vec}, nil, "", "", ""},
		{"NUL in id", wide, pipeline.Vector{ID: "a\x00", Embedding: vec}, nil, "", "", pipeline.Invalid},
		{"no vector", wide, pipeline.Vector{ID: "a"}, nil, "", "", pipeline.NeedsEmbedding},
		{"too long", wide, pipeline.Vector{ID: "a", Embedding: make([]float32, 9)}, nil, "", "", pipeline.TooLong},
		{"NaN", wide, pipeline.Vector{ID: "a", Embedding: []float32{nan}}, nil, "", "", pipeline.Invalid},
		{"infinity", wide, pipeline.Vector{ID: "a", Embedding: []float32{float32(math.Inf(-1))}}, nil, "", "", pipeline.Invalid},
		{"too large for halfvec", half(wide), pipeline.Vector{ID: "a", Embedding: []float32{65520}}, nil, "", "", pipeline.Invalid},
		{"just fits halfvec", half(wide), pipeline.Vector{ID: "a", Embedding: []float32{65519}}, nil, "", "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before, _ := json.Marshal(c.in.Metadata)
			out, changes, refused := Transform(c.cfg)(unit, &c.in)
			if c.refuse != "" {
				if out != nil || len(refused) != 1 || refused[0].Reason != c.refuse || refused[0].Record == nil {
					t.Fatalf("out %v, refused %+v", out, refused)
				}
				return
			}
			if len(refused) > 0 {
				t.Fatalf("refused %+v", refused)
			}
			if (out.Text == nil) != (c.text == nil) || out.Text != nil && *out.Text != *c.text {
				t.Errorf("text %q", *out.Text)
			}
			if string(out.Metadata) != c.meta {
				t.Errorf("metadata %s", out.Metadata)
			}
			if c.change == "" && len(changes) > 0 || c.change != "" && (len(changes) != 1 || changes[0].Reason != c.change || changes[0].Before == changes[0].After) {
				t.Errorf("changes %+v", changes)
			}
			if after, _ := json.Marshal(c.in.Metadata); string(after) != string(before) {
				t.Error("the record that was read has been changed")
			}
			again, more, _ := Transform(c.cfg)(unit, out)
			if same, what := Equal(out, again); !same || len(more) > 0 {
				t.Errorf("a second time gives %s, %v", what, more)
			}
		})
	}
}

func TestExpectAndWire(t *testing.T) {
	v := &pipeline.Vector{ID: "a", Embedding: []float32{0.1, -0.0001, 0, float32(math.Copysign(0, -1)), 0}}
	for _, cfg := range []env.PGVectorConfig{wide, half(wide)} {
		raw, err := PG(cfg).Append([]byte("x"), v.Embedding)
		if err != nil {
			t.Fatal(err)
		}
		raw = raw[1:]
		want := Expect(cfg, v)
		if len(want.Embedding) != cfg.MaxLength {
			t.Fatalf("%d elements", len(want.Embedding))
		}
		for dim, n := range map[int]int{0: 8, 5: 5, 7: 7, 4: 4, 3: 8, 9: 8} { // element 3 is -0.0, which is no padding
			got, err := Parse(raw, dim)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != n {
				t.Errorf("dimension %d gives %d elements", dim, len(got))
			}
			if same, what := Equal(want, &pipeline.Vector{ID: "a", Embedding: got}); !same {
				t.Error(what)
			}
		}
	}
	if same, _ := Equal(v, &pipeline.Vector{ID: "a", Embedding: []float32{0.1, -0.0001, 0, 0}}); same {
		t.Error("0.0 passed for -0.0")
	}
	fields, err := Compare(half(wide))(t.Context(), pipeline.Unit{}, v, Expect(half(wide), v))
	if err != nil || len(fields) > 0 {
		t.Errorf("%v %v", fields, err)
	}
	if fields, _ := Compare(wide)(t.Context(), pipeline.Unit{}, v, Expect(half(wide), v)); len(fields) != 1 || fields[0].Column != "vector" {
		t.Errorf("rounding went unseen: %v", fields)
	}
	for _, bad := range [][]byte{nil, {0, 1, 0}, {0, 2, 0, 0, 1, 1, 1}} {
		if _, err := Parse(bad, 0); err == nil {
			t.Errorf("%v is no vector", bad)
		}
	}
}

func TestLayout(t *testing.T) {
	for _, c := range []struct {
		cfg                   env.PGVectorConfig
		column, index, method string
	}{
		{wide, "vector(8)", "CREATE INDEX IF NOT EXISTS idx_document_chunk_vector ON document_chunk USING ivfflat (vector vector_cosine_ops) WITH (lists = 100)", IVFFlat},
		{half(wide), "halfvec(8)", "CREATE INDEX IF NOT EXISTS idx_document_chunk_vector ON document_chunk USING hnsw (vector halfvec_cosine_ops) WITH (m = 16, ef_construction = 64)", HNSW},
	} {
		l := PG(c.cfg)
		if l.ColumnType() != c.column || l.CreateIndex(VectorIndex) != c.index || l.Method != c.method {
			t.Errorf("%s %s %s", l.ColumnType(), l.Method, l.CreateIndex(VectorIndex))
		}
		if !l.SameType("extensions."+c.column) || l.SameType("vector(9)") {
			t.Error("types are compared wrongly")
		}
	}
	if l := PG(wide); l.WantsVectorIndex(4999) || !l.WantsVectorIndex(5000) || !PG(half(wide)).WantsVectorIndex(0) {
		t.Error("vector index at the wrong number of rows")
	}
}
