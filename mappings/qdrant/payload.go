package qdrant

import (
	"errors"

	pb "github.com/qdrant/go-client/qdrant"

	"outgrow/pipeline"
)

var errPayload = errors.New("the payload is not Open WebUI's: text is no string")

// Decode is the reverse of [Upsert.Add]. On an error the record still has its id,
// metadata and vector.
func Decode(p *pb.RetrievedPoint) (*pipeline.Vector, error) {
	id, ok := PointOf(p.GetId())
	if !ok {
		return &pipeline.Vector{}, errors.New("the point has an id of an unknown kind")
	}
	v := &pipeline.Vector{ID: id.String()}
	if out := p.GetVectors().GetVector(); out != nil {
		if v.Embedding = out.GetDense().GetData(); v.Embedding == nil {
			v.Embedding = out.GetData() //nolint:staticcheck // what servers before 1.16 send
		}
	}
	payload := p.GetPayload()
	switch m := payload[MetadataField]; m.GetKind().(type) {
	case nil, *pb.Value_NullValue:
	default:
		v.Metadata = JSON(m)
	}
	switch t := payload[TextField].GetKind().(type) {
	case nil, *pb.Value_NullValue:
	case *pb.Value_StringValue:
		v.Text = &t.StringValue
	default:
		return v, errPayload
	}
	return v, nil
}

// Tenant is the payload's tenant_id.
func Tenant(payload map[string]*pb.Value) string { return payload[TenantField].GetStringValue() }

// OfTenant is the filter that Open WebUI reads a tenant with.
func OfTenant(name string, more ...*pb.Condition) *pb.Filter {
	return &pb.Filter{Must: append([]*pb.Condition{pb.NewMatchKeyword(TenantField, name)}, more...)}
}
