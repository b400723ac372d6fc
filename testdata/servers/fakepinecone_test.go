package servers

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pinecone-io/go-pinecone/v5/pinecone"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// The fake refuses what Pinecone documents that it refuses, with its codes.
func TestFakePineconeHasPineconesLimits(t *testing.T) {
	fake, ctx := OwnFakePinecone(t), t.Context()
	api, err := pinecone.NewClient(pinecone.NewClientParams{ApiKey: "k", Host: fake.Controller})
	if err != nil {
		t.Fatal(err)
	}
	var e *pinecone.PineconeError
	if _, err := api.DescribeIndex(ctx, "ix"); !errors.As(err, &e) || e.Code != http.StatusNotFound {
		t.Errorf("an index that is not there: %v", err)
	}
	dim, metric := int32(3), pinecone.Cosine
	ask := &pinecone.CreateServerlessIndexRequest{Name: "ix", Cloud: pinecone.Aws, Region: "us-east-1", Dimension: &dim, Metric: &metric}
	ix, err := api.CreateServerlessIndex(ctx, ask)
	if err != nil || !ix.Status.Ready || ix.Spec.Serverless.ReadCapacity == nil {
		t.Fatalf("%+v, %v", ix, err)
	}
	if _, err := api.CreateServerlessIndex(ctx, ask); !errors.As(err, &e) || e.Code != http.StatusConflict {
		t.Errorf("made twice: %v", err)
	}
	conn, err := api.Index(pinecone.NewIndexConnParams{Host: ix.Host})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	vec := func(id string, meta map[string]any, values ...float32) *pinecone.Vector {
		m, err := structpb.NewStruct(meta)
		if err != nil {
			t.Fatal(err)
		}
		return &pinecone.Vector{Id: id, Values: &values, Metadata: m}
	}
	many := make([]*pinecone.Vector, 1001)
	for i := range many {
		many[i] = vec(fmt.Sprint(i), nil, 1, 2, 3)
	}
	big := make([]*pinecone.Vector, 60)
	for i := range big {
		big[i] = vec(fmt.Sprint(i), map[string]any{"t": strings.Repeat("x", 40_000)}, 1, 2, 3)
	}
	for name, c := range map[string]struct {
		code codes.Code
		v    []*pinecone.Vector
	}{
		"1001 records": {codes.InvalidArgument, many}, "2 MB": {codes.OutOfRange, big},
		"dimension": {codes.InvalidArgument, []*pinecone.Vector{vec("a", nil, 1, 2)}}, "zeros": {codes.InvalidArgument, []*pinecone.Vector{vec("a", nil, 0, 0, 0)}},
		"40 KB": {codes.InvalidArgument, []*pinecone.Vector{vec("a", map[string]any{"t": strings.Repeat("x", 40_960)}, 1, 2, 3)}},
		"null":  {codes.InvalidArgument, []*pinecone.Vector{vec("a", map[string]any{"t": nil}, 1, 2, 3)}},
		"list":  {codes.InvalidArgument, []*pinecone.Vector{vec("a", map[string]any{"t": []any{"x", 1}}, 1, 2, 3)}},
		"id":    {codes.InvalidArgument, []*pinecone.Vector{vec("ж", nil, 1, 2, 3)}},
		"fine":  {codes.OK, []*pinecone.Vector{vec("b", map[string]any{"n": 3, "l": []any{"x"}}, 1, 2, 3), vec("a", nil, 3, 2, 1)}},
	} {
		if _, err := conn.UpsertVectors(ctx, c.v); status.Code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(fake.Records("ix")); n != 2 {
		t.Errorf("%d records", n)
	}
	limit := uint32(101)
	if _, err := conn.ListVectors(ctx, &pinecone.ListVectorsRequest{Limit: &limit}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a page of 101: %v", err)
	}
	limit = 1
	page, err := conn.WithNamespace("").ListVectors(ctx, &pinecone.ListVectorsRequest{Limit: &limit})
	if err != nil || len(page.VectorIds) != 1 || *page.VectorIds[0] != "a" || page.NextPaginationToken == nil {
		t.Errorf("%+v, %v", page, err)
	}
	stats, err := conn.DescribeIndexStats(ctx)
	if err != nil || stats.Namespaces["__default__"] == nil || stats.Namespaces["__default__"].VectorCount != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
	got, err := conn.FetchVectors(ctx, []string{"b", "c"})
	if err != nil || len(got.Vectors) != 1 || got.Vectors["b"].Metadata.Fields["n"].GetNumberValue() != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := api.DeleteIndex(ctx, "ix"); err != nil || fake.Created("ix") != nil {
		t.Errorf("deleting it: %v", err)
	}
}
