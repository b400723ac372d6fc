package vectors

import (
	"encoding/json"
	"fmt"
	"math"

	"outgrow/pipeline"
)

// Tolerance is how far a store's copy of a record may be from what the store
// was given. The zero value allows nothing.
type Tolerance struct {
	// Vector is the largest difference of one element, 0 for bit by bit.
	Vector float32
	// Metadata compares two metadata objects; nil means [SameMetadata].
	Metadata func(want, got json.RawMessage) bool
}

// Fields lists how two records differ: want is what the store should hold of
// the source's record, got what it gave back. 0.0 behind the shorter vector's
// end is padding.
func Fields(want, got *pipeline.Vector, tol Tolerance) (out []pipeline.Field) {
	add := func(column string, should, value any, format string, args ...any) {
		out = append(out, pipeline.Field{Column: column, Want: should, Got: value, Detail: fmt.Sprintf(format, args...)})
	}
	if want.ID != got.ID {
		add("id", want.ID, got.ID, "%q, not %q", got.ID, want.ID)
	}
	switch {
	case (want.Text == nil) != (got.Text == nil):
		add("text", textOf(want.Text), textOf(got.Text), "only one side is null")
	case want.Text != nil && *want.Text != *got.Text:
		add("text", textOf(want.Text), textOf(got.Text), "%d bytes, not the same %d", len(*got.Text), len(*want.Text))
	}
	same := tol.Metadata
	if same == nil {
		same = SameMetadata
	}
	if !same(want.Metadata, got.Metadata) {
		add("vmetadata", metadataOf(want.Metadata), metadataOf(got.Metadata), "not the same metadata")
	}
	a, b := want.Embedding, got.Embedding
	if (len(a) == 0) != (len(b) == 0) {
		add("vector", nil, nil, "%d dimensions, not %d", len(b), len(a))
		return out
	}
	for i := range max(len(a), len(b)) {
		x, y := element(a, i), element(b, i)
		if math.Float32bits(x) != math.Float32bits(y) && (tol.Vector == 0 || !(max(x-y, y-x) <= tol.Vector)) {
			add("vector", fmt.Sprint(a), fmt.Sprint(b), "element %d is %g, not %g", i, y, x)
			break
		}
	}
	return out
}

func element(v []float32, i int) float32 {
	if i < len(v) {
		return v[i]
	}
	return 0
}

func textOf(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

func metadataOf(m json.RawMessage) any {
	if m == nil {
		return nil
	}
	return string(m)
}
