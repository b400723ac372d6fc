package fakepinecone

import (
	"context"
	"fmt"
	"time"

	_ "github.com/pinecone-io/go-pinecone/v5/pinecone" // registers the messages
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/structpb"
)

// The SDK's generated messages are internal to it, but they are registered:
// they are made by name and read by their getters.
func message(name protoreflect.FullName) (protoreflect.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		return nil, err
	}
	return t.New(), nil
}

type (
	request interface {
		proto.Message
		GetNamespace() string
	}
	withIDs    interface{ GetIds() []string }
	withFilter interface{ GetFilter() *structpb.Struct }
	vector     interface {
		GetId() string
		GetValues() []float32
		GetMetadata() *structpb.Struct
	}
	searching interface {
		GetTopK() uint32
		GetVector() []float32
		GetIncludeValues() bool
		GetIncludeMetadata() bool
	}
	listing interface {
		GetPrefix() string
		GetLimit() uint32
		GetPaginationToken() string
	}
)

func field(m protoreflect.Message, name protoreflect.Name) protoreflect.FieldDescriptor {
	return m.Descriptor().Fields().ByName(name)
}

func set(m protoreflect.Message, name protoreflect.Name, v any) {
	m.Set(field(m, name), protoreflect.ValueOf(v))
}

// fill writes a record into a Vector or a ScoredVector.
func fill(m protoreflect.Message, id string, r *record, values, meta bool) {
	set(m, "id", id)
	if values {
		l := m.Mutable(field(m, "values")).List()
		for _, f := range r.values {
			l.Append(protoreflect.ValueOfFloat32(f))
		}
	}
	if meta && r.metadata != nil {
		set(m, "metadata", r.metadata.ProtoReflect())
	}
}

// open serves the index's data plane, at its old address when it has one.
func (s *Server) open(x *index) error {
	at := x.address
	if at == "" {
		at = "127.0.0.1:0"
	}
	l, err := listen(at)
	if err != nil {
		return err
	}
	x.address = l.Addr().String()
	x.rpc = grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.MaxSendMsgSize(64<<20))
	desc := grpc.ServiceDesc{ServiceName: "VectorService", HandlerType: (*any)(nil)}
	for name, handle := range map[string]func(*index, protoreflect.Message, protoreflect.Message, string) error{
		"Upsert": s.upsert, "Fetch": s.fetch, "List": s.list, "Query": s.query, "Delete": s.remove, "DescribeIndexStats": s.stats,
	} {
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in, err := message(protoreflect.FullName(name + "Request"))
			if err != nil {
				return nil, err
			}
			out, err := message(protoreflect.FullName(name + "Response"))
			if err != nil {
				return nil, err
			}
			if err := decode(in.Interface()); err != nil {
				return nil, err
			}
			if err := s.serve(ctx, x, name, in, out, handle); err != nil {
				return nil, err
			}
			return out.Interface(), nil
		}})
	}
	x.rpc.RegisterService(&desc, nil)
	go x.rpc.Serve(l) //nolint:errcheck // it ends with Stop
	return nil
}

// serve does one request, or what the faults say.
func (s *Server) serve(ctx context.Context, x *index, name string, in, out protoreflect.Message,
	handle func(*index, protoreflect.Message, protoreflect.Message, string) error) error {
	head, _ := metadata.FromIncomingContext(ctx)
	s.mu.Lock()
	slow := s.faults.slow
	s.mu.Unlock()
	time.Sleep(slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[name]++
	if key := head.Get("api-key"); len(key) == 0 || key[0] == "" || key[0] == WrongKey {
		return status.Error(codes.Unauthenticated, "Invalid API Key")
	}
	if s.faults.storm > 0 {
		s.faults.storm--
		_ = grpc.SetTrailer(ctx, metadata.Pairs("retry-after", seconds(s.faults.after)))
		return status.Error(codes.ResourceExhausted, "Too many requests")
	}
	version := ""
	if v := head.Get("x-pinecone-api-version"); len(v) > 0 {
		version = v[0]
	}
	if err := handle(x, in, out, version); err != nil {
		return err
	}
	if name == "Upsert" && s.faults.lost > 0 {
		s.faults.lost--
		return status.Error(codes.Unavailable, "the answer was lost")
	}
	return nil
}

func (s *Server) upsert(x *index, in, out protoreflect.Message, _ string) error {
	list := in.Get(field(in, "vectors")).List()
	if list.Len() > 1000 {
		return invalid("%d vectors in an upsert, 1000 are the most", list.Len())
	}
	if n := proto.Size(in.Interface()); n > 2<<20 {
		return status.Errorf(codes.OutOfRange, "Request size %d exceeds the maximum supported size of %d bytes", n, 2<<20)
	}
	for i := range list.Len() { // all or nothing
		v := list.Get(i).Message().Interface().(vector) //nolint:errorlint // no error
		if err := x.check(v.GetId(), v.GetValues(), v.GetMetadata()); err != nil {
			return err
		}
	}
	space := x.space(in.Interface().(request).GetNamespace())
	for i := range list.Len() {
		v := list.Get(i).Message().Interface().(vector)
		space[v.GetId()] = &record{v.GetValues(), v.GetMetadata(), time.Now().Add(s.faults.lag)}
	}
	set(out, "upserted_count", uint32(list.Len()))
	return nil
}

func (s *Server) fetch(x *index, in, out protoreflect.Message, _ string) error {
	ids := in.Interface().(withIDs).GetIds()
	if len(ids) > 1000 || len(ids) == 0 {
		return invalid("%d ids in a fetch, 1 to 1000 may be", len(ids))
	}
	s.calls["Fetch ids"] += len(ids)
	space := x.space(in.Interface().(request).GetNamespace())
	found := out.Mutable(field(out, "vectors")).Map()
	for _, id := range ids {
		if r := space[id]; r != nil && s.now(r) {
			v := found.NewValue()
			fill(v.Message(), id, r, true, true)
			found.Set(protoreflect.ValueOfString(id).MapKey(), v)
		}
	}
	return nil
}

func (s *Server) list(x *index, in, out protoreflect.Message, _ string) error {
	r := in.Interface().(listing)
	limit := int(r.GetLimit())
	if limit > 100 {
		return invalid("limit %d is above 100", limit)
	}
	if limit == 0 {
		limit = 100
	}
	ids, next := s.page(x.space(in.Interface().(request).GetNamespace()), r.GetPrefix(), r.GetPaginationToken(), limit)
	l := out.Mutable(field(out, "vectors")).List()
	for _, id := range ids {
		set(l.AppendMutable().Message(), "id", id)
	}
	if next != "" {
		set(out.Mutable(field(out, "pagination")).Message(), "next", next)
	}
	return nil
}

func (s *Server) query(x *index, in, out protoreflect.Message, _ string) error {
	r := in.Interface().(searching)
	if k := r.GetTopK(); k < 1 || k > 10_000 {
		return invalid("top_k must be between 1 and 10000, got %d", k)
	}
	if n := len(r.GetVector()); n != x.dim {
		return invalid("Vector dimension %d does not match the dimension of the index %d", n, x.dim)
	}
	space := x.space(in.Interface().(request).GetNamespace())
	l := out.Mutable(field(out, "matches")).List()
	for _, h := range s.search(x, space, r.GetVector(), in.Interface().(withFilter).GetFilter().AsMap(), int(r.GetTopK())) {
		m := l.AppendMutable().Message()
		fill(m, h.id, h.record, r.GetIncludeValues(), r.GetIncludeMetadata())
		set(m, "score", float32(h.score))
	}
	return nil
}

func (s *Server) remove(x *index, in, _ protoreflect.Message, _ string) error {
	ids := in.Interface().(withIDs).GetIds()
	if len(ids) > 1000 {
		return invalid("%d ids in a delete, 1000 are the most", len(ids))
	}
	space := x.space(in.Interface().(request).GetNamespace())
	if len(space) == 0 {
		return status.Error(codes.NotFound, "Namespace not found")
	}
	for _, id := range ids {
		delete(space, id)
	}
	if f := in.Interface().(withFilter).GetFilter(); f != nil {
		for id, r := range space {
			if match(r.metadata.AsMap(), f.AsMap()) {
				delete(space, id)
			}
		}
	}
	if in.Get(field(in, "delete_all")).Bool() {
		clear(space)
	}
	return nil
}

// stats names the default namespace as the version of the client's API does.
func (s *Server) stats(x *index, in, out protoreflect.Message, version string) error {
	if f := in.Interface().(withFilter).GetFilter(); len(f.GetFields()) > 0 {
		return invalid("Serverless indexes do not support describing stats with metadata filtering")
	}
	total := uint32(0)
	spaces := out.Mutable(field(out, "namespaces")).Map()
	for name, space := range x.spaces {
		n := uint32(0)
		for _, r := range space {
			if s.now(r) {
				n++
			}
		}
		if n == 0 {
			continue
		}
		total += n
		if name == "" && version >= "2025-04" {
			name = "__default__"
		}
		v := spaces.NewValue()
		set(v.Message(), "vector_count", n)
		spaces.Set(protoreflect.ValueOfString(name).MapKey(), v)
	}
	set(out, "total_vector_count", total)
	set(out, "dimension", uint32(x.dim))
	return nil
}

// Records gives the ids of an index's default namespace with the digest-ready
// text of each record: values and metadata, for comparing two stores.
func (s *Server) Records(name string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	if x := s.indexes[name]; x != nil {
		for id, r := range x.space("") {
			body, _ := compact(r.metadata)
			out[id] = fmt.Sprintf("%x %s", r.values, body)
		}
	}
	return out
}
