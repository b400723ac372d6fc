package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/env"
	"outgrow/mappings/fstype"
	"outgrow/mappings/milvus"
	"outgrow/mappings/pg"
	"outgrow/mappings/pinecone"
	"outgrow/mappings/qdrant"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	chromasink "outgrow/sink/chroma"
)

// vectorSource and vectorSink are the two sides of the vector lane.
type (
	vectorSource  = pipeline.Source[*pipeline.Vector]
	vectorSink    = pipeline.Sink[*pipeline.Vector]
	vectorChange  = pipeline.Transform[*pipeline.Vector]
	fingerprint   = func(context.Context) (string, error)
	vectorCompare = func(ctx context.Context, u pipeline.Unit, want, got *pipeline.Vector) ([]pipeline.Field, error)
)

// vectorStore is what the command knows of one kind of vector store.
type vectorStore struct {
	// kind is how VECTOR_DB names it; embedded tells Chroma's two forms apart.
	kind     string
	embedded bool
	// source opens its reader.
	source func(context.Context, storeSide) (vectorSource, error)
	// sink opens its writer and says how the target is identified.
	sink func(context.Context, storeSide) (vectorSink, fingerprint, error)
	// transactional: it keeps its own journal.
	transactional bool
	// transform makes records that it, opened as dst, can hold. mapIDs: ids that it cannot hold
	// are mapped instead of refused, if it mapsIDs.
	transform func(v env.Vector, dst vectorSink, mapIDs bool) vectorChange
	mapsIDs   bool
	compare   func(v env.Vector) vectorCompare
	describe  func(v env.Vector) string
	// space names the id space of a collection: two records of one space cannot
	// have the same id.
	space func(v env.Vector, collection string) string
	// repeats: as a source it may hold an id twice all the same.
	repeats bool
	// place names server and layout: what has the same place is the same store.
	// It may hold a host, so it is never shown or kept.
	place func(ctx context.Context, v env.Vector) (string, error)
	// apartBy says what tells two targets inside one server apart.
	apartBy string
	// raw: it keeps metadata as the application gave it, where every other store
	// has what Open WebUI's process_metadata leaves; nil is never.
	raw func(v env.Vector) bool
	// disk estimates the bytes that the records of a unit need at most.
	disk func(v env.Vector, records, bytes int64) int64
	// snapshots: its reader sees what was there when it was opened, and so does
	// not see that the source has changed.
	snapshots bool
	// spools: its reader keeps lists on disk meanwhile.
	spools bool
	// Defaults of --writers, of --batch in MiB, and the records of a batch.
	writers int
	batch   int64
	records int
}

// vectorStores is every vector store that this version knows.
func vectorStores() []vectorStore {
	return []vectorStore{
		{
			kind: env.Chroma, embedded: true, apartBy: "name another DATA_DIR on one side", writers: 2, batch: 8, records: 1000,
			source: chromaSource, sink: chromaSink,
			transform: func(v env.Vector, _ vectorSink, _ bool) vectorChange { return chromahttp.Transform(inDataDir(v)) },
			compare:   func(v env.Vector) vectorCompare { return chromahttp.Compare(inDataDir(v)) },
			describe:  func(env.Vector) string { return "chroma" }, space: perCollection,
			place: func(_ context.Context, v env.Vector) (string, error) { return resolve(v.Path), nil },
			disk:  func(_ env.Vector, records, bytes int64) int64 { return chromasink.Disk(records, bytes) },
		},
		{
			kind: env.Chroma, spools: true, writers: 2, batch: 8, records: 1000,
			source: chromaHTTPSource, sink: chromaHTTPSink,
			transform: func(v env.Vector, _ vectorSink, _ bool) vectorChange { return chromahttp.Transform(v.Chroma) },
			compare:   func(v env.Vector) vectorCompare { return chromahttp.Compare(v.Chroma) },
			describe:  func(v env.Vector) string { return chromahttp.Describe(v.Chroma) },
			space:     func(v env.Vector, collection string) string { return chromahttp.IDSpace(v.Chroma, collection) },
			place: func(ctx context.Context, v env.Vector) (string, error) {
				return atHost(ctx, v.Chroma.Host, v.Chroma.Port, v.Chroma.Tenant, v.Chroma.Database), nil
			},
			disk: times(3),
		},
		{
			kind: env.PGVector, transactional: true, snapshots: true, writers: 3, batch: 4,
			source: pgvectorSource, sink: pgvectorSink,
			transform: func(v env.Vector, _ vectorSink, _ bool) vectorChange { return vectors.Transform(v.PG) },
			compare:   func(v env.Vector) vectorCompare { return vectors.Compare(v.PG) },
			describe:  func(v env.Vector) string { return vectors.Describe(v.PG) },
			space:     func(_ env.Vector, collection string) string { return vectors.IDSpace(collection) },
			place:     pgvectorPlace, disk: pgvectorDisk,
			raw: func(v env.Vector) bool { return v.PG.PGCrypto },
		},
		{
			kind: env.Qdrant, apartBy: "change ENABLE_QDRANT_MULTITENANCY_MODE or QDRANT_COLLECTION_PREFIX on one side, name another server", writers: 4, batch: 8, records: 1000,
			source: qdrantSource, sink: qdrantSink, mapsIDs: true,
			transform: func(v env.Vector, _ vectorSink, mapIDs bool) vectorChange {
				return qdrant.Transform(v.Qdrant, qdrant.Options{MapIDs: mapIDs})
			},
			compare:  func(v env.Vector) vectorCompare { return qdrant.Compare(v.Qdrant) },
			describe: func(v env.Vector) string { return qdrant.Describe(v.Qdrant) },
			space:    func(v env.Vector, collection string) string { return qdrant.IDSpace(v.Qdrant, collection) },
			place: func(ctx context.Context, v env.Vector) (string, error) {
				return atHost(ctx, v.Qdrant.Host, v.Qdrant.GRPCPort, qdrant.Fingerprint(v.Qdrant)), nil
			},
			disk: times(2),
		},
		{
			kind: env.Milvus, apartBy: "change ENABLE_MILVUS_MULTITENANCY_MODE, MILVUS_DB or MILVUS_COLLECTION_PREFIX on one side, name another server", writers: 3, batch: 8, records: 1000,
			source: milvusSource, sink: milvusSink, mapsIDs: true, repeats: true,
			transform: milvusTransform,
			compare:   func(v env.Vector) vectorCompare { return milvus.Compare(v.Milvus) },
			describe:  func(v env.Vector) string { return milvus.Describe(v.Milvus) },
			space:     func(v env.Vector, collection string) string { return milvus.IDSpace(v.Milvus, collection) },
			place:     milvusPlace,
			disk:      times(3),
		},
		{
			kind: env.Pinecone, apartBy: "name another PINECONE_INDEX_NAME on one side", spools: true, writers: 4, batch: 4, records: 400,
			source: pineconeSource, sink: pineconeSink,
			transform: func(v env.Vector, _ vectorSink, _ bool) vectorChange { return pinecone.Transform(v.Pinecone) },
			compare:   func(v env.Vector) vectorCompare { return pinecone.Compare(v.Pinecone) },
			describe:  func(v env.Vector) string { return pinecone.Describe(v.Pinecone) },
			space:     func(v env.Vector, collection string) string { return pinecone.IDSpace(v.Pinecone, collection) },
			place: func(_ context.Context, v env.Vector) (string, error) {
				p := v.Pinecone
				return strings.Join([]string{p.Controller, p.APIKey.Reveal(), p.Index}, "\x00"), nil
			},
			disk: times(1),
		},
	}
}

// storeSide is one side's store as it is to be opened.
type storeSide struct {
	v       env.Vector
	schema  string // DATABASE_SCHEMA
	log     *slog.Logger
	limits  pipeline.Limits
	workers int
	dim     int // of the embedding model, 0 when nobody said
	ids     relationalIDs
	// snapshot: a source is read as it was when it was opened, where it can.
	snapshot bool
	// shared is a snapshot of this very database that is held already; nil for none.
	shared *pg.Snapshot
	// Of an embedded store: nobody writes to it, where copies may be made, the
	// identity that the deployment is known by, and who tells its file system.
	stopped bool
	private string
	stable  string
	fs      fstype.Detect
	// Of a target.
	replace, rowsHere bool
	journal           pipeline.Journal
}

// storeOf finds the store of a side; false when this version does not know it.
func storeOf(v env.Vector) (vectorStore, bool) {
	all := vectorStores()
	i := slices.IndexFunc(all, func(s vectorStore) bool {
		return s.kind == v.Kind && s.embedded == v.Embedded()
	})
	if i < 0 {
		return vectorStore{}, false
	}
	return all[i], true
}

// processes reports whether this target gets metadata that a source has kept
// raw: Open WebUI's own client would have processed it first.
func (to vectorStore) processes(src, dst env.Vector) bool {
	from, ok := storeOf(src)
	return ok && from.raw != nil && from.raw(src) && (to.raw == nil || !to.raw(dst))
}

// supportedStores names what cannot be a source, or a target.
func supportedStores(from, to env.Vector, told map[string]bool) []error {
	var errs []error
	if _, ok := storeOf(from); !ok && from.Kind != "" && !told["from VECTOR_DB"] {
		errs = append(errs, fmt.Errorf("from: VECTOR_DB is %s, which this version does not read", from.Kind))
	}
	if _, ok := storeOf(to); !ok && to.Kind != "" && !told["to VECTOR_DB"] {
		errs = append(errs, fmt.Errorf("to: VECTOR_DB is %s, which this version does not write", to.Kind))
	}
	return errs
}
