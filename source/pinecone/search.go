package pinecone

import (
	"context"
	"errors"
	"fmt"

	sdk "github.com/pinecone-io/go-pinecone/v5/pinecone"
	"google.golang.org/protobuf/types/known/structpb"

	layout "outgrow/mappings/pinecone"
	"outgrow/pipeline"
)

// Reasons of the findings.
const (
	Foreign   pipeline.Reason = "foreign-records"
	Freshness pipeline.Reason = "freshness"
)

// Search asks the index as Open WebUI does: one query each, filtered by
// collection_name. Pinecone has no exact search that one could ask for.
func (s *Source) Search(ctx context.Context, u pipeline.Unit, queries [][]float32, k int, exact bool) ([][]pipeline.Hit, error) {
	if exact {
		return nil, errors.ErrUnsupported
	}
	filter := &structpb.Struct{Fields: map[string]*structpb.Value{layout.CollectionKey: structpb.NewStringValue(layout.Collection(u.Name))}}
	out := make([][]pipeline.Hit, len(queries))
	for i, q := range queries {
		res, err := s.conn.QueryByVectorValues(ctx, &sdk.QueryByVectorValuesRequest{Vector: q, TopK: uint32(min(max(k, 1), layout.MaxTopK)), MetadataFilter: filter})
		if err != nil {
			return nil, layout.Classify(ctx, "searching "+u.ID(), err)
		}
		for _, m := range res.Matches {
			out[i] = append(out[i], pipeline.Hit{ID: m.Vector.Id, Score: layout.Score(s.cfg.Store, m.Score)})
		}
	}
	return out, nil
}

// Identity names the index, and its state by its counts: a record that is
// overwritten does not show.
func (s *Source) Identity(ctx context.Context) (pipeline.Identity, error) {
	id := pipeline.Identity{Stable: fmt.Sprintf("pinecone %s %s %s", s.cfg.Store.Cloud, s.cfg.Store.Environment, s.cfg.Store.Index)}
	err := s.retry(ctx, func() error {
		n, _, err := layout.Count(ctx, s.conn)
		id.State = fmt.Sprintf("%d records of %d dimensions", n, s.index.Dimension)
		return err
	})
	return id, err
}

// Check compares the index with the variables and tells what is in it that will
// not be moved.
func (s *Source) Check(ctx context.Context, _ []pipeline.Unit) (out []pipeline.Finding, err error) {
	if _, err := s.filled(ctx); err != nil {
		return nil, err
	}
	warn := func(reason pipeline.Reason, n int64, fix, format string, args ...any) {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: reason, Count: n, Text: fmt.Sprintf(format, args...), Fix: fix})
	}
	if have, want := s.index.Dimension, s.cfg.Store.Dimension; have != want {
		warn(layout.Dimension, 0, fmt.Sprintf("set PINECONE_DIMENSION=%d on the source", have), "the index has %d dimensions, PINECONE_DIMENSION is %d: Open WebUI finds nothing in it", have, want)
	}
	if have, want := s.index.Metric, s.cfg.Store.Metric; have != want {
		warn(layout.Metric, 0, "set PINECONE_METRIC="+have+" on the source", "the index measures by %s, PINECONE_METRIC is %s: Open WebUI gives wrong scores", have, want)
	}
	if n := s.facts.foreign; n > 0 {
		warn(Foreign, n, "", "%d records of the index are none of Open WebUI's (no collection_name that begins with %s): they are not moved", n, layout.Prefix)
	}
	if n := s.facts.elsewhere; n > 0 {
		warn(Foreign, n, "", "%d records are in other namespaces, which Open WebUI does not use: they are not moved", n)
	}
	if n := s.facts.missing; n > 0 {
		warn(Freshness, n, "wait until nothing has been written for some minutes, then run the same command",
			"the index counts %d more records than it lists: some may have been written or deleted a moment ago", n)
	}
	return out, nil
}
