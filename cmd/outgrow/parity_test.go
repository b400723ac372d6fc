package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outgrow/mappings/env"
)

// verify searches on the target: it tells a poor index from wrong records.
func TestVerifySearches(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate().exits(0)
	l.equal("--only", "vectors").says("in 45 collections: recall@10 1.000, lowest 1.000")
	var r report
	body, err := os.ReadFile(filepath.Join(l.dir, "scaled.outgrow", "report.json"))
	if err != nil || json.Unmarshal(body, &r) != nil || r.Verify.Search == nil {
		t.Fatalf("%v\n%s", err, body)
	}
	if s := r.Verify.Search; !s.OK || len(s.Units) != 45 || s.Searches < 200 || s.ScoreDifference > 1e-6 || s.Units[0].Exact == nil {
		t.Errorf("%+v", s)
	}
	quiet := l.verify("--only", "vectors", "--searches", "0").exits(0)
	if strings.Contains(quiet.out, "recall") {
		t.Errorf("searched although it should not:\n%s", quiet.out)
	}
	l.verify("--min-recall", "2").exits(2, "--min-recall is not between 0 and 1")

	l.set("PGVECTOR_ITERATIVE_SCAN", "off")
	// One list of very many is looked through: hardly anything is found.
	do(t, l.dsn, "CREATE INDEX idx_document_chunk_vector ON document_chunk USING ivfflat (vector vector_cosine_ops) WITH (lists = 60)",
		"DROP INDEX idx_document_chunk_collection_name", "ALTER ROLE CURRENT_USER SET enable_seqscan = off", "ANALYZE document_chunk")
	l.verify("--only", "vectors").exits(4, "its records are right", "pgvector ivfflat (PGVECTOR_IVFFLAT_LISTS=100)", "every record is equal, but searches")
	out := l.verify("--only", "vectors", "--json").exits(4).out
	if !strings.Contains(out, `"search":{"ok":false,"min_recall":0.95`) {
		t.Errorf("no search in %s", out)
	}
	l.verify("--only", "vectors", "--min-recall", "0").exits(0, "verify: equal")

	// Records that answer for others are a fault, whatever may be accepted.
	do(t, l.dsn, "DROP INDEX idx_document_chunk_vector", "CREATE TEMP TABLE n AS SELECT id, row_number() OVER (ORDER BY id) AS n, vector FROM document_chunk",
		"UPDATE document_chunk d SET vector = b.vector FROM n a JOIN n b ON b.n = a.n % 674 + 1 WHERE a.id = d.id")
	l.verify("--only", "vectors", "--min-recall", "0").exits(4, "do not answer as the source's", "of the nearest")
}

func TestIndexText(t *testing.T) {
	for want, v := range map[string]env.Vector{
		"PGVECTOR_HNSW_M=16, PGVECTOR_HNSW_EF_CONSTRUCTION=64": {Kind: env.PGVector, PG: env.PGVectorConfig{HalfVec: true, HNSWM: 16, HNSWEf: 64}},
		"QDRANT_HNSW_M=8, as payload_m":                        {Kind: env.Qdrant, Qdrant: env.QdrantConfig{HNSWM: 8, Multitenancy: true}},
		"MILVUS_HNSW_M=8, MILVUS_HNSW_EFCONSTRUCTION=9":        {Kind: env.Milvus, Milvus: env.MilvusConfig{IndexType: "HNSW", HNSWM: 8, HNSWEf: 9}},
		"MILVUS_IVF_FLAT_NLIST=7":                              {Kind: env.Milvus, Milvus: env.MilvusConfig{IndexType: "IVF_FLAT", IVFFlatNlist: 7}},
		"MILVUS_DISKANN_MAX_DEGREE=5":                          {Kind: env.Milvus, Milvus: env.MilvusConfig{IndexType: "DISKANN", DiskANNDegree: 5}},
		"Milvus FLAT (MILVUS_INDEX_TYPE)":                      {Kind: env.Milvus, Milvus: env.MilvusConfig{IndexType: "FLAT"}},
		"index of docs (PINECONE_INDEX_NAME)":                  {Kind: env.Pinecone, Pinecone: env.PineconeConfig{Index: "docs"}},
		"Chroma hnsw":                                          {Kind: env.Chroma, Chroma: env.ChromaConfig{Host: "chroma.internal"}},
		"no index before a collection is used":                 {Kind: env.Chroma},
	} {
		if got := indexText(v); !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
	if got := otherMetric(env.Vector{Kind: env.Milvus, Milvus: env.MilvusConfig{MetricType: "L2"}}); got != "MILVUS_METRIC_TYPE is L2, not cosine" {
		t.Error(got)
	}
	if got := otherMetric(env.Vector{Kind: env.Pinecone, Pinecone: env.PineconeConfig{Metric: "cosine"}}); got != "" {
		t.Error(got)
	}
}
