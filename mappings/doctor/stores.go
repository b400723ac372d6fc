package doctor

import (
	"fmt"
	"slices"
	"strings"

	"outgrow/mappings/env"
)

// onStore looks at the vector store, if it has a server of its own that answers.
func onStore(look func(Facts, *Store) verdict) func(Facts) verdict {
	return func(f Facts) verdict {
		switch s := f.Answers.Store; {
		case s == nil:
			return verdict{}
		case s.Down != "":
			return unknown(s.Name + " does not answer")
		default:
			return look(f, s)
		}
	}
}

func storeChecks() []check {
	return []check{
		{"D59", Must, "the vector store", "a server that answers", "uploads and searches of documents fail",
			func(f Facts) verdict {
				s := f.Answers.Store
				return when(s != nil && s.Down != "", text(s).Down, "correct "+reached(text(s).Name)+", or start the server")
			}, false},
		{"D26", Must, "ENABLE_QDRANT_MULTITENANCY_MODE, ENABLE_MILVUS_MULTITENANCY_MODE", "the layout that the store has", "knowledge looks empty, files and memories are missing", onStore(layout), false},
		{"D27", Must, "QDRANT_COLLECTION_PREFIX, MILVUS_COLLECTION_PREFIX", "the prefix that the store has", "knowledge looks empty",
			onStore(func(f Facts, s *Store) verdict {
				name := strings.ToUpper(f.Vector.Kind) + "_COLLECTION_PREFIX"
				return when(!f.fresh() && s.Own == 0 && s.Other == 0 && len(s.Alien) > 0, "no collection has the prefix, others are there: "+some(s.Alien), name+"="+strings.Join(s.Alien[:min(len(s.Alien), 1)], ""))
			}), false},
		{"D29", Must, "PINECONE_DIMENSION, PINECONE_METRIC", "what the index has; cosine", "every upsert is refused, or the scores are wrong", onStore(pinecone), false},
		{"D30", Must, "the payload indexes in Qdrant, in strict mode", "tenant_id, metadata.hash and metadata.file_id", "filters are refused",
			onStore(func(_ Facts, s *Store) verdict {
				return when(s.Strict && len(s.Bare) > 0, "missing in "+some(s.Bare), "let outgrow make them (migrate), or Qdrant's API: PUT /collections/NAME/index")
			}), false},
		{"D30", Should, "the payload indexes in Qdrant", "tenant_id, metadata.hash and metadata.file_id", "filters are slow",
			onStore(func(_ Facts, s *Store) verdict {
				return when(!s.Strict && len(s.Bare) > 0, "missing in "+some(s.Bare), "let outgrow make them (migrate), or Qdrant's API: PUT /collections/NAME/index")
			}), false},
	}
}

// fresh reports whether the database is known to hold no deployment's files yet.
// What a store holds then is nothing, or somebody else's.
func (f Facts) fresh() bool {
	r := f.Answers.Rows
	return r != nil && r.Down == "" && (len(r.Heads) == 0 || r.Files == 0)
}

// reached lists the variables that a store is reached by, of which name is one.
func reached(name string) string {
	for _, all := range [][]string{
		{"MILVUS_URI", "MILVUS_DB", "MILVUS_TOKEN"},
		{"QDRANT_URI", "QDRANT_GRPC_PORT", "QDRANT_API_KEY"},
		{"CHROMA_HTTP_HOST", "CHROMA_HTTP_PORT", "CHROMA_TENANT", "CHROMA_DATABASE", "CHROMA_CLIENT_AUTH_CREDENTIALS"},
	} {
		if slices.Contains(all, name) {
			return strings.Join(all, ", ")
		}
	}
	return name
}

// text is a store that is there.
func text(s *Store) Store {
	if s == nil {
		return Store{}
	}
	return *s
}

func layout(f Facts, s *Store) verdict {
	name, on := "ENABLE_QDRANT_MULTITENANCY_MODE", f.Vector.Qdrant.Multitenancy
	if f.Vector.Kind == env.Milvus {
		name, on = "ENABLE_MILVUS_MULTITENANCY_MODE", f.Vector.Milvus.Multitenancy
	}
	return when(!f.fresh() && s.Own == 0 && s.Other > 0, fmt.Sprintf("%t, while all %d collections have the other layout", on, s.Other), fmt.Sprintf("%s=%t", name, !on))
}

func pinecone(f Facts, s *Store) verdict {
	cfg := f.Vector.Pinecone
	switch {
	case f.Vector.Kind != env.Pinecone || s.Missing: // Open WebUI makes it
		return verdict{}
	case s.Dim != cfg.Dimension:
		return verdict{found: fmt.Sprintf("%d, the index has %d", cfg.Dimension, s.Dim), line: fmt.Sprintf("PINECONE_DIMENSION=%d", s.Dim)}
	}
	return when(s.Metric != "cosine" || cfg.Metric != s.Metric, cfg.Metric+", the index has "+s.Metric, "PINECONE_METRIC=cosine, with an index of cosine")
}

// Prefixes finds the prefixes under which a store has Open WebUI's shared
// collections, other than own. classes are what stands behind the prefix.
func Prefixes(names, classes []string, own string) []string {
	var out []string
	for _, n := range names {
		for _, c := range classes {
			p, ok := strings.CutSuffix(n, "_"+c)
			if ok && p != own && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	slices.Sort(out)
	return out
}
