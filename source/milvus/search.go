package milvus

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	layout "outgrow/mappings/milvus"
	"outgrow/pipeline"
)

// maxEf is the largest ef that Milvus takes for an HNSW index.
const maxEf = 32768

// Search searches as Open WebUI's client does, but with consistency Strong.
// Scores are (cosine + 1) / 2. The multitenancy client leaves that last step
// out and gives the cosine itself; here it is made for both, so that they
// compare.
func (s *Source) Search(ctx context.Context, u pipeline.Unit, queries [][]float32, k int, exact bool) ([][]pipeline.Hit, error) {
	out := make([][]pipeline.Hit, len(queries))
	c, err := s.collection(ctx, u)
	if err != nil || c == nil || len(queries) == 0 {
		return out, err
	}
	q := layout.Search{Filter: layout.Filter(s.cfg.Store, u.Name), Queries: queries, K: min(k, layout.MaxPage)}
	if s.cfg.Store.Multitenancy {
		q.Metric = s.cfg.Store.MetricType
	}
	if exact {
		if q.Params, err = s.exactly(ctx, c, k); err != nil {
			return nil, err
		}
	}
	found, err := s.store.Search(ctx, c.Name, q)
	if err != nil {
		return nil, err
	}
	for i, hits := range found {
		for _, h := range hits {
			out[i] = append(out[i], pipeline.Hit{ID: h.ID, Score: (float64(h.Distance) + 1) / 2})
		}
	}
	return out, nil
}

// exactly gives the parameters with which the index looks at every vector.
func (s *Source) exactly(ctx context.Context, c *layout.Collection, k int) (string, error) {
	index := c.Indexes[layout.FieldVector]
	switch index["index_type"] {
	case "FLAT":
		return "{}", nil
	case "IVF_FLAT":
		n, err := strconv.Atoi(layout.IndexParam(index, "nlist"))
		if err != nil {
			n = s.cfg.Store.IVFFlatNlist
		}
		return fmt.Sprintf(`{"nprobe":%d}`, n), nil
	case "HNSW":
		n, err := s.store.Count(ctx, c.Name, "")
		if err != nil {
			return "", err
		}
		if n > maxEf {
			return "", errors.ErrUnsupported
		}
		// As many candidates as there are vectors: the graph is walked to its end.
		return fmt.Sprintf(`{"ef":%d}`, max(int64(k), n, 1)), nil
	}
	return "", errors.ErrUnsupported
}
