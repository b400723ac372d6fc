package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/env"
	"outgrow/mappings/milvus"
	"outgrow/mappings/pg"
	"outgrow/source/chroma"

	chromasink "outgrow/sink/chroma"
	chromahttpsink "outgrow/sink/chromahttp"
	milvussink "outgrow/sink/milvus"
	pgvectorsink "outgrow/sink/pgvector"
	pineconesink "outgrow/sink/pinecone"
	qdrantsink "outgrow/sink/qdrant"
	chromahttpsource "outgrow/source/chromahttp"
	milvussource "outgrow/source/milvus"
	pgvectorsource "outgrow/source/pgvector"
	pineconesource "outgrow/source/pinecone"
	qdrantsource "outgrow/source/qdrant"
)

// identified is a sink that names its target.
type identified interface {
	vectorSink
	Fingerprint(ctx context.Context) (string, error)
}

// opened keeps a nil pointer of a sink's own type out of the interface.
func opened[S identified](dst S, err error) (vectorSink, fingerprint, error) {
	if err != nil {
		return nil, nil, err
	}
	return dst, dst.Fingerprint, nil
}

func chromaSource(ctx context.Context, s storeSide) (vectorSource, error) {
	return chroma.Open(ctx, chroma.Config{Dir: s.v.Path, Tenant: s.v.Chroma.Tenant, Database: s.v.Chroma.Database,
		AllowMissing: true, Stable: s.stable, Stopped: s.stopped, FileSystem: s.fs, Private: s.private, Limits: s.limits, Log: s.log})
}

func chromaSink(ctx context.Context, s storeSide) (vectorSink, fingerprint, error) {
	return opened(chromasink.Open(ctx, chromasink.Config{Dir: s.v.Path, Store: inDataDir(s.v), Log: s.log, Journal: s.journal, Detect: s.fs}))
}

// inDataDir is the configuration of an embedded store: it has no server.
func inDataDir(v env.Vector) env.ChromaConfig {
	c := v.Chroma
	c.Host = ""
	return c
}

func chromaHTTPSource(ctx context.Context, s storeSide) (vectorSource, error) {
	return chromahttpsource.Open(ctx, chromahttpsource.Config{Store: s.v.Chroma, Log: s.log, Limits: s.limits, Readers: s.workers + 1, Temp: s.private})
}

func chromaHTTPSink(ctx context.Context, s storeSide) (vectorSink, fingerprint, error) {
	return opened(chromahttpsink.Open(ctx, chromahttpsink.Config{Store: s.v.Chroma, Log: s.log, Writers: s.workers, Journal: s.journal}))
}

func pgvectorSource(ctx context.Context, s storeSide) (vectorSource, error) {
	return pgvectorsource.Open(ctx, pgvectorsource.Config{PG: s.v.PG, Log: s.log, Limits: s.limits, Readers: s.workers + 1, Dim: s.dim, Snapshot: s.snapshot, Shared: s.shared})
}

func pgvectorSink(ctx context.Context, s storeSide) (vectorSink, fingerprint, error) {
	dst, err := pgvectorsink.Open(ctx, pgvectorsink.Config{PG: s.v.PG, Schema: s.schema, Log: s.log, Writers: s.workers, Replace: s.replace, RowsHere: s.rowsHere})
	if err != nil {
		return nil, nil, err
	}
	return dst, pg.FingerprintOf(dst.Pool()), nil
}

func qdrantSource(ctx context.Context, s storeSide) (vectorSource, error) {
	return qdrantsource.Open(ctx, qdrantsource.Config{Store: s.v.Qdrant, Log: s.log, Limits: s.limits, Readers: s.workers + 1})
}

func qdrantSink(ctx context.Context, s storeSide) (vectorSink, fingerprint, error) {
	return opened(qdrantsink.Open(ctx, qdrantsink.Config{Store: s.v.Qdrant, Log: s.log, Writers: s.workers, Journal: s.journal}))
}

func milvusSource(ctx context.Context, s storeSide) (vectorSource, error) {
	return milvussource.Open(ctx, milvussource.Config{Store: s.v.Milvus, Log: s.log, Limits: s.limits, Readers: s.workers + 1, IDs: milvus.IDs(s.ids)})
}

func milvusSink(ctx context.Context, s storeSide) (vectorSink, fingerprint, error) {
	return opened(milvussink.Open(ctx, milvussink.Config{Store: s.v.Milvus, Log: s.log, Writers: s.workers, Journal: s.journal}))
}

// milvusTransform depends on the server's layout, which it tells when it is
// opened.
func milvusTransform(v env.Vector, dst vectorSink, mapIDs bool) vectorChange {
	o := milvus.Options{MapIDs: mapIDs}
	if s, ok := dst.(*milvussink.Sink); ok {
		o.Layout = s.Layout()
	}
	return milvus.Transform(v.Milvus, o)
}

func milvusPlace(ctx context.Context, v env.Vector) (string, error) {
	host, port, err := net.SplitHostPort(v.Milvus.Address)
	if err != nil {
		return "", err
	}
	prefix, n := "", 0
	if v.Milvus.Multitenancy {
		prefix = v.Milvus.Prefix
	}
	if n, err = strconv.Atoi(port); err != nil {
		return "", err
	}
	return atHost(ctx, host, n, cmp.Or(v.Milvus.Database, "default"), strconv.FormatBool(v.Milvus.Multitenancy), prefix), nil
}

func pineconeSource(ctx context.Context, s storeSide) (vectorSource, error) {
	return pineconesource.Open(ctx, pineconesource.Config{Store: s.v.Pinecone, Log: s.log, Limits: s.limits, Readers: s.workers, TempDir: s.private})
}

func pineconeSink(ctx context.Context, s storeSide) (vectorSink, fingerprint, error) {
	return opened(pineconesink.Open(ctx, pineconesink.Config{Store: s.v.Pinecone, Log: s.log, Writers: s.workers, Journal: s.journal}))
}

// pgvectorPlace asks the server who it is.
func pgvectorPlace(ctx context.Context, v env.Vector) (string, error) {
	pool, err := pg.Open(ctx, v.PG.URL, pg.Options{MaxConns: 1})
	if err != nil {
		return "", err
	}
	defer pool.Close()
	return uniquePlace(ctx, pool)
}

// uniquePlace tells databases and schemas apart, on whatever servers.
func uniquePlace(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	id, err := pg.Fingerprint(ctx, pool)
	if strings.HasPrefix(id, "pg:?") { // not unique among servers
		id += pg.Where(pool.Config())
	}
	return id, err
}

func pgvectorDisk(v env.Vector, records, bytes int64) int64 {
	width := int64(4 * v.PG.MaxLength)
	if v.PG.HalfVec {
		width /= 2
	}
	return 2*bytes + width*records
}

// times estimates a store's need as a multiple of the records' own size.
func times(n int64) func(env.Vector, int64, int64) int64 {
	return func(_ env.Vector, _, bytes int64) int64 { return n * bytes }
}

// perCollection is the id space of stores whose collections know nothing of each other.
func perCollection(_ env.Vector, collection string) string { return collection }

// atHost names a server by its address, so that two names of one host are the
// same, and what is looked at on it.
func atHost(ctx context.Context, host string, port int, what ...string) string {
	host = strings.ToLower(strings.Trim(host, "[]"))
	if found, err := net.DefaultResolver.LookupHost(ctx, host); err == nil && len(found) > 0 {
		slices.Sort(found)
		host = found[0]
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		host = "loopback"
	}
	return fmt.Sprintf("%s:%d/%q", host, port, what)
}
