package pgvector

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// start makes the table as a first start of Open WebUI does, for a layout.
func start(t *testing.T, cfg env.PGVectorConfig) {
	t.Helper()
	c, l := connect(t, cfg.URL.Reveal()), vectors.PG(cfg)
	run(t, c, l.CreateTable())
	run(t, c, l.CreateIndex(vectors.VectorIndex))
	run(t, c, l.CreateIndex(vectors.TextIndex))
	run(t, c, l.CreateIndex(vectors.CollectionIndex))
}

func TestTargetThatDoesNotFit(t *testing.T) {
	hnsw := func(c *env.PGVectorConfig) { c.IndexMethod = "hnsw" }
	cases := []struct {
		name     string
		made     func(*env.PGVectorConfig) // the variables at the first start
		then     string                    // what was done to the table since
		want     func(*Config)             // the variables now
		severity pipeline.Severity         // "" when it fits
		reason   pipeline.Reason
		fix      string
	}{
		{name: "as it should be", made: hnsw, want: func(c *Config) { hnsw(&c.PG) }},
		{name: "other method", made: hnsw, severity: pipeline.Refuse, reason: Layout, fix: "PGVECTOR_INDEX_METHOD=hnsw"},
		{name: "other dimension", want: func(c *Config) { c.PG.MaxLength = 9 }, severity: pipeline.Refuse, reason: Dimension, fix: "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH"},
		{name: "other type", want: func(c *Config) { c.PG.HalfVec = true; c.PG.IndexMethod = "ivfflat" }, severity: pipeline.Refuse, reason: Dimension, fix: "PGVECTOR_USE_HALFVEC"},
		{name: "other class", then: "DROP INDEX idx_document_chunk_vector; CREATE INDEX idx_document_chunk_vector ON document_chunk USING ivfflat (vector vector_l2_ops)", severity: pipeline.Warn, reason: Layout, fix: "DROP INDEX"},
		{name: "encrypted", then: "ALTER TABLE document_chunk ALTER vmetadata TYPE bytea USING NULL", severity: pipeline.Refuse, reason: Layout, fix: "encrypted"},
		{name: "no key", then: "ALTER TABLE document_chunk DROP CONSTRAINT document_chunk_pkey", severity: pipeline.Refuse, reason: Layout, fix: "another database"},
		{name: "in use", then: "INSERT INTO document_chunk (id, collection_name) VALUES ('a', 'b')", severity: pipeline.Refuse, reason: InUse, fix: "--replace"},
		{name: "to be replaced", then: "INSERT INTO document_chunk (id, collection_name) VALUES ('a', 'b')", want: func(c *Config) { c.Replace = true }, severity: pipeline.Warn, reason: InUse},
		{name: "no rows there", want: func(c *Config) { c.RowsHere = false }, severity: pipeline.Refuse, reason: NoRows, fix: "same run"},
		{name: "no rows there, but a database of its own", want: func(c *Config) { c.RowsHere, c.PG.OwnURL = false, true }},
		{name: "rows in DATABASE_SCHEMA", then: "CREATE SCHEMA app; CREATE TABLE app.alembic_version (version_num text)", want: func(c *Config) { c.RowsHere, c.Schema = false, "app" }},
		{name: "2001 without halfvec", want: func(c *Config) { c.PG.MaxLength = 2001 }, severity: pipeline.Refuse, reason: Dimension, fix: "PGVECTOR_USE_HALFVEC=true"},
		{name: "4001 with halfvec", want: func(c *Config) { c.PG.MaxLength, c.PG.HalfVec = 4001, true }, severity: pipeline.Refuse, reason: Dimension, fix: "another vector store"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(servers.PostgreSQL(t), 8)
			first := cfg.PG
			if c.made != nil {
				c.made(&first)
			}
			start(t, first)
			if c.then != "" {
				run(t, connect(t, cfg.PG.URL.Reveal()), c.then)
			}
			if c.want != nil {
				c.want(&cfg)
			}
			s := open(t, cfg)
			findings, err := s.Check(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(findings, func(f pipeline.Finding) bool {
				return c.severity == "" || f.Severity == c.severity && f.Reason == c.reason && f.Text != "" && strings.Contains(f.Fix, c.fix)
			}) && (c.severity != "" || len(findings) > 0) {
				t.Errorf("findings %+v", findings)
			}
			begin(t, s)
			err = s.Prepare(t.Context(), pipeline.Unit{Lane: pipeline.Vectors, Name: "x"})
			refused := c.severity == pipeline.Refuse && c.reason != NoRows // which is for plan alone
			if refused != (pipeline.ExitCode(err) == pipeline.ExitUsage) || !refused && err != nil || c.reason == InUse && refused && !errors.Is(err, ErrInUse) {
				t.Errorf("prepare: %v", err)
			}
		})
	}
}

func TestDimensionsOfUnits(t *testing.T) {
	s := open(t, config(servers.PostgreSQL(t), 1536))
	unit := func(name string, dim int) pipeline.Unit {
		return pipeline.Unit{Lane: pipeline.Vectors, Name: name, Dim: dim}
	}
	findings, err := s.Check(t.Context(), []pipeline.Unit{unit("a", 384), unit("b", 384), unit("c", 3072), unit("d", 0)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range findings {
		got = append(got, string(f.Severity)+" "+f.Unit+" "+f.Fix)
	}
	want := []string{"refuse vectors/c set PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH=3072 on the target and PGVECTOR_USE_HALFVEC=true",
		"warn  queries by the present model find nothing sensible in the others: reindex those knowledge bases in Open WebUI"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A target that Open WebUI and its operator made keeps all of its indexes; while
// they are away the marks say so, also to the next process.
func TestIndexesOfTheTargetAreTakenAndComeBack(t *testing.T) {
	cfg := config(servers.PostgreSQL(t), 8)
	cfg.PG.IndexMethod = "hnsw"
	start(t, cfg.PG)
	conn := connect(t, cfg.PG.URL.Reveal())
	run(t, conn, `CREATE INDEX "own ""one""" ON document_chunk USING gin (vmetadata)`)
	run(t, conn, "CREATE INDEX expression ON document_chunk ((vmetadata ->> 'file_id'))")
	run(t, conn, "CREATE UNIQUE INDEX uniq ON document_chunk (id, collection_name)")
	run(t, conn, "CREATE INDEX other_hnsw ON document_chunk USING hnsw ((vector::vector(8)) vector_l2_ops) WITH (m=8)")
	before := indexes(t, conn)
	s, src := open(t, cfg), corpus(200, 8, 11)
	begin(t, s)
	units, _ := src.Units(t.Context())
	if err := s.Prepare(t.Context(), units[0]); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(indexes(t, conn))); !slices.Equal(got, []string{"document_chunk_pkey", "expression", "uniq"}) {
		t.Errorf("left for the load: %q", got)
	}
	s.Close()
	s = open(t, cfg)
	begin(t, s)
	marks, err := s.Journal().Marked(t.Context())
	if err != nil || len(marks) != 5 || marks["without:index:"+vectors.VectorIndex] != before[vectors.VectorIndex] {
		t.Errorf("marks %q, %v", marks, err)
	}
	if err := move(t.Context(), src, s); err != nil {
		t.Fatal(err)
	}
	if after := indexes(t, conn); !maps.Equal(before, after) {
		t.Errorf("before %q\nafter %q", before, after)
	}
	equal(t, src, s)
}

func TestReplaceStartsOver(t *testing.T) {
	cfg := config(servers.PostgreSQL(t), 8)
	conn := connect(t, cfg.PG.URL.Reveal())
	run(t, conn, "CREATE TABLE keep (id text); INSERT INTO keep VALUES ('k')")
	first, second := corpus(50, 8, 12), corpus(70, 8, 13)
	once := func(src *memory, stable string, replace bool) error {
		cfg.Replace = replace
		s := open(t, cfg)
		defer s.Close()
		if _, err := s.Journal().Begin(t.Context(), pipeline.Run{ID: stable, Source: pipeline.Identity{Stable: stable, State: "1"}, Target: "t"}); err != nil {
			return err
		}
		if err := move(t.Context(), src, s); err != nil {
			return err
		}
		equal(t, src, s)
		return nil
	}
	if err := once(first, "one", false); err != nil {
		t.Fatal(err)
	}
	if err := once(second, "two", false); !errors.Is(err, pipeline.ErrOtherPair) {
		t.Errorf("another source: %v", err)
	}
	for range 2 { // a complete run is started over as well
		if err := once(second, "two", true); err != nil {
			t.Fatal(err)
		}
		if n := scan[int](t, conn, "SELECT count(*) FROM document_chunk"); n != 70 {
			t.Errorf("%d records", n)
		}
	}
	if n := scan[int](t, conn, "SELECT count(*) FROM keep"); n != 1 {
		t.Error("another table was touched")
	}
	// An interrupted run that is given --replace again goes on where it was.
	cfg.Replace = true
	s := open(t, cfg)
	third, dead := corpus(90, 8, 14), errors.New("killed")
	id := pipeline.Run{ID: "3", Source: pipeline.Identity{Stable: "three", State: "1"}, Target: "t"}
	if _, err := s.Journal().Begin(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	third.batch = 5
	ctx, cancel := context.WithCancelCause(t.Context())
	n := 0
	for _, u := range func() []pipeline.Unit { u, _ := third.Units(ctx); return u }() {
		if err := s.Prepare(ctx, u); err != nil {
			t.Fatal(err)
		}
	}
	err := pipeline.Copy(ctx, pipeline.Job[*pipeline.Vector]{Source: third, Sink: s, Transforms: []pipeline.Transform[*pipeline.Vector]{
		func(_ pipeline.Unit, v *pipeline.Vector) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
			if n++; n == 40 {
				cancel(dead)
			}
			return v, nil, nil
		}}, Workers: 1})
	if err == nil {
		t.Fatal("it was not interrupted")
	}
	s.Close()
	there := scan[int](t, conn, "SELECT count(*) FROM document_chunk")
	if there == 0 || there == 90 {
		t.Fatalf("%d records after the interruption", there)
	}
	s = open(t, cfg)
	res, err := s.Journal().Begin(t.Context(), id)
	if err != nil || res.Fresh {
		t.Fatalf("%+v %v", res, err)
	}
	if got := scan[int](t, conn, "SELECT count(*) FROM document_chunk"); got != there {
		t.Errorf("%d of %d records were kept", got, there)
	}
	if err := move(t.Context(), third, s); err != nil {
		t.Fatal(err)
	}
	equal(t, third, s)
}

func TestPutNeverTakesFromAnotherCollection(t *testing.T) {
	cfg := config(servers.PostgreSQL(t), 8)
	cfg.PG.HalfVec = true
	s, src := open(t, cfg), corpus(20, 8, 15)
	begin(t, s)
	if err := move(t.Context(), src, s); err != nil {
		t.Fatal(err)
	}
	u := pipeline.Unit{Lane: pipeline.Vectors, Name: "1f0e"}
	foreign := src.by["file-0c"][0]
	own := &pipeline.Vector{ID: "repaired", Metadata: []byte(`{"a":3.0}`), Embedding: []float32{1e-7, 0.1, -65504, 3}}
	out, err := s.Put(t.Context(), u, []*pipeline.Vector{foreign, own, {ID: "bad", Embedding: make([]float32, 9)}})
	if err != nil || out.Written != 1 || len(out.Refused) != 2 || out.Refused[0].Reason != pipeline.TooLong && out.Refused[1].Reason != pipeline.TooLong {
		t.Fatalf("%+v %v", out, err)
	}
	src.add("1f0e", own)
	equal(t, src, s)
	// A next run knows that the record is its own.
	s.Close()
	s = open(t, cfg)
	begin(t, s)
	if u, err := s.usage(t.Context()); err != nil || u.foreign != 0 || u.rows != 21 {
		t.Errorf("%+v %v", u, err)
	}
}
