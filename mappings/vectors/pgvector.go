package vectors

import (
	"strconv"
	"strings"

	"outgrow/mappings/env"
)

// IDSpace names the id space of a collection: pgvector's table has one key for
// all collections.
func IDSpace(string) string { return Table }

// Describe tells the store in a few words.
func Describe(cfg env.PGVectorConfig) string {
	l := PG(cfg)
	out := "pgvector " + l.ColumnType() + ", " + l.Method
	if cfg.PGCrypto {
		out += ", encrypted"
	}
	return out
}

// IterativeScan is what Open WebUI sets before a search, "" for nothing: only
// pgvector 0.8 and later can, and ivfflat only in relaxed order.
func (l PGLayout) IterativeScan(cfg env.PGVectorConfig, version string) string {
	var at [2]int
	for i, part := range strings.Split(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || i > 1 {
			break
		}
		at[i] = n
	}
	if cfg.IterativeScan == "off" || at[0] == 0 && at[1] < 8 {
		return ""
	}
	mode := cfg.IterativeScan
	if l.Method == IVFFlat || mode != "strict_order" {
		mode = "relaxed_order"
	}
	return "SET LOCAL " + l.Method + ".iterative_scan = " + mode
}
