package chromahttp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// Reasons of this store's lines.
const (
	// CollectionName: the server refuses the collection's name, so none of its
	// records can be there.
	CollectionName pipeline.Reason = "collection-name"
	// NoText: a null document became an empty one.
	NoText pipeline.Reason = "no-text"
	// Flattened: nulls, lists or objects in the metadata became what Open WebUI
	// makes of them.
	Flattened = vectors.Flattened
)

// Transform makes records that a Chroma server can hold and Open WebUI can read
// there, or Open WebUI's embedded store, which a configuration without a host is.
// Refused are: a record of a collection whose name the server refuses;
// one without a vector, or with an element that is no number, or so long or so
// short that the server's float32 arithmetic loses it; the empty id; metadata
// that is no object, with a key that the server refuses ("", $…, #…) or never
// gives back (chroma:…), with an integer beyond 64 bits or a float beyond
// float64. Changed are: bytes that are not UTF-8, lone surrogates, nulls, lists
// and objects in the metadata, and a null document (Open WebUI cannot list a
// collection that has one). An embedded store keeps lists of one type.
func Transform(cfg env.ChromaConfig) pipeline.Transform[*pipeline.Vector] {
	return func(u pipeline.Unit, v *pipeline.Vector) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
		refuse := func(column string, reason pipeline.Reason, detail string) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
			return nil, nil, []pipeline.Refusal{pipeline.NewRefusal(u, v, column, reason, detail)}
		}
		if problem := NameProblem(u.Name); problem != "" {
			return refuse("", CollectionName, problem)
		}
		if v.ID == "" || !utf8.ValidString(v.ID) {
			return refuse("id", pipeline.Invalid, "the id is empty or not UTF-8")
		}
		if len(v.Embedding) == 0 {
			return refuse("vector", pipeline.NeedsEmbedding, "the source has no vector for this record")
		}
		if problem := lost(v.Embedding); problem != "" {
			return refuse("vector", pipeline.Invalid, problem)
		}
		out, changes := *v, []pipeline.Change(nil)
		change := func(column string, before, after any, reason pipeline.Reason, note string) {
			changes = append(changes, pipeline.Change{Unit: u.ID(), Key: v.ID, Column: column, Reason: reason,
				Before: pipeline.Digest(before), After: pipeline.Digest(after), Note: note})
		}
		if v.Text == nil {
			empty := ""
			out.Text = &empty
			change("text", nil, empty, NoText, "Open WebUI cannot list a collection with a null document")
		} else if !utf8.ValidString(*v.Text) {
			text := strings.ToValidUTF8(*v.Text, "\uFFFD")
			out.Text = &text
			change("text", *v.Text, text, vectors.Encoding, "bytes that are not UTF-8 replaced")
		}
		if bytes.Equal(bytes.TrimSpace(v.Metadata), []byte("null")) {
			out.Metadata = nil
		}
		if out.Metadata != nil {
			var detail string
			if out.Metadata, detail = metadata(v.Metadata, cfg.Host == "", change); detail != "" {
				return refuse("vmetadata", pipeline.Invalid, detail)
			}
		}
		if changes == nil && len(out.Metadata) == len(v.Metadata) {
			return v, nil, nil
		}
		return &out, changes, nil
	}
}

// metadata changes what has to be; detail says why the server cannot hold it.
func metadata(raw json.RawMessage, lists bool, change func(string, any, any, pipeline.Reason, string)) (out json.RawMessage, detail string) {
	out = raw
	if !utf8.Valid(raw) {
		out = bytes.ToValidUTF8(raw, []byte("\uFFFD"))
		change("vmetadata", string(raw), string(out), vectors.Encoding, "bytes that are not UTF-8 replaced")
	}
	before, err := vectors.Members(out)
	if err != nil {
		return nil, "the metadata is not a JSON object"
	}
	if clean, what := vectors.WithoutSurrogates(out); what != "" {
		after, err := vectors.Members(clean)
		if err != nil || len(after) != len(before) {
			return nil, "two keys would be one without their lone surrogates"
		}
		change("vmetadata", string(out), string(clean), vectors.Nul, what)
		out, before = clean, after
	}
	flatten := flattenKeeping
	if !lists {
		flatten = func(m json.RawMessage) (json.RawMessage, string, error) { return vectors.Flatten(m, false) }
	}
	flat, what, err := flatten(out)
	if err != nil {
		return nil, "the metadata is not a JSON object"
	}
	if what != "" {
		change("vmetadata", string(out), string(flat), Flattened, what)
		out = flat
	}
	for _, m := range before {
		if m.Key == "" || m.Key[0] == '$' || m.Key[0] == '#' {
			return nil, fmt.Sprintf("the server refuses the key %.80q", m.Key)
		}
		if strings.HasPrefix(m.Key, "chroma:") {
			return nil, fmt.Sprintf("the server keeps the key %.80q to itself and never gives it back", m.Key)
		}
		if problem := number(string(m.Value)); problem != "" {
			return nil, fmt.Sprintf("the value of %.80q is %s", m.Key, problem)
		}
	}
	return out, ""
}

func number(lit string) string {
	switch {
	case lit[0] != '-' && (lit[0] < '0' || lit[0] > '9'):
	case isFloat(lit):
		if _, err := strconv.ParseFloat(lit, 64); err != nil {
			return "beyond float64"
		}
	default:
		if _, err := strconv.ParseInt(lit, 10, 64); err != nil {
			return "an integer beyond 64 bits, which the server would make a float"
		}
	}
	return ""
}

// isFloat tells how the server, like Python, reads a number.
func isFloat(lit string) bool { return strings.ContainsAny(lit, ".eE") }

// The index keeps a vector's direction and its length, the root of a sum of
// squares in float32: beyond these the sum is infinite or has lost its digits.
const (
	maxSquares = math.MaxFloat32 / 2
	minSquares = 0x1p-126 // the smallest normal float32
)

// lost says why a vector would not come back as it is.
func lost(v []float32) string {
	sum, zero := 0.0, true
	for i, f := range v {
		if f-f != 0 {
			return fmt.Sprintf("element %d is %g", i, f)
		}
		sum += float64(f) * float64(f)
		zero = zero && f == 0
	}
	if sum > maxSquares {
		return fmt.Sprintf("the vector's length %.3g is more than the server's index can hold", math.Sqrt(sum))
	}
	if !zero && sum < minSquares {
		return fmt.Sprintf("the vector's length %.3g is less than the server's index can hold", math.Sqrt(sum))
	}
	return ""
}
