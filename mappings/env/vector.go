package env

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// otherStores are the vector stores of Open WebUI 0.12.4 that outgrow does not
// know (retrieval/vector/type.py).
var otherStores = []string{"mariadb-vector", "elasticsearch", "opensearch", "oracle23ai", "s3vector", "weaviate", "opengauss", "valkey"}

// MaxVectorLength is the longest vector that pgvector's type vector can index
// and Open WebUI starts with unless PGVECTOR_USE_HALFVEC is true.
const MaxVectorLength = 2000

func (l *loader) vector() {
	kind, ok := l.vars["VECTOR_DB"]
	if !ok {
		kind = Chroma
		if l.isTrue("USE_SLIM_DOCKER", false) {
			kind = PGVector
		}
	}
	v := &l.d.Vector
	v.Kind = kind
	switch {
	case kind == Chroma:
		v.Path = filepath.Join(l.d.Mount, "vector_db")
		l.chroma(&v.Chroma)
	case kind == PGVector:
		l.pgvector(&v.PG)
	case kind == Qdrant:
		l.qdrant(&v.Qdrant)
	case kind == Milvus:
		l.milvus(&v.Milvus)
	case kind == Pinecone:
		l.pinecone(&v.Pinecone)
	case slices.Contains(otherStores, kind):
		l.notYet("VECTOR_DB", "the vector store "+kind, "use one of chroma, pgvector, qdrant, milvus, pinecone")
	default:
		fix := "write one of chroma, pgvector, qdrant, milvus, pinecone"
		if low := strings.ToLower(strings.TrimSpace(kind)); low != kind {
			fix = "write it in lower case, without blanks"
		}
		l.fail("VECTOR_DB", fmt.Sprintf("Open WebUI has no vector store %q", kind), fix)
	}
}

func (l *loader) pgvector(p *PGVectorConfig) {
	raw, given := l.vars["PGVECTOR_DB_URL"]
	p.OwnURL = given
	switch {
	case !given && l.d.Database.Kind == Postgres:
		p.URL = l.d.Database.URL
	case !given && l.d.Database.Kind == SQLite:
		l.fail("PGVECTOR_DB_URL", "VECTOR_DB is pgvector but the database is SQLite", "set PGVECTOR_DB_URL=postgresql://…, or a PostgreSQL DATABASE_URL")
	case !given: // DATABASE_URL is at fault, and has been named
	case !strings.HasPrefix(raw, "postgres"):
		l.fail("PGVECTOR_DB_URL", "is not a PostgreSQL URL", "write postgresql://USER:PASSWORD@HOST:5432/NAME")
	default:
		if strings.HasPrefix(raw, "postgres://") {
			// This variable is not rewritten by Open WebUI as DATABASE_URL is.
			l.warn("PGVECTOR_DB_URL", "begins with postgres://, which Open WebUI takes in DATABASE_URL only", "write postgresql://")
		}
		p.URL = l.postgres("PGVECTOR_DB_URL", strings.Replace(raw, "postgres://", "postgresql://", 1))
	}
	p.HalfVec = l.isTrue("PGVECTOR_USE_HALFVEC", false)
	p.MaxLength = 1536
	if s, ok := l.vars["PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH"]; ok {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 {
			l.fail("PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH", fmt.Sprintf("%q is not a number of dimensions", s), "write the dimension of the embedding model, such as 1536")
		}
		p.MaxLength = n
	}
	if p.MaxLength > MaxVectorLength && !p.HalfVec {
		l.fail("PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH", fmt.Sprintf("%d is above %d, which Open WebUI starts with only for halfvec", p.MaxLength, MaxVectorLength),
			"set PGVECTOR_USE_HALFVEC=true")
	}
	if p.MaxLength > 2*MaxVectorLength {
		l.fail("PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH", fmt.Sprintf("%d is above %d, the most that pgvector can index as halfvec", p.MaxLength, 2*MaxVectorLength),
			"use an embedding model with fewer dimensions, or another vector store")
	}
	p.IndexMethod = strings.ToLower(strings.TrimSpace(l.vars["PGVECTOR_INDEX_METHOD"]))
	if m := p.IndexMethod; m != "" && m != "ivfflat" && m != "hnsw" {
		l.warn("PGVECTOR_INDEX_METHOD", fmt.Sprintf("%q is unknown: Open WebUI takes its default", m), "write hnsw or ivfflat, or remove it")
		p.IndexMethod = ""
	}
	if p.IndexMethod == "" && p.HalfVec {
		p.IndexMethod = "hnsw"
	}
	p.HNSWM = l.number("PGVECTOR_HNSW_M", 16)
	p.HNSWEf = l.number("PGVECTOR_HNSW_EF_CONSTRUCTION", 64)
	p.IVFFlatLists = l.number("PGVECTOR_IVFFLAT_LISTS", 100)
	p.IterativeScan = strings.ToLower(strings.TrimSpace(l.vars["PGVECTOR_ITERATIVE_SCAN"]))
	if m := p.IterativeScan; m != "off" && m != "strict_order" && m != "relaxed_order" {
		if m != "" {
			l.warn("PGVECTOR_ITERATIVE_SCAN", fmt.Sprintf("%q is unknown: Open WebUI takes its default", m), "write off, relaxed_order or strict_order, or remove it")
		}
		p.IterativeScan = "relaxed_order"
	}
	p.CreateExtension = l.isTrue("PGVECTOR_CREATE_EXTENSION", true)
	p.PGCrypto = l.isTrue("PGVECTOR_PGCRYPTO", false)
	p.PGCryptoKey = Secret(l.vars["PGVECTOR_PGCRYPTO_KEY"])
	if p.PGCrypto && p.PGCryptoKey == "" {
		l.fail("PGVECTOR_PGCRYPTO_KEY", "is missing while PGVECTOR_PGCRYPTO is true: Open WebUI refuses to start", "set the key")
	}
}
