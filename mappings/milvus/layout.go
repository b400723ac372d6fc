// Package milvus knows how Open WebUI's two Milvus clients lay their records
// out: names, fields, indexes, limits, and how the server is reached. Source of
// every fact: Open WebUI 0.12.4, retrieval/vector/dbs/milvus.py and
// milvus_multitenancy.py, pymilvus 2.6.14, and what a Milvus 2.3.5 and a Milvus
// Lite 3.2.2 answered.
//
// The SDK makes the connection; requests go through the service it carries,
// with the types of milvus-proto: the SDK's own calls know no functions (BM25),
// refuse an upsert into a collection that has one, and lose the codes of errors.
package milvus

import (
	"context"
	"fmt"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"outgrow/mappings/env"
)

// Fields of a collection.
const (
	FieldID       = "id"
	FieldVector   = "vector"
	FieldData     = "data" // {"text": …}, before 2.5
	FieldText     = "text"
	FieldSparse   = "sparse" // the server's own, out of text
	FieldMetadata = "metadata"
	FieldResource = "resource_id" // the logical name, with multitenancy
)

// Limits of Milvus, in bytes.
const (
	MaxText     = 65535 // of a VARCHAR; Open WebUI cuts longer texts off
	MaxID       = 65535
	MaxSharedID = 36    // of an id with multitenancy
	MaxJSON     = 65536 // of a JSON field
	MaxDim      = 32768
	// MaxPage is how many records one query may give.
	MaxPage = 16384
)

func pair(k, v string) *commonpb.KeyValuePair { return &commonpb.KeyValuePair{Key: k, Value: v} }

// Schema is that of a collection as Open WebUI's client makes it.
func (s *Store) Schema(name string, dim int) *schemapb.CollectionSchema {
	varchar := func(n string, length int, more ...*commonpb.KeyValuePair) *schemapb.FieldSchema {
		return &schemapb.FieldSchema{Name: n, DataType: schemapb.DataType_VarChar, TypeParams: append([]*commonpb.KeyValuePair{pair("max_length", strconv.Itoa(length))}, more...)}
	}
	json := func(n string) *schemapb.FieldSchema {
		return &schemapb.FieldSchema{Name: n, DataType: schemapb.DataType_JSON}
	}
	shared := s.Cfg.Multitenancy
	idLength := MaxID
	if shared {
		idLength = MaxSharedID
	}
	id := varchar(FieldID, idLength)
	id.IsPrimaryKey = true
	vector := &schemapb.FieldSchema{Name: FieldVector, DataType: schemapb.DataType_FloatVector, TypeParams: []*commonpb.KeyValuePair{pair("dim", strconv.Itoa(dim))}}
	out := &schemapb.CollectionSchema{Name: name, EnableDynamicField: !shared, Fields: []*schemapb.FieldSchema{id, vector}}
	switch {
	case s.Layout.BM25:
		out.Fields = append(out.Fields, varchar(FieldText, MaxText, pair("enable_analyzer", "true")),
			&schemapb.FieldSchema{Name: FieldSparse, DataType: schemapb.DataType_SparseFloatVector, IsFunctionOutput: true})
		out.Functions = []*schemapb.FunctionSchema{{Name: "text_bm25", Type: schemapb.FunctionType_BM25, InputFieldNames: []string{FieldText}, OutputFieldNames: []string{FieldSparse}}}
	case shared:
		out.Fields = append(out.Fields, varchar(FieldText, MaxText, pair("enable_analyzer", "false")))
	default:
		out.Fields = append(out.Fields, json(FieldData))
	}
	out.Fields = append(out.Fields, json(FieldMetadata))
	if shared {
		out.Description = "Shared collection for multi-tenancy"
		out.Fields = append(out.Fields, varchar(FieldResource, MaxName))
		return out
	}
	for _, f := range out.Fields { // the plain client describes fields by their own names
		if f.Name != FieldID && f.Name != FieldSparse {
			f.Description = f.Name
		}
	}
	return out
}

// vectorIndex is the index on the vectors, its parameters one by one as pymilvus
// sends them. The multitenancy client has no
// parameters for DISKANN.
func vectorIndex(cfg env.MilvusConfig) []*commonpb.KeyValuePair {
	out := []*commonpb.KeyValuePair{pair("index_type", cfg.IndexType), pair("metric_type", cfg.MetricType)}
	number := func(k string, n int) { out = append(out, pair(k, strconv.Itoa(n))) }
	switch {
	case cfg.IndexType == "HNSW":
		number("M", cfg.HNSWM)
		number("efConstruction", cfg.HNSWEf)
	case cfg.IndexType == "IVF_FLAT":
		number("nlist", cfg.IVFFlatNlist)
	case cfg.IndexType == "DISKANN" && !cfg.Multitenancy:
		number("max_degree", cfg.DiskANNDegree)
		number("search_list_size", cfg.DiskANNSearch)
	}
	return out
}

// Create makes a collection with its indexes, or what is missing of them, and
// has the server load one of the plain layout, without waiting. It may be
// repeated.
func (s *Store) Create(ctx context.Context, name string, dim int) error {
	have, err := s.Look(ctx, name)
	if err != nil {
		return err
	}
	if have == nil {
		raw, err := proto.Marshal(s.Schema(name, dim))
		if err != nil {
			return err
		}
		res, err := s.Service.CreateCollection(ctx, &milvuspb.CreateCollectionRequest{CollectionName: name, Schema: raw, ConsistencyLevel: commonpb.ConsistencyLevel_Bounded})
		if err := Check("creating collection "+name, bare{res}, err); err != nil {
			return err
		}
		if have, err = s.Look(ctx, name); err != nil {
			return err
		}
		if have == nil {
			return fmt.Errorf("creating collection %s: it is not there afterwards", name)
		}
	}
	return s.Index(ctx, have)
}

// Index makes the indexes that are missing on a collection of ours, and has the
// server load it unless it is shared, without waiting.
func (s *Store) Index(ctx context.Context, c *Collection) error {
	want := map[string][]*commonpb.KeyValuePair{FieldVector: vectorIndex(s.Cfg)}
	order := []string{FieldVector}
	if c.Has(FieldSparse) {
		want[FieldSparse] = []*commonpb.KeyValuePair{pair("index_type", "SPARSE_INVERTED_INDEX"), pair("metric_type", "BM25")}
		order = append(order, FieldSparse)
	}
	for _, field := range order {
		if c.Indexes[field] != nil {
			continue
		}
		if err := s.index(ctx, c.Name, field, want[field]); err != nil {
			return err
		}
	}
	if !s.Cfg.Multitenancy {
		return s.BeginLoad(ctx, c.Name)
	}
	if c.Indexes[FieldResource] == nil {
		// As Open WebUI does: the server's choice of a scalar index, where it
		// makes none an inverted one, and none where that fails too. The index
		// only makes filters faster.
		err := s.index(ctx, c.Name, FieldResource, nil)
		if err != nil && !retryable(err) {
			err = s.index(ctx, c.Name, FieldResource, []*commonpb.KeyValuePair{pair("index_type", "INVERTED")})
		}
		if err != nil && retryable(err) {
			return err
		}
	}
	return nil
}

func (s *Store) index(ctx context.Context, name, field string, params []*commonpb.KeyValuePair) error {
	res, err := s.Service.CreateIndex(ctx, &milvuspb.CreateIndexRequest{CollectionName: name, FieldName: field, IndexName: field, ExtraParams: params})
	return Check("creating the index on "+field+" of "+name, bare{res}, err)
}
