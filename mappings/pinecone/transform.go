package pinecone

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// Reasons of this store's ledger lines.
const (
	Reserved pipeline.Reason = "reserved-key" // the record's own text or collection_name, which Open WebUI overwrites
	Null     pipeline.Reason = "null-value"   // a key without a value, which Open WebUI leaves out
	Digits   pipeline.Reason = "digits"       // a whole number with more digits than a double has
)

// Reasons of refusals and findings.
const (
	Dimension pipeline.Reason = "vector-dimension" // not that of the index
	Metric    pipeline.Reason = "vector-metric"    // not that of the index
)

// Transform makes records that Pinecone can hold. What Open WebUI's client
// itself would change is changed with a ledger line: own keys of the names text
// and collection_name, null values, NUL characters and lone surrogates in text
// and values; and whole numbers beyond 2^53, which become the nearest double.
// What Pinecone cannot hold is refused: values that are neither string, number,
// boolean nor list of strings, more than 40 KB of metadata with the text, a
// vector that is missing, of another dimension, or of zeros only.
func Transform(cfg env.PineconeConfig) pipeline.Transform[*pipeline.Vector] {
	return func(u pipeline.Unit, v *pipeline.Vector) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
		t := transformer{unit: u, in: v, out: *v}
		t.text()
		t.metadata()
		column, reason, detail := t.column, t.reason, t.detail
		if reason == "" {
			column, reason, detail = Refuses(cfg, u.Name, &t.out)
		}
		switch {
		case reason != "":
			return nil, nil, []pipeline.Refusal{pipeline.NewRefusal(u, v, column, reason, detail)}
		case len(t.changes) == 0:
			return v, nil, nil
		}
		return &t.out, t.changes, nil
	}
}

type transformer struct {
	unit           pipeline.Unit
	in             *pipeline.Vector
	out            pipeline.Vector
	changes        []pipeline.Change
	column, detail string
	reason         pipeline.Reason // of a refusal
}

func (t *transformer) change(column, before, after string, reason pipeline.Reason, note string) {
	t.changes = append(t.changes, pipeline.Change{Unit: t.unit.ID(), Key: t.in.ID, Column: column, Reason: reason,
		Before: pipeline.Digest(before), After: pipeline.Digest(after), Note: note})
}

func (t *transformer) text() {
	if t.in.Text == nil {
		return
	}
	text := *t.in.Text
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
		t.change("text", *t.in.Text, text, vectors.Encoding, "bytes that are not UTF-8 replaced")
	}
	if strings.IndexByte(text, 0) >= 0 {
		before := text
		text = strings.ReplaceAll(text, "\x00", "")
		t.change("text", before, text, vectors.Nul, "NUL characters removed")
	}
	t.out.Text = &text
}

// step is one kind of repair: it gives the entries that stay.
type step struct {
	reason pipeline.Reason
	note   string
	apply  func(e vectors.Member) (vectors.Member, bool)
}

func (t *transformer) metadata() {
	raw := t.in.Metadata
	if !utf8.Valid(raw) {
		t.out.Metadata = bytes.ToValidUTF8(raw, []byte("\uFFFD"))
		t.change("vmetadata", string(raw), string(t.out.Metadata), vectors.Encoding, "bytes that are not UTF-8 replaced")
		raw = t.out.Metadata
	}
	list, err := entries(raw)
	if err != nil {
		t.column, t.reason, t.detail = "vmetadata", pipeline.Invalid, err.Error()
		return
	}
	for _, s := range t.steps() {
		kept, note := make([]vectors.Member, 0, len(list)), s.note
		changed := false
		for _, e := range list {
			f, ok := s.apply(e)
			if !ok || !bytes.Equal(f.Value, e.Value) {
				changed = true
				note += fmt.Sprintf(" %.60q", e.Key)
				if s.reason == Digits {
					note += " becomes " + string(f.Value)
				}
			}
			if ok {
				kept = append(kept, f)
			}
		}
		if changed {
			before := t.out.Metadata
			t.out.Metadata = vectors.Object(kept)
			t.change("vmetadata", string(before), string(t.out.Metadata), s.reason, note)
		}
		list = kept
	}
}

func (t *transformer) steps() []step {
	return []step{
		{Null, "null values left out:", func(e vectors.Member) (vectors.Member, bool) { return e, string(e.Value) != "null" }},
		{Reserved, "overwritten by Open WebUI:", func(e vectors.Member) (vectors.Member, bool) { return e, e.Key != TextKey && e.Key != CollectionKey }},
		{vectors.Nul, "NUL characters or lone surrogates removed:", func(e vectors.Member) (vectors.Member, bool) {
			if e.Value[0] == '"' {
				if s, changed := cleaned(e.Value); changed {
					e.Value = vectors.AppendText(nil, s)
				}
			}
			return e, true
		}},
		{Digits, "whole numbers are doubles here:", func(e vectors.Member) (vectors.Member, bool) {
			if c := e.Value[0]; c == '-' || (c >= '0' && c <= '9') {
				if f, exact, ok := double(string(e.Value)); ok && !exact {
					e.Value = json.RawMessage(float(f))
				}
			}
			return e, true
		}},
	}
}

// Refuses says why the index cannot hold a record at all; reason is "" when it
// can. The writer asks it too, for records that came without [Transform].
func Refuses(cfg env.PineconeConfig, logical string, v *pipeline.Vector) (column string, reason pipeline.Reason, detail string) {
	if reason, detail := refusesID(v.ID); reason != "" {
		return "id", reason, detail
	}
	if len(v.Embedding) == 0 {
		return "vector", pipeline.NeedsEmbedding, "the source has no vector for this record"
	}
	if n := len(v.Embedding); cfg.Dimension > 0 && n != cfg.Dimension {
		return "vector", Dimension, fmt.Sprintf("%d dimensions, PINECONE_DIMENSION is %d", n, cfg.Dimension)
	}
	zero := true
	for i, f := range v.Embedding {
		if f-f != 0 { // NaN and the infinities
			return "vector", pipeline.Invalid, fmt.Sprintf("element %d is %g", i, f)
		}
		zero = zero && f == 0
	}
	if zero {
		return "vector", pipeline.Invalid, "the vector has only zeros, which Pinecone refuses"
	}
	if v.Text != nil && !utf8.ValidString(*v.Text) {
		return "text", pipeline.Invalid, "the text is not UTF-8"
	}
	return refusesMetadata(logical, v)
}

func refusesID(id string) (pipeline.Reason, string) {
	switch {
	case id == "":
		return pipeline.Invalid, "the id is empty"
	case len(id) > MaxID:
		return pipeline.TooLong, fmt.Sprintf("the id has %d characters, Pinecone takes %d", len(id), MaxID)
	}
	for i := range len(id) {
		if id[i] == 0 || id[i] >= 0x80 {
			return pipeline.Invalid, "the id has characters that are not ASCII, or NUL"
		}
	}
	return "", ""
}

func refusesMetadata(logical string, v *pipeline.Vector) (column string, reason pipeline.Reason, detail string) {
	list, err := entries(v.Metadata)
	if err == nil && !utf8.Valid(v.Metadata) {
		err = fmt.Errorf("the metadata is not UTF-8")
	}
	if err != nil {
		return "vmetadata", pipeline.Invalid, err.Error()
	}
	size := len(`{"":""}`) + len(CollectionKey) + len(Prefix) + len(logical)
	if v.Text != nil {
		size += len(`"":,`) + len(TextKey) + len(vectors.AppendText(nil, *v.Text))
	}
	for _, e := range list {
		if e.Key == TextKey || e.Key == CollectionKey {
			continue
		}
		if strings.HasPrefix(e.Key, "$") {
			return "vmetadata", pipeline.Invalid, fmt.Sprintf("key %.60q begins with $", e.Key)
		}
		if _, err := encode(e.Value); err != nil {
			return "vmetadata", pipeline.Invalid, fmt.Sprintf("key %.60q: %v", e.Key, err)
		}
		raw := e.Value
		if raw[0] == '"' {
			s, _ := cleaned(raw)
			raw = vectors.AppendText(nil, s)
		}
		size += len(vectors.AppendText(nil, e.Key)) + len(raw) + len(":,")
	}
	if size > MaxMetadata {
		return "vmetadata", pipeline.TooLong, fmt.Sprintf("%d bytes of metadata and text, Pinecone takes %d a record", size, MaxMetadata)
	}
	return "", "", ""
}

// Compare is for pipeline.Comparison: want is the source's record after
// [Transform], got what the index gave back. Vectors are compared bit for bit,
// numbers of the metadata as doubles.
func Compare(env.PineconeConfig) func(context.Context, pipeline.Unit, *pipeline.Vector, *pipeline.Vector) ([]pipeline.Field, error) {
	return func(_ context.Context, _ pipeline.Unit, want, got *pipeline.Vector) ([]pipeline.Field, error) {
		return vectors.Fields(want, got, vectors.Tolerance{Metadata: SameMetadata}), nil
	}
}
