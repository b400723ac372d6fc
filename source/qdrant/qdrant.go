// Package qdrant reads the vector lane from Qdrant as Open WebUI's client lays
// it out: one collection each, or five shared ones (multitenancy). A unit is a
// collection under Open WebUI's own name. Records come in the order of their
// point ids, page by page from the id behind the last one; vectors are the unit
// vectors that Qdrant keeps.
package qdrant

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"

	pb "github.com/qdrant/go-client/qdrant"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"outgrow/mappings/env"
	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
)

// Config says what to read.
type Config struct {
	Store  env.QdrantConfig
	Log    *slog.Logger    // may be nil
	Limits pipeline.Limits // of a batch; 1000 records or 8 MiB by default
	// Readers is how many collections are looked at together; 0 means 4.
	Readers int
}

// Source is the reader. It is safe for concurrent use.
type Source struct {
	cfg  Config
	conn *qdrant.Conn
}

var (
	_ pipeline.Source[*pipeline.Vector] = (*Source)(nil)
	_ pipeline.Getter[*pipeline.Vector] = (*Source)(nil)
	_ pipeline.Counter                  = (*Source)(nil)
	_ pipeline.KeyLister                = (*Source)(nil)
	_ pipeline.Splitter                 = (*Source)(nil)
	_ pipeline.Searcher                 = (*Source)(nil)
	_ pipeline.Checker                  = (*Source)(nil)
	_ pipeline.Identifier               = (*Source)(nil)
)

// Open connects. Nothing is ever created or changed.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	if cfg.Readers <= 0 {
		cfg.Readers = 4
	}
	cfg.Limits = cfg.Limits.WithDefaults(1000, 8<<20)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	conn, err := qdrant.Dial(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, conn: conn}, nil
}

// Close ends the connection.
func (s *Source) Close() error { return s.conn.Close() }

// mine keeps the collections of the layout that is read.
func (s *Source) mine(ctx context.Context) (mine, others []qdrant.Found, err error) {
	all, err := s.conn.Find(ctx, s.cfg.Store.Prefix)
	for _, f := range all {
		if f.Shared() == s.cfg.Store.Multitenancy && f.Foreign() == "" {
			mine = append(mine, f)
		} else {
			others = append(others, f)
		}
	}
	return mine, others, err
}

// Units lists the collections by name, with exact counts. Bytes is estimated
// from the first few payloads.
func (s *Source) Units(ctx context.Context) ([]pipeline.Unit, error) {
	mine, _, err := s.mine(ctx)
	if err != nil {
		return nil, err
	}
	found := make([][]pipeline.Unit, len(mine))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.cfg.Readers)
	for i, f := range mine {
		g.Go(func() (err error) { found[i], err = s.units(gctx, f); return err })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	units := slices.Concat(found...)
	slices.SortFunc(units, func(a, b pipeline.Unit) int { return strings.Compare(a.Name, b.Name) })
	return units, nil
}

func (s *Source) units(ctx context.Context, f qdrant.Found) ([]pipeline.Unit, error) {
	payload, err := s.payloadSize(ctx, f.Physical)
	if err != nil {
		return nil, err
	}
	dim := int(f.Vector().GetSize())
	unit := func(name string, n int64) pipeline.Unit {
		return pipeline.Unit{Lane: pipeline.Vectors, Name: name, Records: n, Bytes: n * (payload + 4*int64(dim)), Dim: dim}
	}
	if !s.cfg.Store.Multitenancy {
		n, err := s.conn.Count(ctx, f.Physical, nil)
		return []pipeline.Unit{unit(f.Name, n)}, err
	}
	shares, err := s.conn.Shares(ctx, f.Physical)
	var out []pipeline.Unit
	for _, t := range shares {
		if qdrant.Class(t.Name) != f.Name {
			continue // Check tells of it: Open WebUI looks for it elsewhere
		}
		out = append(out, unit(t.Name, t.Records))
	}
	return out, err
}

// payloadSize is the mean size of a record without its vector.
func (s *Source) payloadSize(ctx context.Context, physical string) (int64, error) {
	reply, err := s.conn.Points.Scroll(ctx, &pb.ScrollPoints{CollectionName: physical, Limit: new(uint32(8)), WithPayload: pb.NewWithPayload(true)})
	if err != nil {
		return 0, qdrant.Classify("looking at the records of "+physical, err)
	}
	sum := 0
	for _, p := range reply.GetResult() {
		v, _ := qdrant.Decode(p)
		sum += v.Size()
	}
	return int64(sum / max(len(reply.GetResult()), 1)), nil
}

// filter selects a unit's points; nil for all of the collection.
func (s *Source) filter(u pipeline.Unit, more ...*pb.Condition) *pb.Filter {
	switch {
	case s.cfg.Store.Multitenancy:
		return qdrant.OfTenant(u.Name, more...)
	case len(more) > 0:
		return &pb.Filter{Must: more}
	}
	return nil
}

func (s *Source) collection(u pipeline.Unit) string { return qdrant.Collection(s.cfg.Store, u.Name) }

// Count counts a collection's records; one that is not there has none.
func (s *Source) Count(ctx context.Context, u pipeline.Unit) (int64, error) {
	return s.conn.Count(ctx, s.collection(u), s.filter(u))
}

// Keys lists a collection's ids.
func (s *Source) Keys(ctx context.Context, u pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		req := &pb.ScrollPoints{CollectionName: s.collection(u), Filter: s.filter(u), Limit: new(uint32(qdrant.Page)), WithPayload: pb.NewWithPayload(false)}
		for {
			reply, err := s.conn.Points.Scroll(ctx, req)
			if qdrant.Code(err) == codes.NotFound {
				return
			}
			if err != nil {
				yield("", qdrant.Classify("listing keys of "+u.ID(), err))
				return
			}
			for _, p := range reply.GetResult() {
				id, ok := qdrant.PointOf(p.GetId())
				if ok && !yield(id.String(), nil) {
					return
				}
			}
			if req.Offset = reply.GetNextPageOffset(); req.Offset == nil {
				return
			}
		}
	}
}

// Get fetches records by id, spelled as this reader spells them.
func (s *Source) Get(ctx context.Context, u pipeline.Unit, keys []string) (map[string]*pipeline.Vector, error) {
	out := make(map[string]*pipeline.Vector, len(keys))
	var ids []*pb.PointId
	for _, k := range keys {
		if p, ok := qdrant.ParsePoint(k); ok {
			ids = append(ids, p.PB())
		}
	}
	if len(ids) == 0 {
		return out, ctx.Err()
	}
	reply, err := s.conn.Points.Get(ctx, &pb.GetPoints{CollectionName: s.collection(u), Ids: ids, WithPayload: pb.NewWithPayload(true), WithVectors: pb.NewWithVectors(true)})
	if qdrant.Code(err) == codes.NotFound {
		return out, nil
	}
	if err != nil {
		return nil, qdrant.Classify("reading "+u.ID(), err)
	}
	for _, p := range reply.GetResult() {
		if s.cfg.Store.Multitenancy && qdrant.Tenant(p.GetPayload()) != u.Name {
			continue
		}
		if v, err := qdrant.Decode(p); err == nil {
			out[v.ID] = v
		}
	}
	return out, nil
}

// Split cuts a collection by ranges of ids.
func (s *Source) Split(_ context.Context, u pipeline.Unit, n int) ([]pipeline.Part, error) {
	parts := []pipeline.Part{{Unit: u}}
	for i, cut := range qdrant.Cuts(n) {
		parts[i].To = cursor(cut)
		parts = append(parts, pipeline.Part{Unit: u, N: i + 1, From: cursor(cut)})
	}
	return parts, nil
}

// Identity names layout and prefix; its state changes with the collections and
// the number of their records. A record that was only overwritten does not show:
// Qdrant keeps no mark of that.
func (s *Source) Identity(ctx context.Context) (pipeline.Identity, error) {
	units, err := s.Units(ctx)
	if err != nil {
		return pipeline.Identity{}, err
	}
	h := sha256.New()
	for _, u := range units {
		_, _ = fmt.Fprintf(h, "%q %d %d\n", u.Name, u.Records, u.Dim)
	}
	return pipeline.Identity{Stable: qdrant.Fingerprint(s.cfg.Store), State: hex.EncodeToString(h.Sum(nil)[:16])}, nil
}

var errStrange = errors.New("the cursor is none of this reader's")
