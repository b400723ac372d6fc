package main

import (
	"sort"
	"strconv"
	"strings"

	"outgrow/pipeline"
)

// printable shows a key to people: separators as commas, the rest quoted where
// it must be.
func printable(key string) string {
	key = strings.ReplaceAll(strings.ReplaceAll(key, pipeline.KeySeparator, ","), pipeline.NullKey, "NULL")
	if q := strconv.Quote(key); len(q) != len(key)+2 {
		return q
	}
	return key
}

func keysOf(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func joinComma(words []string) string { return strings.Join(words, ",") }
