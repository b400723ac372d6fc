package qdrant

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	pb "github.com/qdrant/go-client/qdrant"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"outgrow/mappings/env"
)

// Found is a collection of a server.
type Found struct {
	Physical string // Qdrant's own name
	Name     string // without the prefix
	Info     *pb.CollectionInfo
}

// Find lists the collections under the prefix, by name.
func (c *Conn) Find(ctx context.Context, prefix string) ([]Found, error) {
	list, err := c.Collections.List(ctx, &pb.ListCollectionsRequest{})
	if err != nil {
		return nil, Classify("listing Qdrant's collections", err)
	}
	var out []Found
	for _, d := range list.GetCollections() {
		if name, ok := strings.CutPrefix(d.GetName(), prefix+"_"); ok {
			out = append(out, Found{Physical: d.GetName(), Name: name})
		}
	}
	slices.SortFunc(out, func(a, b Found) int { return strings.Compare(a.Name, b.Name) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range out {
		g.Go(func() (err error) { out[i].Info, err = c.Look(ctx, out[i].Physical); return err })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	// One may have been deleted since it was listed.
	return slices.DeleteFunc(out, func(f Found) bool { return f.Info == nil }), nil
}

// Look describes a collection; nil when there is none of this name.
func (c *Conn) Look(ctx context.Context, physical string) (*pb.CollectionInfo, error) {
	reply, err := c.Collections.Get(ctx, &pb.GetCollectionInfoRequest{CollectionName: physical})
	if Code(err) == codes.NotFound {
		return nil, nil
	}
	return reply.GetResult(), Classify("looking at collection "+physical, err)
}

// Shared reports whether the collection is one of multitenancy's five, and not
// a plain one of that name: by the index of its tenants, or, where the index is
// still to be made, by an HNSW graph per tenant only.
func (f Found) Shared() bool {
	if !isClass(f.Name) {
		return false
	}
	if _, ok := f.Info.GetPayloadSchema()[TenantField]; ok {
		return true
	}
	h := f.Info.GetConfig().GetHnswConfig()
	return h.M != nil && h.GetM() == 0 && h.GetPayloadM() > 0
}

// tail matches the names that Open WebUI gives, behind another prefix: the
// collections of PREFIX_b begin with PREFIX_ as well.
var tail = regexp.MustCompile(`.+_((file-|user-memory-|web-search-)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-[0-9a-f]{1,15})?|knowledge-bases|[0-9a-f]{63,64})$`)

// Foreign tells why a collection is none of this deployment's, "" when it is:
// it is not Open WebUI's, or of another deployment whose prefix is longer.
func (f Found) Foreign() string {
	_, tenants := f.Info.GetPayloadSchema()[TenantField]
	switch {
	case f.Vector() == nil:
		return "it has named vectors, or none, so Open WebUI did not make it"
	case tenants && !isClass(f.Name), !isClass(f.Name) && tail.MatchString(f.Name):
		return "by its name it belongs to another deployment, whose QDRANT_COLLECTION_PREFIX is longer"
	}
	return ""
}

// Vector describes the unnamed vector; nil when the collection has none, and
// then it is none of Open WebUI's.
func (f Found) Vector() *pb.VectorParams { return VectorOf(f.Info) }

// VectorOf is [Found.Vector] of a description alone.
func VectorOf(info *pb.CollectionInfo) *pb.VectorParams {
	return info.GetConfig().GetParams().GetVectorsConfig().GetParams()
}

// Unfit tells why Open WebUI cannot work with a collection, "" when it can.
func Unfit(info *pb.CollectionInfo) string {
	switch v := VectorOf(info); {
	case v == nil:
		return "it has named vectors, or none"
	case v.GetMultivectorConfig() != nil:
		return "it has several vectors a point"
	case v.GetDistance() != pb.Distance_Cosine:
		return fmt.Sprintf("its distance is %v, not Cosine: Open WebUI's scores would be wrong", v.GetDistance())
	}
	return ""
}

// Create is the request that makes a collection as Open WebUI's client does.
func Create(cfg env.QdrantConfig, physical string, dim int) *pb.CreateCollection {
	hnsw := &pb.HnswConfigDiff{M: new(uint64(cfg.HNSWM))}
	if cfg.Multitenancy {
		hnsw = &pb.HnswConfigDiff{M: new(uint64(0)), PayloadM: new(uint64(cfg.HNSWM))}
	}
	return &pb.CreateCollection{CollectionName: physical, HnswConfig: hnsw,
		VectorsConfig: pb.NewVectorsConfig(&pb.VectorParams{Size: uint64(dim), Distance: pb.Distance_Cosine, OnDisk: &cfg.OnDisk})}
}

// Indexes are the requests that make the payload indexes, in Open WebUI's
// order.
func Indexes(cfg env.QdrantConfig, physical string) []*pb.CreateFieldIndexCollection {
	index := func(field string, isTenant *bool) *pb.CreateFieldIndexCollection {
		return &pb.CreateFieldIndexCollection{CollectionName: physical, FieldName: field, Wait: new(true), FieldType: pb.FieldType_FieldTypeKeyword.Enum(),
			FieldIndexParams: pb.NewPayloadIndexParamsKeyword(&pb.KeywordIndexParams{IsTenant: isTenant, OnDisk: &cfg.OnDisk})}
	}
	if cfg.Multitenancy {
		return []*pb.CreateFieldIndexCollection{index(TenantField, new(true)), index(HashIndex, nil), index(FileIndex, nil)}
	}
	return []*pb.CreateFieldIndexCollection{index(HashIndex, new(false)), index(FileIndex, new(false))}
}

// Share is one collection of Open WebUI in a shared one.
type Share struct {
	Name    string
	Records int64
}

// Shares lists the tenants of a shared collection with their exact counts, by
// name. Where strict mode forbids the question (max_query_limit) it reads the
// tenant of every point instead.
func (c *Conn) Shares(ctx context.Context, physical string) ([]Share, error) {
	for limit := uint64(10_000); ; limit *= 10 {
		reply, err := c.Points.Facet(ctx, &pb.FacetCounts{CollectionName: physical, Key: TenantField, Limit: &limit, Exact: new(true)})
		if Forbidden(err) {
			return c.counted(ctx, physical)
		}
		if err != nil {
			return nil, Classify("listing the tenants of "+physical, err)
		}
		if uint64(len(reply.GetHits())) == limit {
			continue
		}
		var out []Share
		for _, h := range reply.GetHits() {
			if h.GetCount() > 0 {
				out = append(out, Share{h.GetValue().GetStringValue(), int64(h.GetCount())})
			}
		}
		slices.SortFunc(out, func(a, b Share) int { return strings.Compare(a.Name, b.Name) })
		return out, nil
	}
}

// counted is Shares by reading.
func (c *Conn) counted(ctx context.Context, physical string) ([]Share, error) {
	count := map[string]int64{}
	err := c.scroll(ctx, physical, nil, pb.NewWithPayloadInclude(TenantField), func(p *pb.RetrievedPoint) {
		if _, ok := p.GetPayload()[TenantField]; ok {
			count[Tenant(p.GetPayload())]++
		}
	})
	if err != nil {
		return nil, Classify("listing the tenants of "+physical, err)
	}
	out := make([]Share, 0, len(count))
	for _, name := range slices.Sorted(maps.Keys(count)) {
		out = append(out, Share{name, count[name]})
	}
	return out, nil
}

// Count counts exactly; filter may be nil. Where strict mode forbids the
// question (search_allow_exact) it lists the ids instead. A collection that is
// not there has no records.
func (c *Conn) Count(ctx context.Context, physical string, filter *pb.Filter) (int64, error) {
	reply, err := c.Points.Count(ctx, &pb.CountPoints{CollectionName: physical, Filter: filter, Exact: new(true)})
	n := int64(reply.GetResult().GetCount())
	if Forbidden(err) {
		n = 0
		err = c.scroll(ctx, physical, filter, pb.NewWithPayload(false), func(*pb.RetrievedPoint) { n++ })
	}
	if Code(err) == codes.NotFound {
		return 0, nil
	}
	return n, Classify("counting "+physical, err)
}

// Page is how many points Open WebUI itself asks for at once: strict mode, where
// it is on, allows that.
const Page = 1000

// scroll reads a collection without its vectors.
func (c *Conn) scroll(ctx context.Context, physical string, filter *pb.Filter, payload *pb.WithPayloadSelector, each func(*pb.RetrievedPoint)) error {
	req := &pb.ScrollPoints{CollectionName: physical, Filter: filter, Limit: new(uint32(Page)), WithPayload: payload}
	for {
		reply, err := c.Points.Scroll(ctx, req)
		if err != nil {
			return err
		}
		for _, p := range reply.GetResult() {
			each(p)
		}
		if req.Offset = reply.GetNextPageOffset(); req.Offset == nil {
			return nil
		}
	}
}

// Forbidden reports whether an error may be strict mode's, which says no to a
// question that is otherwise right.
func Forbidden(err error) bool {
	code := Code(err)
	return code == codes.InvalidArgument || code == codes.PermissionDenied
}
