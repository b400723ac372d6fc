package milvus

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"
)

// Search is a search for the nearest vectors.
type Search struct {
	Filter  string
	Queries [][]float32
	K       int
	// Metric is sent where it is not "", as the multitenancy client does.
	Metric string
	// Params is the JSON object of the index's search parameters, "" for none.
	Params string
}

// Found is a hit with the server's own score.
type Found struct {
	ID       string
	Distance float32
}

// Search asks with consistency Strong, else as pymilvus does for Open WebUI.
func (s *Store) Search(ctx context.Context, name string, q Search) ([][]Found, error) {
	op := "searching in " + name
	values := make([][]byte, len(q.Queries))
	for i, v := range q.Queries {
		for _, f := range v {
			values[i] = binary.LittleEndian.AppendUint32(values[i], math.Float32bits(f))
		}
	}
	group, err := proto.Marshal(&commonpb.PlaceholderGroup{Placeholders: []*commonpb.PlaceholderValue{{Tag: "$0", Type: commonpb.PlaceholderType_FloatVector, Values: values}}})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if q.Params == "" {
		q.Params = "{}"
	}
	params := []*commonpb.KeyValuePair{pair("topk", strconv.Itoa(q.K)), pair("round_decimal", "-1"), pair("ignore_growing", "False"),
		pair("anns_field", FieldVector), pair("params", q.Params)}
	if q.Metric != "" {
		params = append(params, pair("metric_type", q.Metric))
	}
	res, err := s.Service.Search(ctx, &milvuspb.SearchRequest{CollectionName: name, Dsl: q.Filter, DslType: commonpb.DslType_BoolExprV1, PlaceholderGroup: group,
		SearchParams: params, Nq: int64(len(q.Queries)), ConsistencyLevel: commonpb.ConsistencyLevel_Strong})
	if err := Check(op, res, err); err != nil {
		return nil, err
	}
	r := res.GetResults()
	out := make([][]Found, len(q.Queries))
	ids, scores, at := r.GetIds().GetStrId().GetData(), r.GetScores(), 0
	if len(r.GetTopks()) > len(out) || len(ids) != len(scores) {
		return nil, fmt.Errorf("%s: the answer has %d ids, %d scores and %d lists", op, len(ids), len(scores), len(r.GetTopks()))
	}
	for i, n := range r.GetTopks() {
		for range n {
			if at >= len(ids) {
				return nil, fmt.Errorf("%s: the answer is cut off", op)
			}
			out[i] = append(out[i], Found{ids[at], scores[at]})
			at++
		}
	}
	return out, nil
}

// IndexParam is a build parameter of an index as the server describes it: some
// list them one by one, some as one JSON object under params.
func IndexParam(described map[string]string, name string) string {
	if v, ok := described[name]; ok {
		return v
	}
	var m map[string]json.Number
	if json.Unmarshal([]byte(described["params"]), &m) != nil {
		return ""
	}
	return m[name].String()
}
