package milvus

import (
	"bytes"
	"context"
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

// Reasons of this store's ledger lines, refusals and findings.
const (
	TextCut    pipeline.Reason = "text-cut"    // a text of more than 65,535 bytes, cut off as Open WebUI does
	NoText     pipeline.Reason = "no-text"     // a record without text gets "" as Open WebUI does
	NoMetadata pipeline.Reason = "no-metadata" // a record without metadata gets {}
	IDTooLong  pipeline.Reason = "id-too-long" // an id that the field id cannot hold
)

// Options are what [Transform] needs beside the variables.
type Options struct {
	// MapIDs gives ids that multitenancy cannot hold another one
	// (--id-conflicts=uuid5) instead of refusing the record.
	MapIDs bool
	// Layout is the server's (see [Store]). The zero value, of a server before
	// 2.5, refuses the most.
	Layout Layout
}

// Transform makes records that a collection of Open WebUI's layout can hold.
// With a ledger line: a text of more than 65,535 bytes is cut off as Open WebUI
// does, no text becomes "", no metadata {}, bytes that are not UTF-8 U+FFFD,
// lone surrogates go, and with MapIDs an id of more than 36 bytes becomes
// another one in a multitenancy collection. Refused is what Milvus cannot hold,
// and ids that are too long and that the application knows its memories and
// knowledge bases by.
func Transform(cfg env.MilvusConfig, o Options) pipeline.Transform[*pipeline.Vector] {
	return func(u pipeline.Unit, v *pipeline.Vector) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
		out, changes := *v, []pipeline.Change(nil)
		change := func(column string, before, after any, reason pipeline.Reason, note string) {
			changes = append(changes, pipeline.Change{Unit: u.ID(), Key: v.ID, Column: column, Reason: reason,
				Before: pipeline.Digest(before), After: pipeline.Digest(after), Note: note})
		}
		text := textOf(v)
		if v.Text == nil {
			change("text", nil, text, NoText, "no text becomes an empty one, as Open WebUI writes it")
		} else if !utf8.ValidString(text) {
			text = strings.ToValidUTF8(text, "\uFFFD")
			change("text", *v.Text, text, vectors.Encoding, "bytes that are not UTF-8 replaced")
		}
		if cut := cutText(text); len(cut) < len(text) {
			change("text", text, cut, TextCut, fmt.Sprintf("cut off from %d to %d bytes, as Open WebUI does", len(text), len(cut)))
			text = cut
		}
		out.Text = &text
		if m := bytes.TrimSpace(v.Metadata); len(m) == 0 || bytes.Equal(m, []byte("null")) {
			out.Metadata = noMetadata
			change("vmetadata", nil, string(noMetadata), NoMetadata, "no metadata becomes an empty object")
		} else if !utf8.Valid(v.Metadata) {
			out.Metadata = bytes.ToValidUTF8(v.Metadata, []byte("\uFFFD"))
			change("vmetadata", string(v.Metadata), string(out.Metadata), vectors.Encoding, "bytes that are not UTF-8 replaced")
		}
		if clean, what := vectors.WithoutSurrogates(out.Metadata); what != "" {
			change("vmetadata", string(out.Metadata), string(clean), vectors.Nul, what)
			out.Metadata = clean
		}
		if o.MapIDs && tooLong(cfg, v.ID) && !referred(u.Name) {
			out.ID = vectors.MappedID(u.Name, v.ID)
			change("id", v.ID, out.ID, vectors.IDMapped, fmt.Sprintf("multitenancy holds %d bytes; it became %s", MaxSharedID, out.ID))
		}
		if column, reason, detail := Refuses(cfg, o.Layout, u.Name, &out); reason != "" {
			return nil, nil, []pipeline.Refusal{pipeline.NewRefusal(u, v, column, reason, detail)}
		}
		if len(changes) == 0 {
			return v, nil, nil
		}
		return &out, changes, nil
	}
}

// cutText is the beginning of a text that a VARCHAR holds: at most 65,535 bytes
// that end with a whole character.
func cutText(s string) string {
	if len(s) <= MaxText {
		return s
	}
	n := MaxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func tooLong(cfg env.MilvusConfig, id string) bool { return cfg.Multitenancy && len(id) > MaxSharedID }

// referred reports whether Open WebUI's database names this collection's
// records by their ids.
func referred(logical string) bool {
	return logical == KnowledgeBases || strings.HasPrefix(logical, "user-memory-")
}

// Refuses says why a collection cannot hold a record at all; reason is "" when
// it can. The writer asks it too.
func Refuses(cfg env.MilvusConfig, l Layout, logical string, v *pipeline.Vector) (column string, reason pipeline.Reason, detail string) {
	switch {
	case !utf8.ValidString(v.ID) || v.ID == "":
		return "id", pipeline.Invalid, "the id is empty or not UTF-8"
	case tooLong(cfg, v.ID) && referred(logical):
		return "id", IDTooLong, fmt.Sprintf("the id has %d bytes, multitenancy holds %d, and Open WebUI finds the record by it", len(v.ID), MaxSharedID)
	case tooLong(cfg, v.ID):
		return "id", IDTooLong, fmt.Sprintf("the id has %d bytes, multitenancy holds %d", len(v.ID), MaxSharedID)
	case len(v.ID) > MaxID:
		return "id", IDTooLong, fmt.Sprintf("the id has %d bytes, Milvus holds %d", len(v.ID), MaxID)
	case len(v.Embedding) == 0:
		return "vector", pipeline.NeedsEmbedding, "the source has no vector for this record"
	case len(v.Embedding) > MaxDim:
		return "vector", pipeline.TooLong, fmt.Sprintf("%d dimensions, Milvus holds %d", len(v.Embedding), MaxDim)
	}
	for i, f := range v.Embedding {
		if f-f != 0 { // NaN and the infinities
			return "vector", pipeline.Invalid, fmt.Sprintf("element %d is %g", i, f)
		}
	}
	text := textOf(v)
	if !utf8.ValidString(text) {
		return "text", pipeline.Invalid, "the text is not UTF-8"
	}
	if len(text) > MaxText {
		return "text", pipeline.TooLong, fmt.Sprintf("the text has %d bytes, Milvus holds %d", len(text), MaxText)
	}
	if !cfg.Multitenancy && !l.BM25 && !l.Lite {
		if n := len(dataJSON(text)); n > MaxJSON {
			return "text", pipeline.TooLong, fmt.Sprintf("the text takes %d bytes as JSON, a Milvus before 2.5 holds %d", n, MaxJSON)
		}
	}
	return refusesMetadata(l, v.Metadata)
}

func refusesMetadata(l Layout, raw json.RawMessage) (column string, reason pipeline.Reason, detail string) {
	m := bytes.TrimSpace(raw)
	switch {
	case len(m) == 0:
		return "", "", ""
	case m[0] != '{' || !json.Valid(m) || !utf8.Valid(m):
		return "vmetadata", pipeline.Invalid, "the metadata is not a JSON object in UTF-8"
	case len(raw) > MaxJSON && !l.Lite:
		return "vmetadata", pipeline.TooLong, fmt.Sprintf("the metadata has %d bytes, Milvus holds %d", len(raw), MaxJSON)
	}
	d := json.NewDecoder(bytes.NewReader(m))
	d.UseNumber()
	for {
		tok, err := d.Token()
		if err != nil {
			return "", "", ""
		}
		n, ok := tok.(json.Number)
		if !ok {
			continue
		}
		if strings.ContainsAny(string(n), ".eE") {
			if f, err := strconv.ParseFloat(string(n), 64); err != nil || math.IsInf(f, 0) {
				return "vmetadata", pipeline.Invalid, fmt.Sprintf("the number %.40s is beyond a double", n)
			}
		} else if _, err := strconv.ParseInt(string(n), 10, 64); err != nil {
			return "vmetadata", pipeline.Invalid, fmt.Sprintf("the whole number %.40s is beyond 64 bits, which Milvus refuses", n)
		}
	}
}

// Compare is for pipeline.Comparison: want is the source's record after
// [Transform], got what the store gave back. Vectors are compared bit for bit;
// Milvus Lite spells metadata anew, which is no difference.
func Compare(env.MilvusConfig) func(context.Context, pipeline.Unit, *pipeline.Vector, *pipeline.Vector) ([]pipeline.Field, error) {
	return func(_ context.Context, _ pipeline.Unit, want, got *pipeline.Vector) ([]pipeline.Field, error) {
		if want.Text == nil || want.Metadata == nil { // a record that came without Transform
			w := *want
			text := textOf(want)
			w.Text = &text
			if w.Metadata == nil {
				w.Metadata = noMetadata
			}
			want = &w
		}
		return vectors.Fields(want, got, vectors.Tolerance{}), nil
	}
}
