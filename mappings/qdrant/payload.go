package qdrant

import (
	"errors"

	pb "github.com/qdrant/go-client/qdrant"

	"outgrow/pipeline"
)

// Encode makes the point of a record that [Refuses] nothing of. tenant is the
// unit's name in multitenancy, else "".
func Encode(v *pipeline.Vector, tenant string) (*pb.PointStruct, error) {
	id, ok := ParseUUID(v.ID)
	if !ok {
		return nil, errors.New("the id is no UUID")
	}
	text, meta := pb.NewValueNull(), pb.NewValueNull()
	if v.Text != nil {
		text = pb.NewValueString(validText(*v.Text))
	}
	if v.Metadata != nil {
		var err error
		if meta, err = Value(v.Metadata); err != nil {
			return nil, err
		}
	}
	payload := map[string]*pb.Value{TextField: text, MetadataField: meta}
	if tenant != "" {
		payload[TenantField] = pb.NewValueString(tenant)
	}
	return &pb.PointStruct{Id: id.PB(), Payload: payload, Vectors: pb.NewVectorsDense(v.Embedding)}, nil
}

var errPayload = errors.New("the payload is not Open WebUI's: text is no string")

// Decode is the reverse of [Encode]. On an error the record still has its id,
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
