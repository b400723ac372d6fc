package doctor

import (
	"fmt"

	"outgrow/mappings/vectors"
)

// onVectors looks at the server of the vectors, if it is a PostgreSQL that
// answers.
func onVectors(look func(Facts, *Postgres) verdict) func(Facts) verdict {
	return func(f Facts) verdict {
		if !f.usesPGVector() {
			return verdict{}
		}
		return onServer(f, f.Answers.Vectors, look)
	}
}

// chunkChecks look at pgvector.
func chunkChecks() []check {
	return []check{
		{"D25", Must, "the extension vector", "installed, or Open WebUI's role may install it", "Open WebUI does not start",
			onVectors(func(f Facts, p *Postgres) verdict { return extension(p, "vector", f.Vector.PG.CreateExtension) }), false},
		{"D25", Must, "the extension pgcrypto", "installed, or Open WebUI's role may install it, for PGVECTOR_PGCRYPTO", "Open WebUI does not start",
			onVectors(func(f Facts, p *Postgres) verdict {
				if !f.Vector.PG.PGCrypto {
					return verdict{}
				}
				return extension(p, "pgcrypto", true)
			}), false},
		{"D25", Must, "the version of vector", "0.7 or later for halfvec, 0.5 for hnsw", "Open WebUI does not start", onVectors(vectorVersion), false},
		{"D23", Must, "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH, PGVECTOR_USE_HALFVEC", "what the column of document_chunk has", "\"VECTOR_LENGTH does not match\" at the start",
			onVectors(func(f Facts, p *Postgres) verdict {
				l := vectors.PG(f.Vector.PG)
				if p.Chunks == nil || l.SameType(p.Chunks.Type) {
					return verdict{}
				}
				return verdict{found: "the variables say " + l.ColumnType() + ", the column is " + p.Chunks.Type, line: columnLine(p.Chunks.Type)}
			}), false},
		{"D24", Should, "the index " + vectors.VectorIndex, "one of the configured method over all rows, made after they were loaded", "searches are slow, or silently miss what they should find", onVectors(vectorIndex), false},
	}
}

func vectorVersion(f Facts, p *Postgres) verdict {
	version := p.Extensions["vector"].Installed
	if version == "" {
		version = p.Extensions["vector"].Available
	}
	l := vectors.PG(f.Vector.PG)
	for feature, used := range map[string]bool{"halfvec": l.HalfVec, "hnsw": l.Method == vectors.HNSW} {
		if used && version != "" && older(version, feature) {
			return verdict{found: version + ", which has no " + feature, line: "ALTER EXTENSION vector UPDATE, after an update of pgvector on the server"}
		}
	}
	return verdict{}
}

// columnLine says how the variables name a column's type.
func columnLine(formatted string) string {
	var dim int
	for _, name := range []string{"halfvec", "vector"} {
		for i := range formatted {
			if _, err := fmt.Sscanf(formatted[i:], name+"(%d)", &dim); err == nil && dim > 0 {
				return fmt.Sprintf("PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH=%d and PGVECTOR_USE_HALFVEC=%t", dim, name == "halfvec")
			}
		}
	}
	return "another table, or the length that the column has"
}

func vectorIndex(f Facts, p *Postgres) verdict {
	l := vectors.PG(f.Vector.PG)
	line := "DROP INDEX IF EXISTS " + vectors.VectorIndex + "; " + l.CreateIndex(vectors.VectorIndex)
	switch c := p.Chunks; {
	case c == nil || c.Rows <= 0:
		return verdict{}
	case c.Invalid:
		return verdict{found: "it is there, and not valid", line: line}
	case c.Method == "":
		return when(l.WantsVectorIndex(c.Rows), fmt.Sprintf("none, over about %d rows", c.Rows), line)
	default:
		return when(c.Method != l.Method, c.Method+", while the variables ask for "+l.Method, line)
	}
}
