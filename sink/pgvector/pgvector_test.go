package pgvector

import (
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	reader "outgrow/source/pgvector"
	"outgrow/testdata/servers"
)

const (
	pkeyDef       = "CREATE UNIQUE INDEX document_chunk_pkey ON public.document_chunk USING btree (id)"
	collectionDef = "CREATE INDEX idx_document_chunk_collection_name ON public.document_chunk USING btree (collection_name)"
	textDef       = "CREATE INDEX idx_document_chunk_text_search ON public.document_chunk USING gin (to_tsvector('simple'::regconfig, COALESCE(text, ''::text)))"
	ivfflatDef    = "CREATE INDEX idx_document_chunk_vector ON public.document_chunk USING ivfflat (vector vector_cosine_ops) WITH (lists='5')"
	hnswDef       = "CREATE INDEX idx_document_chunk_vector ON public.document_chunk USING hnsw (vector vector_cosine_ops) WITH (m='16', ef_construction='64')"
	halfDef       = "CREATE INDEX idx_document_chunk_vector ON public.document_chunk USING hnsw (vector halfvec_cosine_ops) WITH (m='16', ef_construction='64')"
)

// The definitions are those that pg_indexes printed after Open WebUI 0.12.4 had
// made them.
func TestLoadIsExactAndIndexesAreOpenWebUIs(t *testing.T) {
	cases := []struct {
		name      string
		dim, most int
		change    func(*env.PGVectorConfig)
		vector    string
		column    string
	}{
		{"default, few rows", 48, 48, nil, "", "vector(48)"},
		{"default, enough rows", 48, 48, func(c *env.PGVectorConfig) { c.IVFFlatLists = 5 }, ivfflatDef, "vector(48)"},
		{"hnsw", 48, 48, func(c *env.PGVectorConfig) { c.IndexMethod = "hnsw" }, hnswDef, "vector(48)"},
		{"halfvec", 48, 48, func(c *env.PGVectorConfig) { c.HalfVec = true }, halfDef, "halfvec(48)"},
		{"padded", 384, 1536, nil, "", "vector(1536)"},
		{"padded halfvec", 384, 3072, func(c *env.PGVectorConfig) { c.HalfVec = true }, halfDef, "halfvec(3072)"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(servers.PostgreSQL(t), c.most)
			if c.change != nil {
				c.change(&cfg.PG)
			}
			s, src, conn := open(t, cfg), corpus(300, c.dim, 1), connect(t, cfg.PG.URL.Reveal())
			begin(t, s)
			if err := move(t.Context(), src, s); err != nil {
				t.Fatal(err)
			}
			equal(t, src, s)
			want := map[string]string{"document_chunk_pkey": pkeyDef, vectors.CollectionIndex: collectionDef, vectors.TextIndex: textDef}
			if c.vector != "" {
				want[vectors.VectorIndex] = c.vector
			}
			if got := indexes(t, conn); !maps.Equal(got, want) {
				t.Errorf("indexes %v", got)
			}
			got := scan[string](t, conn, `SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END, ', ' ORDER BY attnum)
				FROM pg_attribute WHERE attrelid = 'document_chunk'::regclass AND attnum > 0`)
			if want := "id text NOT NULL, vector " + c.column + ", collection_name text NOT NULL, text text, vmetadata jsonb"; got != want {
				t.Errorf("table %s", got)
			}
			marks, err := s.Journal().Marked(t.Context())
			if err != nil || len(marks) != 1 || marks["complete"] == "" {
				t.Errorf("marks %v, %v", marks, err)
			}
			// The same call again changes nothing.
			if err := move(t.Context(), src, s); err != nil {
				t.Fatal(err)
			}
			if n := scan[int](t, conn, "SELECT count(*) FROM document_chunk"); n != 300 {
				t.Errorf("%d rows", n)
			}
		})
	}
}

func TestReaderGivesUnitsPagesAndKeys(t *testing.T) {
	cfg := config(servers.PostgreSQL(t), 64)
	s, src := open(t, cfg), corpus(503, 48, 2)
	src.add("odd", &pipeline.Vector{ID: "", Embedding: make([]float32, 48)}) // the empty id has a cursor too
	begin(t, s)
	if err := move(t.Context(), src, s); err != nil {
		t.Fatal(err)
	}
	for _, limits := range []pipeline.Limits{{Records: 7}, {Bytes: 2000}, {}} {
		r := openReader(t, reader.Config{PG: cfg.PG, Limits: limits, IDPage: 20, Dim: 48})
		units, err := r.Units(t.Context())
		if err != nil || len(units) != 6 {
			t.Fatalf("%v %v", units, err)
		}
		for _, u := range units {
			var seen []*pipeline.Vector
			var batches []pipeline.Batch[*pipeline.Vector]
			at := pipeline.Cursor("")
			for b, err := range r.Read(t.Context(), pipeline.Part{Unit: u}, "") {
				if err != nil {
					t.Fatal(err)
				}
				if b.Prev != at || b.Read != len(b.Records) || b.Read == 0 {
					t.Fatalf("batch from %q to %q with %d records, the last ended at %q", b.Prev, b.Next, b.Read, at)
				}
				at, seen, batches = b.Next, append(seen, b.Records...), append(batches, b)
			}
			if got, want := ids(seen), ids(src.by[u.Name]); !slices.Equal(got, want) {
				t.Fatalf("%s: %d records, not %d", u.Name, len(got), len(want))
			}
			for _, v := range seen {
				if len(v.Embedding) != 48 {
					t.Fatalf("%d elements", len(v.Embedding))
				}
			}
			for _, b := range batches { // reading after Prev gives exactly this batch again
				for again, err := range r.Read(t.Context(), pipeline.Part{Unit: u}, b.Prev) {
					if err != nil || again.Next != b.Next || !slices.Equal(ids(again.Records), ids(b.Records)) {
						t.Fatalf("%s after %q: %v", u.Name, b.Prev, err)
					}
					break
				}
			}
			n, err := r.Count(t.Context(), u)
			if err != nil || n != u.Records || int(n) != len(seen) {
				t.Errorf("count %d, %v", n, err)
			}
			var keys []string
			for k, err := range r.Keys(t.Context(), u) {
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, k)
			}
			slices.Sort(keys)
			if !slices.Equal(keys, ids(seen)) {
				t.Errorf("%d keys", len(keys))
			}
		}
	}
	// From pgvector to pgvector: the reader is a source like any other.
	to := open(t, config(servers.PostgreSQL(t), 48))
	begin(t, to)
	from := openReader(t, reader.Config{PG: cfg.PG, Dim: 48})
	if err := move(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	equal(t, from, to)
	equal(t, src, to)
}

// Odd values: the facts' probes that PostgreSQL can be asked for.
func TestOddValues(t *testing.T) {
	cfg := config(servers.PostgreSQL(t), 4)
	s, conn := open(t, cfg), connect(t, cfg.PG.URL.Reveal())
	str := func(s string) *string { return &s }
	vec := func() []float32 { return []float32{0.25, -3, 1e-30, 7} }
	metadata := map[string]string{
		"empty": `{}`, "float": `{"a":3.0}`, "int": `{"a":9223372036854775807,"b":9007199254740993}`, "2^64": `{"a":18446744073709551616}`,
		"1e300": `{"a":1e300}`, "small": `{"a":4.2499999999999996e-05}`, "bool": `{"a":true,"b":false}`, "null": `{"a":null}`,
		"keys": `{"":1,"$x":2,"chroma:document":"x","collection_name":"own","text":"own"}`, "long key": `{"` + strings.Repeat("k", 300) + `":1}`,
		"1 MB": `{"a":"` + strings.Repeat("z", 1_000_000) + `"}`, "repr": `{"a":"{'engine': '', 'model': None}","b":"[]"}`,
		"escapes": `{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00","ключ":"e\u0301"}`, "nul": `{"a\u0000b":"x\u0000y"}`, "surrogate": `{"a":"x\udfffy"}`,
	}
	src := &memory{batch: 100}
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		src.add("file-metadata", &pipeline.Vector{ID: "m " + name, Text: str("t"), Metadata: []byte(metadata[name]), Embedding: vec()})
	}
	src.add("file-text",
		&pipeline.Vector{ID: "none", Embedding: vec()}, &pipeline.Vector{ID: "empty", Text: str(""), Embedding: vec()},
		&pipeline.Vector{ID: "nul", Text: str("a\x00b"), Embedding: vec()}, &pipeline.Vector{ID: "1 MB", Text: str(strings.Repeat("y", 1_000_000)), Embedding: vec()},
		&pipeline.Vector{ID: "идентификатор", Text: str("t"), Embedding: vec()}, &pipeline.Vector{ID: "AAAA-upper", Text: str("t"), Embedding: vec()})
	src.add("file-vector",
		&pipeline.Vector{ID: "zero", Embedding: make([]float32, 4)}, &pipeline.Vector{ID: "minus zero", Embedding: []float32{1, float32(math.Copysign(0, -1))}},
		&pipeline.Vector{ID: "extreme", Embedding: []float32{math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, 1}},
		&pipeline.Vector{ID: "short", Embedding: []float32{1}})
	words := &strings.Builder{} // more distinct words than a tsvector can hold
	for i := range 200_000 {
		words.WriteString(strings.Repeat("w", 3) + string(rune('a'+i%26)) + strings.Repeat("x", i%7) + " " + string(rune(0x4e00+i%20000)) + string(rune(0x4e00+i/20)) + " ")
	}
	bad := map[string]*pipeline.Vector{
		"rich": {ID: "rich", Text: str(words.String()), Embedding: vec()}, "nan": {ID: "nan", Embedding: []float32{float32(math.NaN())}},
		"lost":   {ID: "lost", Text: str("kept in the quarantine")},
		"number": {ID: "number", Metadata: []byte(`{"a":1e200000}`), Embedding: vec()},
	}
	// An id that compresses away is stored; this one does not.
	b := make([]byte, 20_000)
	r := rand.New(rand.NewPCG(5, 5))
	for i := range b {
		b[i] = byte('0' + r.IntN(70))
	}
	bad["long id"] = &pipeline.Vector{ID: string(b), Embedding: vec()}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		src.add("file-bad", bad[name], &pipeline.Vector{ID: "good beside " + name, Embedding: vec()})
	}
	begin(t, s)
	if err := move(t.Context(), src, s); err != nil {
		t.Fatal(err)
	}
	reasons := map[string]pipeline.Reason{}
	for r, err := range s.Journal().Refusals(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Record) == 0 || r.Unit != "vectors/file-bad" || len(r.Detail) > 200 {
			t.Errorf("%s: record %s of %s", r.Key, r.Record, r.Unit)
		}
		reasons[r.Key] = r.Reason
	}
	want := map[string]pipeline.Reason{"rich": pipeline.TooLong, "nan": pipeline.Invalid, string(b): pipeline.TooLong, "lost": pipeline.NeedsEmbedding, "number": pipeline.Invalid}
	if !maps.Equal(reasons, want) {
		t.Errorf("refused %d: %v", len(reasons), slices.Collect(maps.Values(reasons)))
	}
	var changed []string
	for c, err := range s.Journal().Changes(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		changed = append(changed, c.Key+" "+c.Column+" "+string(c.Reason))
	}
	slices.Sort(changed)
	if !slices.Equal(changed, []string{"m nul vmetadata nul", "m surrogate vmetadata nul", "nul text nul"}) {
		t.Errorf("ledger %q", changed)
	}
	if err := s.Journal().Accept(t.Context(), []pipeline.Reason{pipeline.TooLong, pipeline.Invalid, pipeline.NeedsEmbedding}); err != nil {
		t.Fatal(err)
	}
	equal(t, src, s)
	if got := scan[string](t, conn, "SELECT vmetadata::text FROM document_chunk WHERE id = 'm float'"); got != `{"a": 3.0}` {
		t.Errorf("3.0 became %s", got)
	}
	if n := scan[int](t, conn, "SELECT count(*) FROM document_chunk WHERE text IS NULL AND vmetadata IS NULL AND id = 'none'"); n != 1 {
		t.Error("absent text and metadata are not NULL")
	}
	if got := scan[string](t, conn, "SELECT vector::text FROM document_chunk WHERE id = 'short'"); got != "[1,0,0,0]" {
		t.Errorf("padded to %s", got)
	}
	// A changed value and a deleted row are seen.
	run(t, conn, `UPDATE document_chunk SET vmetadata = '{"a": 3}' WHERE id = 'm float'`)
	run(t, conn, "DELETE FROM document_chunk WHERE id = 'zero'")
	run(t, conn, "INSERT INTO document_chunk (id, collection_name, vector) VALUES ('foreign', 'file-text', '[1,2,3,4]')")
	_, found := verify(t, src, s)
	var kinds []string
	for _, d := range found {
		kinds = append(kinds, d.Kind+" "+d.Column)
	}
	slices.Sort(kinds)
	if !slices.Equal(kinds, []string{"differs vmetadata", "extra ", "missing "}) {
		t.Errorf("found %+v", found)
	}
}

func TestEqualIdsAreRefusedWithTheOtherCollection(t *testing.T) {
	cfg := config(servers.PostgreSQL(t), 8)
	cfg.Writers = 1
	s, src := open(t, cfg), corpus(50, 8, 3)
	for _, v := range src.by["1f0e"] { // a copied collection
		src.add("copy", v)
	}
	other := *src.by["file-0c"][0]
	src.add("mixed", &pipeline.Vector{ID: "own", Embedding: other.Embedding}, &other, &pipeline.Vector{ID: "own2", Embedding: other.Embedding})
	begin(t, s)
	if err := pipeline.Copy(t.Context(), pipeline.Job[*pipeline.Vector]{Source: src, Sink: s, Transforms: transforms(cfg), Workers: 1}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for r, err := range s.Journal().Refusals(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		holder := "1f0e"
		if r.Unit == "vectors/mixed" {
			holder = "file-0c"
		}
		if r.Reason != pipeline.Duplicate || !strings.Contains(r.Detail, `"`+holder+`"`) {
			t.Errorf("%+v", r)
		}
		n++
	}
	if n != 11 {
		t.Errorf("%d refused", n)
	}
	if err := s.Journal().Accept(t.Context(), []pipeline.Reason{pipeline.Duplicate}); err != nil {
		t.Fatal(err)
	}
	equal(t, src, s)
}

func TestTooLongIsNeverCutOff(t *testing.T) {
	cfg := config(servers.PostgreSQL(t), 8)
	s, src := open(t, cfg), corpus(10, 9, 4)
	begin(t, s)
	units, _ := src.Units(t.Context())
	findings, err := s.Check(t.Context(), units)
	if err != nil || !slices.ContainsFunc(findings, func(f pipeline.Finding) bool {
		return f.Severity == pipeline.Refuse && f.Reason == Dimension && strings.Contains(f.Fix, "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH=9")
	}) {
		t.Errorf("findings %+v, %v", findings, err)
	}
	if err := s.Prepare(t.Context(), units[0]); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("prepared: %v", err)
	}
	u := pipeline.Unit{Lane: pipeline.Vectors, Name: "x"} // of unknown dimension
	if err := s.Prepare(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	part := pipeline.Part{Unit: u}
	if err := s.Journal().Fix(t.Context(), u, []pipeline.Part{part}); err != nil {
		t.Fatal(err)
	}
	out, err := s.Write(t.Context(), pipeline.Batch[*pipeline.Vector]{Part: part, Next: "1", Records: src.by["1f0e"]})
	if err != nil || out.Written != 0 || len(out.Refused) != 2 || out.Refused[0].Reason != pipeline.TooLong {
		t.Errorf("%+v %v", out, err)
	}
}

func TestErrorsAreTheOperators(t *testing.T) {
	cfg := config(servers.PostgreSQL(t), 8)
	r := openReader(t, reader.Config{PG: cfg.PG})
	if _, err := r.Units(t.Context()); pipeline.ExitCode(err) != pipeline.ExitEnvironment {
		t.Errorf("no table: %v", err)
	}
	var pe *pipeline.Error
	bare := config(servers.PostgreSQL(t, servers.NoExtension), 8)
	s := open(t, bare)
	begin(t, s)
	err := s.Prepare(t.Context(), pipeline.Unit{Lane: pipeline.Vectors, Name: "x"})
	if !errors.As(err, &pe) || pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), "as superuser") {
		t.Errorf("an ordinary role made an untrusted extension: %v, %s", err, pipeline.HintOf(err))
	}
	findings, err := s.Check(t.Context(), nil)
	if err != nil || len(findings) != 1 || findings[0].Severity != pipeline.Refuse || findings[0].Reason != Extension {
		t.Errorf("%+v %v", findings, err)
	}
	run(t, connect(t, servers.SuperDSN(t, bare.PG.URL.Reveal())), "CREATE EXTENSION vector")
	if err := s.Prepare(t.Context(), pipeline.Unit{Lane: pipeline.Vectors, Name: "x"}); err != nil {
		t.Errorf("after the hint was followed: %v", err)
	}
}
