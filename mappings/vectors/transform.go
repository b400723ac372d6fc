package vectors

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// Reasons of this store's ledger lines.
const (
	Nul      pipeline.Reason = "nul"      // NUL or a lone surrogate, which PostgreSQL cannot store, was taken out
	Encoding pipeline.Reason = "encoding" // bytes that are not UTF-8 became U+FFFD
)

// Transform makes records that pgvector can hold. It takes out what PostgreSQL
// refuses in text and metadata (as Open WebUI does before it stores), and
// refuses a record without a vector, with one that is too long (it is never
// truncated), or with an element that the column's type refuses. Padding and
// the rounding to halfvec are the writer's: see [Expect].
func Transform(cfg env.PGVectorConfig) pipeline.Transform[*pipeline.Vector] {
	l := PG(cfg)
	return func(u pipeline.Unit, v *pipeline.Vector) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
		refuse := func(column string, reason pipeline.Reason, detail string) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
			return nil, nil, []pipeline.Refusal{pipeline.NewRefusal(u, v, column, reason, detail)}
		}
		if column, reason, detail := l.Refuses(v); reason != "" {
			return refuse(column, reason, detail)
		}
		out, changes := *v, []pipeline.Change(nil)
		change := func(column, before, after string, reason pipeline.Reason, note string) {
			changes = append(changes, pipeline.Change{Unit: u.ID(), Key: v.ID, Column: column, Reason: reason,
				Before: pipeline.Digest(before), After: pipeline.Digest(after), Note: note})
		}
		if v.Text != nil {
			text := *v.Text
			if !utf8.ValidString(text) {
				text = strings.ToValidUTF8(text, "\uFFFD")
				change("text", *v.Text, text, Encoding, "bytes that are not UTF-8 replaced")
			}
			if strings.IndexByte(text, 0) >= 0 {
				before := text
				text = strings.ReplaceAll(text, "\x00", "")
				change("text", before, text, Nul, "NUL characters removed")
			}
			out.Text = &text
		}
		if bytes.Equal(bytes.TrimSpace(v.Metadata), []byte("null")) {
			out.Metadata = nil
		}
		if out.Metadata != nil {
			if !utf8.Valid(v.Metadata) {
				out.Metadata = bytes.ToValidUTF8(v.Metadata, []byte("\uFFFD"))
				change("vmetadata", string(v.Metadata), string(out.Metadata), Encoding, "bytes that are not UTF-8 replaced")
			}
			clean, what := storable(out.Metadata)
			if what != "" {
				if keys(clean) != keys(out.Metadata) {
					return refuse("vmetadata", pipeline.Invalid, "two keys would be one without their "+strings.TrimSuffix(what, " removed"))
				}
				change("vmetadata", string(out.Metadata), string(clean), Nul, what)
				out.Metadata = clean
			}
		}
		if changes == nil && len(out.Metadata) == len(v.Metadata) {
			return v, nil, nil
		}
		return &out, changes, nil
	}
}

// Refuses says why the table cannot hold a record at all; reason is "" when it
// can.
func (l PGLayout) Refuses(v *pipeline.Vector) (column string, reason pipeline.Reason, detail string) {
	if !utf8.ValidString(v.ID) || strings.IndexByte(v.ID, 0) >= 0 {
		return "id", pipeline.Invalid, "the id has a NUL or is not UTF-8"
	}
	if len(v.Embedding) == 0 {
		return "vector", pipeline.NeedsEmbedding, "the source has no vector for this record"
	}
	if len(v.Embedding) > l.MaxLength {
		return "vector", pipeline.TooLong, fmt.Sprintf("%d dimensions, PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH is %d", len(v.Embedding), l.MaxLength)
	}
	for i, f := range v.Embedding {
		if f-f != 0 { // NaN and the infinities
			return "vector", pipeline.Invalid, fmt.Sprintf("element %d is %g", i, f)
		}
		if l.HalfVec && (f >= MaxHalf || f <= -MaxHalf) {
			if _, ok := ToHalf(f); !ok {
				return "vector", pipeline.Invalid, fmt.Sprintf("element %d is %g, halfvec holds %d at most", i, f, MaxHalf)
			}
		}
	}
	if m := bytes.TrimSpace(v.Metadata); len(m) > 0 && !bytes.Equal(m, []byte("null")) && (m[0] != '{' || !json.Valid(m)) {
		return "vmetadata", pipeline.Invalid, "the metadata is not a JSON object"
	}
	return "", "", ""
}

func keys(raw []byte) int {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return -1
	}
	return len(m)
}

// Expect is what the store holds of a record that [Transform] let through: the
// vector padded with 0.0 and, for halfvec, rounded as the server's cast does.
// Metadata stays as it is: jsonb's own spelling is [SameMetadata]'s business.
func Expect(cfg env.PGVectorConfig, v *pipeline.Vector) *pipeline.Vector {
	out := *v
	out.Embedding = make([]float32, max(cfg.MaxLength, len(v.Embedding)))
	copy(out.Embedding, v.Embedding)
	if cfg.HalfVec {
		for i, f := range out.Embedding {
			if h, ok := ToHalf(f); ok {
				out.Embedding[i] = FromHalf(h)
			}
		}
	}
	return &out
}

// Equal compares a record as expected with one as read back, vectors bit for
// bit; 0.0 behind the shorter one's end is padding. what names the first
// difference.
func Equal(want, got *pipeline.Vector) (same bool, what string) {
	for _, f := range Fields(want, got, Tolerance{}) {
		return false, f.Column + ": " + f.Detail
	}
	return true, ""
}

// Compare is [Equal] for pipeline.Comparison: want is the source's record after
// the transforms, got the target's.
func Compare(cfg env.PGVectorConfig) func(context.Context, pipeline.Unit, *pipeline.Vector, *pipeline.Vector) ([]pipeline.Field, error) {
	return func(_ context.Context, _ pipeline.Unit, want, got *pipeline.Vector) ([]pipeline.Field, error) {
		if cfg.HalfVec {
			want = Expect(cfg, want)
		}
		return Fields(want, got, Tolerance{}), nil
	}
}
