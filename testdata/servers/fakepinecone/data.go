package fakepinecone

import (
	"encoding/json"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// record is one vector as it is kept.
type record struct {
	values   []float32
	metadata *structpb.Struct
	visible  time.Time // from then on reads see it
}

func (s *Server) now(r *record) bool { return s.faults.lag == 0 || time.Now().After(r.visible) }

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// space is a namespace; "" and "__default__" are the same one.
func (x *index) space(name string) map[string]*record {
	if name == "__default__" {
		name = ""
	}
	if x.spaces[name] == nil {
		x.spaces[name] = map[string]*record{}
	}
	return x.spaces[name]
}

// check refuses a record as Pinecone does.
func (x *index) check(id string, values []float32, metadata *structpb.Struct) error {
	if id == "" || len(id) > 512 {
		return invalid("Vector ID has %d characters", len(id))
	}
	for i := range len(id) {
		if id[i] == 0 || id[i] >= 0x80 {
			return invalid("Vector ID must be ASCII, but got %q", id)
		}
	}
	if len(values) != x.dim {
		return invalid("Vector dimension %d does not match the dimension of the index %d", len(values), x.dim)
	}
	if !slices.ContainsFunc(values, func(f float32) bool { return f != 0 }) {
		return invalid("Dense vectors must contain at least one non-zero value. Vector ID %s contains only zeros", id)
	}
	for _, f := range values {
		if f-f != 0 {
			return invalid("Vector ID %s has a value that is not finite", id)
		}
	}
	for k, v := range metadata.GetFields() {
		if strings.HasPrefix(k, "$") {
			return invalid("Metadata key %q begins with $", k)
		}
		if !allowed(v) {
			return invalid("Metadata value must be a string, number, boolean or list of strings, got %v for field %q", v, k)
		}
	}
	body, err := compact(metadata)
	if err != nil {
		return invalid("%v", err)
	}
	if len(body) > 40960 {
		return invalid("Metadata size is %d bytes, which exceeds the limit of 40960 bytes per vector", len(body))
	}
	return nil
}

func allowed(v *structpb.Value) bool {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue, *structpb.Value_BoolValue:
		return true
	case *structpb.Value_NumberValue:
		return !math.IsInf(k.NumberValue, 0) && !math.IsNaN(k.NumberValue)
	case *structpb.Value_ListValue:
		for _, e := range k.ListValue.GetValues() {
			if _, ok := e.GetKind().(*structpb.Value_StringValue); !ok {
				return false
			}
		}
		return true
	}
	return false
}

// compact is the metadata as JSON without blanks and needless escapes.
func compact(m *structpb.Struct) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(m.AsMap())
	return strings.TrimSuffix(b.String(), "\n"), err
}

// match applies a metadata filter.
func match(have map[string]any, filter map[string]any) bool {
	for k, want := range filter {
		list, _ := want.([]any)
		some := func(f any) bool { m, _ := f.(map[string]any); return match(have, m) }
		switch k {
		case "$and":
			if slices.ContainsFunc(list, func(f any) bool { return !some(f) }) {
				return false
			}
			continue
		case "$or":
			if !slices.ContainsFunc(list, some) {
				return false
			}
			continue
		}
		ops, isOps := want.(map[string]any)
		if !isOps {
			ops = map[string]any{"$eq": want}
		}
		for op, v := range ops {
			in, _ := v.([]any)
			switch {
			case op == "$eq" && have[k] != v, op == "$ne" && have[k] == v, op == "$in" && !slices.Contains(in, have[k]), op == "$nin" && slices.Contains(in, have[k]):
				return false
			}
		}
	}
	return true
}

type hit struct {
	id    string
	score float64
	*record
}

// search is exact. Of equal scores the smaller id comes first.
func (s *Server) search(x *index, space map[string]*record, query []float32, filter map[string]any, k int) []hit {
	var out []hit
	for id, r := range space {
		if s.now(r) && match(r.metadata.AsMap(), filter) {
			out = append(out, hit{id, x.score(query, r.values), r})
		}
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if x.metric == "euclidean" {
			a.score, b.score = -a.score, -b.score
		}
		if a.score != b.score {
			return a.score > b.score
		}
		return a.id < b.id
	})
	return out[:min(k, len(out))]
}

func (x *index) score(a, b []float32) float64 {
	var dot, na, nb, dist float64
	for i := range a {
		p, q := float64(a[i]), float64(b[i])
		dot, na, nb, dist = dot+p*q, na+p*p, nb+q*q, dist+(p-q)*(p-q)
	}
	switch {
	case x.metric == "euclidean":
		return dist
	case x.metric == "dotproduct":
		return dot
	case na == 0 || nb == 0:
		return 0
	}
	return dot / math.Sqrt(na) / math.Sqrt(nb)
}

// page gives the ids after the token, sorted, and the token behind them.
func (s *Server) page(space map[string]*record, prefix, after string, limit int) (ids []string, next string) {
	for id, r := range space {
		if strings.HasPrefix(id, prefix) && id > after && s.now(r) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if len(ids) > limit {
		ids = ids[:limit]
		next = ids[limit-1]
	}
	return ids, next
}
