package vectors

import (
	"fmt"
	"strings"

	"outgrow/mappings/env"
)

// The names that Open WebUI's client gives in PostgreSQL. The table stands in
// the connection's current schema: DATABASE_SCHEMA does not move it.
const (
	Table           = "document_chunk"
	CollectionIndex = "idx_document_chunk_collection_name"
	TextIndex       = "idx_document_chunk_text_search"
	VectorIndex     = "idx_document_chunk_vector"
)

// Columns of the table in the order in which they are written and read.
const Columns = "id, vector, collection_name, text, vmetadata"

// Methods of the vector index.
const (
	IVFFlat = "ivfflat"
	HNSW    = "hnsw"
)

// Longest vectors that pgvector can index and Open WebUI starts with.
const (
	MaxVector  = 2000
	MaxHalfVec = 4000
)

// RowsPerList times PGVECTOR_IVFFLAT_LISTS is the number of rows from which
// Open WebUI makes an ivfflat index at a start; below it searches are exact.
const RowsPerList = 50

// PGLayout is the table as a deployment's variables ask for it.
type PGLayout struct {
	MaxLength int
	HalfVec   bool
	Crypto    bool   // text and metadata are encrypted
	Method    string // of the vector index: IVFFlat or HNSW
	M, Ef     int    // of HNSW
	Lists     int    // of IVFFlat
}

// PG gives the layout for a configuration. Without PGVECTOR_INDEX_METHOD it is
// hnsw for halfvec and ivfflat otherwise.
func PG(cfg env.PGVectorConfig) PGLayout {
	l := PGLayout{MaxLength: cfg.MaxLength, HalfVec: cfg.HalfVec, Crypto: cfg.PGCrypto, Method: cfg.IndexMethod, M: cfg.HNSWM, Ef: cfg.HNSWEf, Lists: cfg.IVFFlatLists}
	if l.Method == "" {
		l.Method = IVFFlat
		if l.HalfVec {
			l.Method = HNSW
		}
	}
	return l
}

// TypeName is the extension's type of the column vector.
func (l PGLayout) TypeName() string {
	if l.HalfVec {
		return "halfvec"
	}
	return "vector"
}

// ColumnType is the type with its dimension, as format_type prints it.
func (l PGLayout) ColumnType() string { return fmt.Sprintf("%s(%d)", l.TypeName(), l.MaxLength) }

// OpClass is the vector index's operator class. Open WebUI searches by cosine
// distance only: an index of another class is never used.
func (l PGLayout) OpClass() string { return l.TypeName() + "_cosine_ops" }

// TextType is the type of the column text.
func (l PGLayout) TextType() string {
	if l.Crypto {
		return "bytea"
	}
	return "text"
}

// MetadataType is the type of the column vmetadata.
func (l PGLayout) MetadataType() string {
	if l.Crypto {
		return "bytea"
	}
	return "jsonb"
}

// Indexes are the names of the secondary indexes that Open WebUI always makes:
// encrypted text has none.
func (l PGLayout) Indexes() []string {
	if l.Crypto {
		return []string{CollectionIndex}
	}
	return []string{CollectionIndex, TextIndex}
}

// CreateTable makes the table where it is missing, without secondary indexes.
func (l PGLayout) CreateTable() string {
	return "CREATE TABLE IF NOT EXISTS " + Table + " (id text NOT NULL, vector " + l.ColumnType() +
		", collection_name text NOT NULL, text " + l.TextType() + ", vmetadata " + l.MetadataType() + ", PRIMARY KEY (id))"
}

// CreateIndex gives the statement for one of the three named indexes, "" for
// any other name. It does nothing where the index is there.
func (l PGLayout) CreateIndex(name string) string {
	head := "CREATE INDEX IF NOT EXISTS " + name + " ON " + Table
	switch name {
	case CollectionIndex:
		return head + " (collection_name)"
	case TextIndex:
		return head + " USING gin (to_tsvector('simple', coalesce(text, '')))"
	case VectorIndex:
		with := fmt.Sprintf("lists = %d", l.Lists)
		if l.Method == HNSW {
			with = fmt.Sprintf("m = %d, ef_construction = %d", l.M, l.Ef)
		}
		return fmt.Sprintf("%s USING %s (vector %s) WITH (%s)", head, l.Method, l.OpClass(), with)
	}
	return ""
}

// WantsVectorIndex reports whether Open WebUI would make the vector index at a
// start with this many rows in the table.
func (l PGLayout) WantsVectorIndex(rows int64) bool {
	return l.Method == HNSW || rows >= RowsPerList*int64(l.Lists)
}

// SameType compares a column's type as format_type prints it (with or without
// the extension's schema in front) with the layout's.
func (l PGLayout) SameType(formatted string) bool {
	return formatted[strings.LastIndexByte(formatted, '.')+1:] == l.ColumnType()
}
