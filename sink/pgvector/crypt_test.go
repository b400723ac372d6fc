package pgvector

import (
	"context"
	"strings"
	"testing"

	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	reader "outgrow/source/pgvector"
	"outgrow/testdata/servers"
)

const cryptKey = "s3cret'key\\ é"

// standIn makes the table of an encrypted store on Debian's PostgreSQL 15,
// which has pgcrypto and no pgvector: the type vector is a domain over bytea
// that holds pgvector's binary form as it is sent, without its checks, casts and
// operators. Prepare, which would look for the real type, is passed over.
func standIn(t testing.TB) Config {
	cfg := config(servers.PostgreSQL15(t), 12)
	cfg.PG.PGCrypto, cfg.PG.PGCryptoKey = true, cryptKey
	c := connect(t, cfg.PG.URL.Reveal())
	for _, sql := range []string{"CREATE EXTENSION pgcrypto", "CREATE DOMAIN vector AS bytea",
		"CREATE FUNCTION vector_send(vector) RETURNS bytea LANGUAGE sql IMMUTABLE AS 'SELECT $1::bytea'",
		strings.Replace(vectors.PG(cfg.PG).CreateTable(), "vector vector(12)", "vector vector", 1)} {
		run(t, c, sql)
	}
	return cfg
}

func openStandIn(t testing.TB, cfg Config) *Sink {
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.prepared = true
	return s
}

func TestEncryptedWriterWithoutPgvectorOnAStandInTable(t *testing.T) {
	configs := map[string]Config{}
	pipetest.TestSink(t, pipetest.SinkCase[*pipeline.Vector]{
		Target: func(t testing.TB) string {
			cfg := standIn(t)
			configs[cfg.PG.URL.Reveal()] = cfg
			return cfg.PG.URL.Reveal()
		},
		Open: func(t testing.TB, target string) (pipeline.Sink[*pipeline.Vector], pipeline.Journal) {
			s := openStandIn(t, configs[target])
			return s, s.Journal()
		},
		Records: func(testing.TB) []pipetest.Expected[*pipeline.Vector] { return expected(corpus(60, 9, 6)) },
		Bad: func(testing.TB) []pipetest.Expected[*pipeline.Vector] {
			m, nul := &memory{}, "a\x00b"
			m.add("file-0c", &pipeline.Vector{ID: "nul", Text: &nul, Embedding: []float32{1}}, &pipeline.Vector{ID: "number", Metadata: []byte(`{"a":1e200000}`), Embedding: []float32{1}},
				&pipeline.Vector{ID: "escape", Metadata: []byte(`{"a":"\u0000"}`), Embedding: []float32{1}})
			return expected(m)
		},
		ReadBack: func(t testing.TB, target string) pipeline.Source[*pipeline.Vector] {
			return openReader(t, reader.Config{PG: configs[target].PG})
		},
		Equal: same,
		Seeds: 2,
	})
}

func TestEncryptedReaderWithoutPgvectorOnAStandInTable(t *testing.T) {
	cfg := standIn(t)
	m := corpus(90, 9, 8)
	s := openStandIn(t, cfg)
	defer s.Close()
	begin(t, s)
	if err := move(t.Context(), m, s); err != nil {
		t.Fatal(err)
	}
	c := connect(t, cfg.PG.URL.Reveal())
	if n := scan[int](t, c, "SELECT count(*) FROM document_chunk WHERE position('document' in encode(text, 'escape')) + position('file_id' in encode(vmetadata, 'escape')) > 0"); n != 0 {
		t.Errorf("%d records can be read without the key", n)
	}
	if n := scan[int](t, c, "SELECT count(*) FROM document_chunk WHERE pgp_sym_decrypt(text, $1) LIKE '%of a document%' AND pgp_sym_decrypt(vmetadata, $1)::jsonb ? 'file_id'", cryptKey); n != 90 {
		t.Errorf("Open WebUI's expressions read %d of 90 records", n)
	}
	// As Open WebUI's client writes: metadata is what it was given, not flat.
	raw := `{"pages": [1, null], "a": {"b": "\u2028"}, "s": 3.0}`
	run(t, c, "INSERT INTO document_chunk SELECT 'raw', vector, 'file-0c', pgp_sym_encrypt('t', $1), pgp_sym_encrypt($2, $1) FROM document_chunk LIMIT 1", cryptKey, raw)
	got, err := openReader(t, reader.Config{PG: cfg.PG}).Get(t.Context(), unit("file-0c", nil), []string{"raw"})
	if err != nil || string(got["raw"].Metadata) != raw || *got["raw"].Text != "t" {
		t.Errorf("%+v, %v", got, err)
	}
	run(t, c, "DELETE FROM document_chunk WHERE id = 'raw'")
	pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Vector]{
		Open: func(t testing.TB, limits pipeline.Limits) pipeline.Source[*pipeline.Vector] {
			return openReader(t, reader.Config{PG: cfg.PG, Limits: limits, IDPage: 13, Snapshot: true})
		},
		Want:  func(testing.TB) []pipetest.Expected[*pipeline.Vector] { return expected(m) },
		Equal: same,
	})

	// Records that the key does not open are refused one by one.
	broken := []string{m.by["1f0e"][3].ID, m.by["1f0e"][11].ID}
	run(t, c, "UPDATE document_chunk SET text = pgp_sym_encrypt('x', 'another') WHERE id = $1", broken[0])
	run(t, c, "UPDATE document_chunk SET vmetadata = 'no message'::bytea WHERE id = $1", broken[1])
	r := openReader(t, reader.Config{PG: cfg.PG, Limits: pipeline.Limits{Records: 5}})
	read, refused := 0, map[string]bool{}
	for b, err := range r.Read(t.Context(), pipeline.Part{Unit: unit("1f0e", nil)}, "") {
		if err != nil || b.Read != len(b.Records)+len(b.Refused) || b.Read > 5 {
			t.Fatalf("%+v, %v", b, err)
		}
		read += len(b.Records)
		for _, x := range b.Refused {
			refused[x.Key] = x.Reason == pipeline.Unreadable
		}
	}
	if read != 16 || len(refused) != 2 || !refused[broken[0]] || !refused[broken[1]] {
		t.Errorf("%d read, refused %v", read, refused)
	}

	// A wrong key is no quarantine full of records.
	wrong := cfg
	wrong.PG.PGCryptoKey = "wrong key"
	for _, err := range openReader(t, reader.Config{PG: wrong.PG}).Read(t.Context(), pipeline.Part{Unit: unit("file-0c", nil)}, "") {
		if pipeline.ExitCode(err) != pipeline.ExitEnvironment || strings.Contains(err.Error(), "wrong key'") || !strings.Contains(pipeline.HintOf(err), "PGVECTOR_PGCRYPTO_KEY") {
			t.Errorf("with a wrong key: %v", err)
		}
	}
	w := openStandIn(t, wrong)
	defer w.Close()
	if err := w.sameKey(t.Context(), facts{table: true}); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("another key's table: %v", err)
	}
	if err := s.sameKey(t.Context(), facts{table: true}); err != nil {
		t.Errorf("the same key: %v", err)
	}
	plain := cfg.PG
	plain.PGCrypto = false
	if _, err := reader.Open(t.Context(), reader.Config{PG: plain}); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("an encrypted table read as plain: %v", err)
	}
}

// What can be seen without both extensions in one server: the table's text, the
// extension itself, and what is refused where it is missing.
func TestEncryptedLayout(t *testing.T) {
	cfg := config(servers.PostgreSQL(t), 8)
	start(t, cfg.PG)
	cfg.PG.PGCrypto, cfg.PG.PGCryptoKey = true, cryptKey
	if _, err := reader.Open(t.Context(), reader.Config{PG: cfg.PG}); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("a plain table read as encrypted: %v", err)
	}
	s := open(t, cfg)
	if got := s.layout.CreateTable(); !strings.HasSuffix(got, "vector vector(8), collection_name text NOT NULL, text bytea, vmetadata bytea, PRIMARY KEY (id))") || len(s.layout.Indexes()) != 1 {
		t.Errorf("%s, %v", got, s.layout.Indexes())
	}
	fits := facts{installed: "0.8.5", visible: true, encoding: "UTF8", crypto: true, table: true, mine: true, key: "id",
		columns: map[string]string{"id": "text", "vector": "vector(8)", "collection_name": "text", "text": "bytea", "vmetadata": "bytea"}}
	if found := append(s.layoutFindings(fits), s.serverFindings(fits)...); len(found) != 0 {
		t.Errorf("an encrypted table is refused: %+v", found)
	}
	fits.columns["text"], fits.crypto = "text", false
	if found := s.layoutFindings(fits); len(found) != 1 || found[0].Reason != Layout {
		t.Errorf("%+v", found)
	}
	if found := s.serverFindings(fits); len(found) != 1 || found[0].Reason != Crypto || found[0].Severity != pipeline.Refuse {
		t.Errorf("%+v", found)
	}
	with := config(servers.PostgreSQL15(t), 8)
	with.PG.PGCrypto = true
	d := open(t, with)
	for range 2 {
		f, err := d.look(t.Context())
		if err != nil || !f.hasCrypto {
			t.Fatalf("%+v, %v", f, err)
		}
		if err := d.extendCrypto(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	if f, err := d.look(t.Context()); err != nil || !f.crypto {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := s.look(t.Context()); err == nil && !f.hasCrypto {
		if err := s.extendCrypto(t.Context(), f); pipeline.ExitCode(err) != pipeline.ExitEnvironment || !strings.Contains(pipeline.HintOf(err), "contrib") {
			t.Errorf("a server without pgcrypto: %v", err)
		}
	}
}
