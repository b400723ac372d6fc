// Package pinecone knows how Open WebUI lays records out in a Pinecone index,
// once for reader and writer. Source: Open WebUI 0.12.4,
// retrieval/vector/dbs/pinecone.py, and Pinecone's own documentation of limits
// (docs.pinecone.io, "Database limits", "Operation limits").
//
// All collections share one index and its default namespace. A record's
// metadata is its own, flat, and two keys more: text, and collection_name, which
// is the logical name behind a constant prefix. Ids are those of the
// application, so they are global over all collections. Metadata numbers are
// doubles.
//
// The order of use: [Transform] makes a record of any source one that Pinecone
// can take, or refuses it; the writer encodes it by [Encode]; the reader decodes
// it by [Decode]; [Compare] proves that what came back is what went in.
package pinecone

import (
	"fmt"
	"strings"

	"outgrow/mappings/env"
)

// Prefix stands before the logical name in collection_name. It is a constant of
// Open WebUI.
const Prefix = "open-webui_"

// Keys that Open WebUI adds to a record's metadata. A record's own values under
// them are overwritten.
const (
	TextKey       = "text"
	CollectionKey = "collection_name"
)

// Names of the default namespace: requests of Open WebUI's client name it "",
// later versions of the API list it as "__default__".
const (
	Namespace    = ""
	NamespaceNew = "__default__"
)

// Limits that Pinecone documents.
const (
	MaxMetadata   = 40 << 10  // bytes of a record's metadata
	MaxID         = 512       // characters of an id, all of them ASCII
	MaxUpsert     = 1000      // records of an upsert
	MaxUpsertSize = 2_000_000 // bytes of an upsert
	MaxFetch      = 1000      // ids of a fetch or delete
	MaxPage       = 100       // ids of a page of a listing
	MaxTopK       = 10_000    // hits of a search
)

// Collection gives collection_name for a logical name.
func Collection(logical string) string { return Prefix + logical }

// Logical is the reverse of [Collection]; false for what is none of Open
// WebUI's.
func Logical(collection string) (string, bool) { return strings.CutPrefix(collection, Prefix) }

// IDSpace names the set in which ids are unique: one, whatever the collection.
func IDSpace(env.PineconeConfig, string) string { return "the index" }

// Describe says in a few words what the store is, without host or secret.
func Describe(cfg env.PineconeConfig) string {
	return fmt.Sprintf("Pinecone index %s (%s %s, %d dimensions, %s)", cfg.Index, cfg.Cloud, cfg.Environment, cfg.Dimension, cfg.Metric)
}

// Score is what Open WebUI makes of Pinecone's score: cosine similarity is
// moved to 0..1, anything else is handed on as it is. The metric is that of
// PINECONE_METRIC, whatever the index has.
func Score(cfg env.PineconeConfig, score float32) float64 {
	if cfg.Metric == "cosine" {
		return (float64(score) + 1) / 2
	}
	return float64(score)
}

// Possible reports whether Pinecone can hold an id at all: it is ASCII without
// NUL, not empty and not too long.
func Possible(id string) bool {
	reason, _ := refusesID(id)
	return reason == ""
}
