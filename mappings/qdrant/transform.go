package qdrant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// Reasons of this store's quarantine and ledger lines.
const (
	IDNotUUID  pipeline.Reason = "id-not-uuid"      // Qdrant takes no such id
	IDSpelling pipeline.Reason = "id-spelling"      // a UUID in another spelling than lower case with hyphens
	Dimension  pipeline.Reason = "vector-dimension" // the collection holds vectors of another length
	WideNumber pipeline.Reason = "wide-integer"     // an integer beyond int64 became a double
	Surrogate  pipeline.Reason = "lone-surrogate"   // half a surrogate pair was taken out, as Open WebUI does
)

// Options of the transform.
type Options struct {
	// MapIDs gives an id that is no UUID a new one, [vectors.MappedID], instead
	// of refusing the record.
	MapIDs bool
}

// Transform makes records that Qdrant can hold. A unit whose Dim is known holds
// vectors of that length only. What Qdrant itself changes, the vector's length,
// is [Expect]'s business.
func Transform(_ env.QdrantConfig, o Options) pipeline.Transform[*pipeline.Vector] {
	return func(u pipeline.Unit, v *pipeline.Vector) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
		out, changes := *v, []pipeline.Change(nil)
		change := func(column, before, after string, reason pipeline.Reason, note string) {
			changes = append(changes, pipeline.Change{Unit: u.ID(), Key: v.ID, Column: column, Reason: reason,
				Before: pipeline.Digest(before), After: pipeline.Digest(after), Note: note})
		}
		refuse := func(column string, reason pipeline.Reason, detail string) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
			return nil, nil, []pipeline.Refusal{pipeline.NewRefusal(u, v, column, reason, detail)}
		}
		switch p, ok := ParseUUID(v.ID); {
		case ok:
			if out.ID = p.String(); out.ID != v.ID {
				change("id", v.ID, out.ID, IDSpelling, "Qdrant spells it "+out.ID)
			}
		case o.MapIDs:
			out.ID = vectors.MappedID(u.Name, v.ID)
			change("id", v.ID, out.ID, vectors.IDMapped, "became "+out.ID)
		}
		if v.Text != nil && !utf8.ValidString(*v.Text) {
			text := validText(*v.Text)
			out.Text = &text
			change("text", *v.Text, text, vectors.Encoding, "bytes that are not UTF-8 replaced")
		}
		if bytes.Equal(bytes.TrimSpace(v.Metadata), []byte("null")) {
			out.Metadata = nil
		}
		if column, reason, detail := Refuses(&out, u.Dim); reason != "" {
			return refuse(column, reason, detail)
		}
		if out.Metadata != nil {
			detail := ""
			out.Metadata, detail = cleaned(out.Metadata, func(before, after json.RawMessage, reason pipeline.Reason, note string) {
				change("vmetadata", string(before), string(after), reason, note)
			})
			if detail != "" {
				return refuse("vmetadata", pipeline.Invalid, detail)
			}
		}
		if changes == nil && (out.Metadata == nil) == (v.Metadata == nil) {
			return v, nil, nil
		}
		return &out, changes, nil
	}
}

// cleaned makes an object that Qdrant can hold; a detail refuses it.
func cleaned(raw json.RawMessage, change func(before, after json.RawMessage, reason pipeline.Reason, note string)) (json.RawMessage, string) {
	if !json.Valid(raw) {
		return raw, notObject
	}
	if !utf8.Valid(raw) {
		clean := bytes.ToValidUTF8(raw, []byte("\uFFFD"))
		change(raw, clean, vectors.Encoding, "bytes that are not UTF-8 replaced")
		raw = clean
	}
	if clean, what := vectors.WithoutSurrogates(raw); what != "" {
		if keys(clean) != keys(raw) {
			return raw, "two keys would be one without their lone surrogates"
		}
		change(raw, clean, Surrogate, what)
		raw = clean
	}
	narrow, wide, err := narrowed(raw)
	if err != nil {
		return raw, err.Error()
	}
	if wide {
		change(raw, narrow, WideNumber, "integers beyond 64 bits became doubles")
	}
	return narrow, ""
}

const notObject = "the metadata is not a JSON object"

// Refuses says why a collection of vectors of dim elements, 0 for any, cannot
// hold a record at all; reason is "" when it can. Whether metadata is valid JSON
// shows when it is encoded.
func Refuses(v *pipeline.Vector, dim int) (column string, reason pipeline.Reason, detail string) {
	if _, ok := ParseUUID(v.ID); !ok {
		return "id", IDNotUUID, "the id is no UUID, and Qdrant takes nothing else from Open WebUI"
	}
	if len(v.Embedding) == 0 {
		return "vector", pipeline.NeedsEmbedding, "the source has no vector for this record"
	}
	if dim > 0 && len(v.Embedding) != dim {
		return "vector", Dimension, fmt.Sprintf("%d dimensions, the collection has %d", len(v.Embedding), dim)
	}
	if s := squared(v.Embedding); !(s < math.MaxFloat32) { // NaN and the infinities of an element are in the sum as well
		for i, f := range v.Embedding {
			if f-f != 0 {
				return "vector", pipeline.Invalid, fmt.Sprintf("element %d is %g", i, f)
			}
		}
		return "vector", pipeline.Invalid, "the vector is too long to be brought to unit length"
	}
	if m := bytes.TrimSpace(v.Metadata); v.Metadata != nil && (len(m) == 0 || m[0] != '{') {
		return "vmetadata", pipeline.Invalid, notObject
	}
	return "", "", ""
}

// narrowed rewrites the integers that int64 cannot hold as doubles, and refuses
// numbers that a double cannot hold either.
func narrowed(raw json.RawMessage) (out json.RawMessage, found bool, err error) {
	from := 0
	for i := 0; i < len(raw); {
		c := raw[i]
		if c == '"' {
			for i++; raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
			i++
			continue
		}
		if c != '-' && (c < '0' || c > '9') {
			i++
			continue
		}
		end := i + 1
		plain := true
		for ; end < len(raw); end++ {
			if d := raw[end]; d < '0' || d > '9' {
				if d != '.' && d != 'e' && d != 'E' && d != '+' && d != '-' {
					break
				}
				plain = plain && d != 'e' && d != 'E'
			}
		}
		const digits = 18 // any integer of as many fits
		if n := end - i; plain && n <= digits {
			i = end
			continue
		}
		lit := string(raw[i:end])
		if isInteger(lit) {
			if _, err := strconv.ParseInt(lit, 10, 64); err == nil {
				i = end
				continue
			}
		}
		f, err := strconv.ParseFloat(lit, 64)
		if err != nil {
			return raw, false, fmt.Errorf("the number %.40s is beyond what a double can hold", lit)
		}
		if isInteger(lit) {
			out, found = appendDouble(append(out, raw[from:i]...), f), true
			from = end
		}
		i = end
	}
	if !found {
		return raw, false, nil
	}
	return append(out, raw[from:]...), true, nil
}

func keys(raw json.RawMessage) int {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return -1
	}
	return len(m)
}
