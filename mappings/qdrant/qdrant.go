// Package qdrant knows how Open WebUI lays records out in Qdrant: names, ids,
// payloads, indexes, and what Qdrant can hold of a record. Reader and writer
// share it. Sources: Open WebUI 0.12.4, retrieval/vector/dbs/qdrant.py and
// qdrant_multitenancy.py, and what their clients sent to Qdrant 1.18.3; what
// Qdrant makes of a record was measured on that server.
//
// There are two layouts. In the plain one every collection of Open WebUI is one
// of Qdrant's, PREFIX_NAME. In multitenancy, Open WebUI's default, they share
// five, PREFIX_CLASS, and the payload's tenant_id holds the name. Both may be
// in one server under one prefix: PREFIX_files is told apart by its index (see
// [Found.Shared]).
package qdrant

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
)

// Keys of the payload, and the fields that are indexed.
const (
	TextField     = "text"
	MetadataField = "metadata"
	TenantField   = "tenant_id"
	HashIndex     = "metadata.hash"
	FileIndex     = "metadata.file_id"
)

// The classes of multitenancy.
const (
	Memories  = "memories"
	Knowledge = "knowledge"
	Files     = "files"
	WebSearch = "web-search"
	HashBased = "hash-based"
)

// Classes gives the five classes.
func Classes() []string { return []string{Memories, Knowledge, Files, WebSearch, HashBased} }

// Class tells in which of the five shared collections a collection's records
// are in multitenancy.
func Class(name string) string { return vectors.Class(name) }

// Collection is Qdrant's own name of the collection that holds a unit.
func Collection(cfg env.QdrantConfig, unit string) string {
	if cfg.Multitenancy {
		return cfg.Prefix + "_" + Class(unit)
	}
	return cfg.Prefix + "_" + unit
}

// IDSpace names the space in which a unit's ids must be unique on the target:
// Qdrant holds an id once a collection, whichever tenant it is of.
func IDSpace(cfg env.QdrantConfig, unit string) string { return Collection(cfg, unit) }

// MaxName is the longest name of a collection, in bytes.
const MaxName = 255

// BadName tells why Qdrant takes no collection of this name, "" when it does.
// Source: lib/common/validation of Qdrant 1.18 (validate_collection_name).
func BadName(physical string) string {
	switch i := strings.IndexAny(physical, "<>:\"/\\|?*\x00\x1f"); {
	case len(physical) > MaxName:
		return fmt.Sprintf("the name has %d bytes, Qdrant takes %d", len(physical), MaxName)
	case i >= 0:
		return fmt.Sprintf("Qdrant allows no %q in the name of a collection", physical[i])
	}
	return ""
}

func isClass(name string) bool { return slices.Contains(Classes(), name) }

// Describe tells in a few words what the variables name, without a secret.
func Describe(cfg env.QdrantConfig) string {
	layout := "one collection each"
	if cfg.Multitenancy {
		layout = "multitenancy"
	}
	host := cfg.Host
	if u, err := url.Parse(cfg.URI); err == nil && u.Host != "" {
		host = u.Host
	}
	return fmt.Sprintf("Qdrant %s, prefix %s, %s", host, cfg.Prefix, layout)
}

// Fingerprint tells two stores apart as far as Qdrant can be told apart: by
// layout and prefix. A server has no identity that outlives a restart.
func Fingerprint(cfg env.QdrantConfig) string {
	layout := "plain"
	if cfg.Multitenancy {
		layout = "multitenancy"
	}
	return "qdrant/" + layout + "/" + cfg.Prefix
}
