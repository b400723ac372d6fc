package pinecone

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	sdk "github.com/pinecone-io/go-pinecone/v5/pinecone"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// Encode makes Pinecone's record of one that has passed [Transform]. size is
// about the number of bytes it takes in an upsert.
func Encode(v *pipeline.Vector, logical string) (out *sdk.Vector, size int, err error) {
	list, err := entries(v.Metadata)
	if err != nil {
		return nil, 0, err
	}
	fields := make(map[string]*structpb.Value, len(list)+2)
	for _, e := range list {
		if fields[e.Key], err = encode(e.Value); err != nil {
			return nil, 0, fmt.Errorf("key %q: %w", e.Key, err)
		}
	}
	delete(fields, TextKey) // its own would be mistaken for the document
	if v.Text != nil {
		fields[TextKey] = structpb.NewStringValue(*v.Text)
	}
	fields[CollectionKey] = structpb.NewStringValue(Collection(logical))
	m := &structpb.Struct{Fields: fields}
	values := v.Embedding
	return &sdk.Vector{Id: v.ID, Values: &values, Metadata: m}, len(v.ID) + 4*len(values) + proto.Size(m) + 32, nil
}

func encode(raw json.RawMessage) (*structpb.Value, error) {
	raw = bytes.TrimSpace(raw)
	switch raw[0] {
	case '"':
		s, _ := cleaned(raw)
		return structpb.NewStringValue(s), nil
	case 't', 'f':
		return structpb.NewBoolValue(raw[0] == 't'), nil
	case '[':
		if list, ok := stringList(raw); ok {
			values := make([]*structpb.Value, len(list))
			for i, s := range list {
				values[i] = structpb.NewStringValue(s)
			}
			return structpb.NewListValue(&structpb.ListValue{Values: values}), nil
		}
	case 'n', '{':
	default:
		if f, _, ok := double(string(raw)); ok {
			return structpb.NewNumberValue(f), nil
		}
	}
	return nil, fmt.Errorf("%.40q is no string, number, boolean or list of strings", raw)
}

// Decode makes a record of Pinecone's and gives its collection_name, "" for
// none. Keys of the metadata come sorted, numbers as Python spells floats.
func Decode(in *sdk.Vector) (v *pipeline.Vector, collection string) {
	v = &pipeline.Vector{ID: in.Id}
	if in.Values != nil && len(*in.Values) > 0 {
		v.Embedding = *in.Values
	}
	fields := in.Metadata.GetFields()
	list := make([]vectors.Member, 0, len(fields))
	for key, value := range fields {
		s, isString := value.GetKind().(*structpb.Value_StringValue)
		switch {
		case key == TextKey && isString:
			v.Text = &s.StringValue
		case key == CollectionKey && isString:
			collection = s.StringValue
		default:
			list = append(list, vectors.Member{Key: key, Value: decode(value)})
		}
	}
	slices.SortFunc(list, func(a, b vectors.Member) int { return strings.Compare(a.Key, b.Key) })
	v.Metadata = vectors.Object(list)
	return v, collection
}

func decode(v *structpb.Value) json.RawMessage {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		return vectors.AppendText(nil, k.StringValue)
	case *structpb.Value_NumberValue:
		if f := k.NumberValue; f-f == 0 { // JSON has neither NaN nor infinity
			return json.RawMessage(float(f))
		}
	case *structpb.Value_BoolValue:
		if k.BoolValue {
			return json.RawMessage("true")
		}
		return json.RawMessage("false")
	case *structpb.Value_ListValue:
		b := []byte{'['}
		for i, e := range k.ListValue.GetValues() {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, decode(e)...)
		}
		return append(b, ']')
	case *structpb.Value_StructValue:
		list := make([]vectors.Member, 0, len(k.StructValue.GetFields()))
		for key, value := range k.StructValue.GetFields() {
			list = append(list, vectors.Member{Key: key, Value: decode(value)})
		}
		slices.SortFunc(list, func(a, b vectors.Member) int { return strings.Compare(a.Key, b.Key) })
		return vectors.Object(list)
	}
	return json.RawMessage("null")
}
