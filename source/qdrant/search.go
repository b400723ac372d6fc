package qdrant

import (
	"context"
	"errors"
	"fmt"

	pb "github.com/qdrant/go-client/qdrant"

	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
)

// searches is how many queries are sent in one request.
const searches = 32

// Search asks what Open WebUI's client asks, without the payload: no index
// parameters, the tenant as a filter in multitenancy. With exact the server
// compares every vector.
func (s *Source) Search(ctx context.Context, u pipeline.Unit, queries [][]float32, k int, exact bool) ([][]pipeline.Hit, error) {
	out := make([][]pipeline.Hit, 0, len(queries))
	for len(queries) > 0 {
		n := min(len(queries), searches)
		req := &pb.QueryBatchPoints{CollectionName: s.collection(u)}
		for _, q := range queries[:n] {
			one := &pb.QueryPoints{CollectionName: s.collection(u), Query: pb.NewQueryDense(q), Filter: s.filter(u), Limit: new(uint64(k))}
			if exact {
				one.Params = &pb.SearchParams{Exact: &exact}
			}
			req.QueryPoints = append(req.QueryPoints, one)
		}
		queries = queries[n:]
		reply, err := s.conn.Points.QueryBatch(ctx, req)
		if exact && qdrant.Forbidden(err) {
			info, lerr := s.conn.Look(ctx, s.collection(u))
			if strict := info.GetConfig().GetStrictModeConfig(); lerr == nil && strict.GetEnabled() && strict.SearchAllowExact != nil && !strict.GetSearchAllowExact() {
				return nil, fmt.Errorf("searching %s exactly: %w", u.ID(), errors.ErrUnsupported)
			}
		}
		if err != nil {
			return nil, qdrant.Classify("searching "+u.ID(), err)
		}
		for _, r := range reply.GetResult() {
			hits := make([]pipeline.Hit, 0, len(r.GetResult()))
			for _, p := range r.GetResult() {
				if id, ok := qdrant.PointOf(p.GetId()); ok {
					hits = append(hits, pipeline.Hit{ID: id.String(), Score: (float64(p.GetScore()) + 1) / 2})
				}
			}
			out = append(out, hits)
		}
	}
	return out, nil
}
