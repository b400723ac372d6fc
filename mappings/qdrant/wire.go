package qdrant

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"outgrow/pipeline"
)

// Upsert is a request to write points, encoded as it is filled: metadata goes
// from JSON to Qdrant's values without a tree of them in between, which took
// most of the client's time. Field numbers: points.proto and json_with_int.proto
// of Qdrant 1.17.
type Upsert struct {
	buf    []byte
	points int
}

// NewUpsert begins a request that waits until it was applied. size is about
// what it will hold, in bytes.
func NewUpsert(collection string, size int) *Upsert {
	u := &Upsert{buf: make([]byte, 0, size+len(collection)+16)}
	u.buf = appendString(u.buf, 1, collection)
	u.buf = protowire.AppendVarint(protowire.AppendTag(u.buf, 2, protowire.VarintType), 1)
	return u
}

// Points is how many points were added.
func (u *Upsert) Points() int { return u.points }

// Add adds a record that [Refuses] says nothing against. tenant is the unit's
// name in multitenancy, else "". After an error the request is as before.
func (u *Upsert) Add(v *pipeline.Vector, tenant string) error {
	id, ok := ParseUUID(v.ID)
	if !ok {
		return errors.New("the id is no UUID")
	}
	before := len(u.buf)
	b, point := open(u.buf, 3)
	b, in := open(b, 1)
	b = appendString(b, 2, id.UUID.String())
	b = closed(b, in)

	b, entry, in := openEntry(b, 3, TextField)
	if v.Text != nil {
		b = appendString(b, stringValue, validText(*v.Text))
	} else {
		b = appendNull(b)
	}
	b = closed(closed(b, in), entry)

	b, entry, in = openEntry(b, 3, MetadataField)
	if v.Metadata != nil {
		if !json.Valid(v.Metadata) {
			u.buf = b[:before]
			return errJSON
		}
		p := parser{raw: v.Metadata}
		var err error
		if b, err = p.wire(b); err != nil {
			u.buf = b[:before]
			return err
		}
	} else {
		b = appendNull(b)
	}
	b = closed(closed(b, in), entry)

	if tenant != "" {
		b, entry, in = openEntry(b, 3, TenantField)
		b = closed(closed(appendString(b, stringValue, tenant), in), entry)
	}
	u.buf = closed(appendVector(b, v.Embedding), point)
	u.points++
	return nil
}

// appendVector writes Vectors{vector: Vector{dense: DenseVector{data}}}.
func appendVector(b []byte, v []float32) []byte {
	data := 4 * len(v)
	dense := protowire.SizeTag(1) + protowire.SizeBytes(data)
	vector := protowire.SizeTag(101) + protowire.SizeBytes(dense)
	b = protowire.AppendVarint(protowire.AppendTag(b, 4, protowire.BytesType), uint64(protowire.SizeTag(1)+protowire.SizeBytes(vector)))
	b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.BytesType), uint64(vector))
	b = protowire.AppendVarint(protowire.AppendTag(b, 101, protowire.BytesType), uint64(dense))
	b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.BytesType), uint64(data))
	b = slices.Grow(b, data)
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

// Fields of a Value.
const (
	nullValue    protowire.Number = 1
	doubleValue  protowire.Number = 2
	integerValue protowire.Number = 3
	stringValue  protowire.Number = 4
	boolValue    protowire.Number = 5
	structValue  protowire.Number = 6
	listValue    protowire.Number = 7
)

func appendString(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendNull(b []byte) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, nullValue, protowire.VarintType), 0)
}

// open begins a message in a message; closed puts its length in front of it.
func open(b []byte, num protowire.Number) (out []byte, from int) {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return b, len(b)
}

func closed(b []byte, from int) []byte {
	n := len(b) - from
	var length [binary.MaxVarintLen64]byte
	return slices.Insert(b, from, protowire.AppendVarint(length[:0], uint64(n))...)
}

// openEntry begins an entry of a map and its value.
func openEntry(b []byte, num protowire.Number, key string) (out []byte, entry, value int) {
	b, entry = open(b, num)
	b = appendString(b, 1, key)
	b, value = open(b, 2)
	return b, entry, value
}

// wire appends the fields of the Value that comes next; see [Value].
func (p *parser) wire(b []byte) ([]byte, error) {
	switch c := p.blank(); c {
	case '{':
		return p.wireObject(b)
	case '[':
		return p.wireList(b)
	case '"':
		s, err := p.text()
		return appendString(b, stringValue, validText(s)), err
	case 't', 'f':
		p.at += len(strconv.FormatBool(c == 't'))
		return protowire.AppendVarint(protowire.AppendTag(b, boolValue, protowire.VarintType), protowire.EncodeBool(c == 't')), nil
	case 'n':
		p.at += len("null")
		return appendNull(b), nil
	}
	lit := literal(p.raw[p.at:])
	p.at += len(lit)
	if isInteger(lit) {
		if n, err := strconv.ParseInt(lit, 10, 64); err == nil {
			return protowire.AppendVarint(protowire.AppendTag(b, integerValue, protowire.VarintType), uint64(n)), nil
		}
	}
	f, err := strconv.ParseFloat(lit, 64)
	if err != nil {
		return b, fmt.Errorf("the number %.40s is beyond what a double can hold", lit)
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, doubleValue, protowire.Fixed64Type), math.Float64bits(f)), nil
}

func (p *parser) wireObject(b []byte) ([]byte, error) {
	b, object := open(b, structValue)
	for p.at++; p.blank() != '}'; {
		if p.raw[p.at] == ',' {
			p.at++
			p.blank()
		}
		key, err := p.text()
		if err != nil {
			return b, err
		}
		p.blank()
		p.at++ // the colon
		var entry, value int
		b, entry, value = openEntry(b, 1, validText(key))
		if b, err = p.wire(b); err != nil {
			return b, err
		}
		b = closed(closed(b, value), entry)
	}
	p.at++
	return closed(b, object), nil
}

func (p *parser) wireList(b []byte) ([]byte, error) {
	b, list := open(b, listValue)
	for p.at++; p.blank() != ']'; {
		if p.raw[p.at] == ',' {
			p.at++
		}
		var item int
		var err error
		b, item = open(b, 1)
		if b, err = p.wire(b); err != nil {
			return b, err
		}
		b = closed(b, item)
	}
	p.at++
	return closed(b, list), nil
}

// Upsert sends the request and tells what the server did.
func (c *Conn) Upsert(ctx context.Context, u *Upsert) (*pb.PointsOperationResponse, error) {
	reply := new(pb.PointsOperationResponse)
	return reply, c.conn.Invoke(ctx, pb.Points_Upsert_FullMethodName, u, reply, grpc.ForceCodecV2(codec{}))
}

// codec sends an [Upsert] as it stands.
type codec struct{}

var _ encoding.CodecV2 = codec{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	u, ok := v.(*Upsert)
	if !ok {
		return nil, fmt.Errorf("%T is no request to write points", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(u.buf)}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no message", v)
	}
	return proto.Unmarshal(data.Materialize(), m)
}
