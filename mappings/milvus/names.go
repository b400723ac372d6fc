package milvus

import (
	"context"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
)

// Names that Open WebUI's clients give. The plain client knows no other prefix.
const (
	Prefix  = "open_webui"
	Staging = "_bm25_staging" // behind the name of a collection that Open WebUI is rewriting
)

// The five shared collections of multitenancy, behind MILVUS_COLLECTION_PREFIX.
const (
	Memories  = "memories"
	Knowledge = "knowledge"
	Files     = "files"
	WebSearch = "web_search"
	HashBased = "hash_based"
)

// Classes lists the shared collections in the order of their names.
func Classes() []string { return []string{Files, HashBased, Knowledge, Memories, WebSearch} }

// KnowledgeBases is the collection in which Open WebUI searches for knowledge
// bases; its records' ids are theirs.
const KnowledgeBases = "knowledge-bases"

// MaxName is the longest name of a collection, in bytes.
const MaxName = 255

var (
	collectionName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	resourceName   = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// Class is the shared collection that a logical collection is kept in, without
// the prefix.
func Class(logical string) string { return strings.ReplaceAll(vectors.Class(logical), "-", "_") }

// Physical is the name of the collection in Milvus that holds a logical one.
func Physical(cfg env.MilvusConfig, logical string) string {
	if cfg.Multitenancy {
		return cfg.Prefix + "_" + Class(logical)
	}
	return Prefix + "_" + strings.ReplaceAll(logical, "-", "_")
}

// BadName says why Milvus, or Open WebUI's client, takes no collection of this
// logical name; "" when it can be.
func BadName(cfg env.MilvusConfig, logical string) string {
	if cfg.Multitenancy {
		if len(logical) > MaxName || !resourceName.MatchString(logical) {
			return "Open WebUI's client takes letters, digits, _ and - only, 255 at most"
		}
		return ""
	}
	name := Physical(cfg, logical)
	switch {
	case !collectionName.MatchString(name) || logical == "":
		return "Milvus takes letters, digits and _ only in the name of a collection"
	case len(name) > MaxName:
		return "Milvus takes 255 characters in the name of a collection"
	case strings.HasSuffix(name, Staging):
		return "Open WebUI takes a name that ends in " + Staging + " for an unfinished rewrite, and drops it"
	}
	return ""
}

// IDSpace names the id space of a logical collection: ids are distinct inside a
// collection, with multitenancy inside a class.
func IDSpace(cfg env.MilvusConfig, logical string) string {
	if cfg.Multitenancy {
		return Class(logical)
	}
	return Physical(cfg, logical)
}

const underscored = `[0-9a-f]{8}_[0-9a-f]{4}_[0-9a-f]{4}_[0-9a-f]{4}_[0-9a-f]{12}`

// sure are the names of Open WebUI's own making, which the replacement of - by
// _ has not made ambiguous.
var sure = []*regexp.Regexp{
	regexp.MustCompile(`^(?:file_)?` + underscored + `$`),
	regexp.MustCompile(`^user_memory_` + underscored + `$`),
	regexp.MustCompile(`^web_search_` + underscored + `_[0-9a-f]{1,15}$`),
	regexp.MustCompile(`^knowledge_bases$`),
}

// IDs lists the ids of a table of Open WebUI's relational database (knowledge,
// file, user).
type IDs func(ctx context.Context, table string) iter.Seq2[string, error]

// Recover finds the logical names of collections of the plain layout from what
// stands behind the prefix. A name of Open WebUI's own making gets its hyphens
// back, and so does one that the id of a knowledge base, a file or a user leads
// to. Any other name keeps its _ and is listed in unsure, unless it has none.
// ids may be nil.
func Recover(ctx context.Context, stripped []string, ids IDs) (names map[string]string, unsure []string, err error) {
	names = make(map[string]string, len(stripped))
	open := map[string]bool{}
	for _, s := range stripped {
		names[s] = s
		if !strings.Contains(s, "_") {
			continue
		}
		if slices.ContainsFunc(sure, func(r *regexp.Regexp) bool { return r.MatchString(s) }) {
			names[s] = strings.ReplaceAll(s, "_", "-")
		} else {
			open[s] = true
		}
	}
	if ids != nil && len(open) > 0 {
		for _, t := range []struct{ table, before string }{{"knowledge", ""}, {"file", "file-"}, {"user", "user-memory-"}} {
			for id, err := range ids(ctx, t.table) {
				if err != nil {
					return nil, nil, err
				}
				logical := t.before + id
				if s := strings.ReplaceAll(logical, "-", "_"); open[s] {
					names[s] = logical
					delete(open, s)
				}
			}
		}
	}
	return names, slices.Sorted(maps.Keys(open)), nil
}
