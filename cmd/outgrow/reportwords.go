package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"outgrow/mappings/silence"
	"outgrow/pipeline"
)

// spell says seconds as people do: "< 0.1 s", "0.8 s", "42 s", "3 min 05 s", "2 h 10 min".
func spell(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case seconds < 0.05:
		return "< 0.1 s"
	case seconds < 10:
		return fmt.Sprintf("%.1f s", seconds)
	case seconds < 99.5:
		return fmt.Sprintf("%.0f s", seconds)
	case d < 100*time.Minute:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// percentText never rounds up to all.
func percentText(share float64) string {
	switch p := 100 * share; {
	case p >= 100:
		return "100 %"
	case p > 99.9:
		return "over 99.9 %"
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

// listed joins parts: "a, b and c".
func listed(parts []string) string {
	if n := len(parts); n > 1 {
		return strings.Join(parts[:n-1], ", ") + " and " + parts[n-1]
	}
	return strings.Join(parts, "")
}

// sentence begins with a capital and ends with a stop.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return s
	}
	first, n := utf8.DecodeRuneInString(s)
	if word, _, _ := strings.Cut(s, " "); strings.IndexFunc(word, func(r rune) bool { return !unicode.IsLetter(r) }) < 0 {
		s = string(unicode.ToUpper(first)) + s[n:]
	}
	if strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}

// moment prints a time of the report.
func moment(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }

// reasonText says what a reason of quarantine or ledger means; "" for one that is
// not known here. The pages quarantine.md and vectors.md have all.
func reasonText(r pipeline.Reason) string {
	switch r {
	case pipeline.Orphan:
		return "Its parent is gone in the source; PostgreSQL would have deleted it long ago"
	case pipeline.NeedsEmbedding:
		return "The source has lost the vector; reindexing in Open WebUI makes it again"
	case pipeline.NullKeyReason:
		return "It has no key"
	case pipeline.NotNull:
		return "A value is missing that the new side demands"
	case pipeline.Duplicate:
		return "Another record holds the same unique value"
	case pipeline.TooLong:
		return "Longer than the new side can hold"
	case pipeline.Invalid:
		return "The new side refuses its value"
	case pipeline.MissingFile:
		return "A row names a file that is not there"
	case pipeline.Unreadable:
		return "The source holds it, but it cannot be read"
	case pipeline.PathRewritten:
		return "The file’s path now leads to its new place"
	case pipeline.ParentCleared:
		return "A reference to something that is gone was cleared"
	case pipeline.Replayed:
		return "Repaired by hand and put in"
	case silence.Silenced:
		return "Silenced for a rehearsal: Open WebUI would act on it by itself"
	case silence.Left:
		return "Not silenced for a rehearsal, as its form is not known"
	case "owner":
		return "Files keep the owner who wrote them"
	case "nul":
		return "NUL characters were taken out, which PostgreSQL cannot store"
	case "utf8", "encoding":
		return "Bytes that are not UTF-8 were replaced"
	case "surrogate", "lone-surrogate":
		return "Halves of broken characters were taken out"
	case "json-repair":
		return "JSON with control characters or NaN was repaired"
	case "json-invalid":
		return "Text that is not JSON was kept as a JSON string"
	case "json-empty":
		return "An empty text became JSON null"
	case "blob":
		return "Bytes were read as text"
	case "flattened":
		return "Nested metadata was flattened, as Open WebUI does"
	case "id-mapped":
		return "Got a new id that the store can hold"
	case "id-not-uuid":
		return "The store takes no such id"
	case "id-spelling":
		return "The id is spelled in lower case with hyphens"
	case "vector-dimension":
		return "Its length is not that of the collection on the new side"
	case "text-cut":
		return "A text beyond the store’s limit was cut, as Open WebUI does"
	}
	return ""
}
