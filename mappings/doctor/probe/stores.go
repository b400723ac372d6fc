package probe

import (
	"context"
	"slices"

	pb "github.com/qdrant/go-client/qdrant"

	"outgrow/mappings/chromahttp"
	"outgrow/mappings/doctor"
	"outgrow/mappings/env"
	"outgrow/mappings/milvus"
	"outgrow/mappings/pinecone"
	"outgrow/mappings/qdrant"
)

// store gives the probe of a vector store with a server of its own; nil where
// there is none, or it is PostgreSQL.
func (p *prober) store() func(context.Context) *doctor.Store {
	probe := func(name, kind string, ask func(context.Context, *doctor.Store) error) func(context.Context) *doctor.Store {
		return func(ctx context.Context) *doctor.Store {
			out := &doctor.Store{Server: doctor.Server{Name: name, Kind: kind}}
			if err := ask(ctx, out); err != nil {
				out.Down = p.why(ctx, err)
			}
			return out
		}
	}
	switch v := p.d.Vector; {
	case v.Kind == env.Qdrant:
		return probe("QDRANT_URI", "Qdrant", p.qdrant)
	case v.Kind == env.Milvus:
		return probe("MILVUS_URI", "Milvus", p.milvus)
	case v.Kind == env.Pinecone:
		return probe("PINECONE_INDEX_NAME", "Pinecone", p.pinecone)
	case v.Kind == env.Chroma && !v.Embedded():
		return probe("CHROMA_HTTP_HOST", "Chroma", func(ctx context.Context, _ *doctor.Store) error {
			c, err := chromahttp.Dial(ctx, v.Chroma, 1)
			if err != nil {
				return err
			}
			c.Close()
			return nil
		})
	}
	return nil
}

func (p *prober) qdrant(ctx context.Context, out *doctor.Store) error {
	cfg := p.d.Vector.Qdrant
	c, err := qdrant.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	out.Kind = "Qdrant " + c.Version()
	list, err := c.Collections.List(ctx, &pb.ListCollectionsRequest{})
	if err != nil {
		return qdrant.Classify("listing Qdrant's collections", err)
	}
	var names []string
	for _, d := range list.GetCollections() {
		names = append(names, d.GetName())
	}
	out.Alien = doctor.Prefixes(names, qdrant.Classes(), cfg.Prefix)
	found, err := c.Find(ctx, cfg.Prefix)
	if err != nil {
		return err
	}
	for _, f := range found {
		switch {
		case f.Foreign() != "":
			continue
		case f.Shared() != cfg.Multitenancy:
			out.Other++
			continue
		}
		out.Own++
		out.Strict = out.Strict || f.Info.GetConfig().GetStrictModeConfig().GetEnabled()
		for _, index := range qdrant.Indexes(cfg, f.Physical) {
			if _, ok := f.Info.GetPayloadSchema()[index.GetFieldName()]; !ok {
				out.Bare = append(out.Bare, f.Physical)
				break
			}
		}
	}
	return nil
}

func (p *prober) milvus(ctx context.Context, out *doctor.Store) error {
	s, err := milvus.Dial(ctx, p.d.Vector.Milvus)
	if err != nil {
		return err
	}
	defer s.Close()
	out.Kind = "Milvus " + s.Version
	names, err := s.Names(ctx)
	if err != nil {
		return err
	}
	own, _, err := s.Own(ctx)
	if err != nil {
		return err
	}
	out.Own = len(own)
	other := *s
	other.Cfg.Multitenancy = !s.Cfg.Multitenancy
	there, _, err := other.Own(ctx)
	if err != nil {
		return err
	}
	// Of a shared layout only what is one, of the plain one only what is ours.
	there = slices.DeleteFunc(there, func(c *milvus.Collection) bool { return !c.Ours() || c.Shared() == s.Cfg.Multitenancy })
	out.Other = len(there)
	if s.Cfg.Multitenancy {
		out.Alien = doctor.Prefixes(names, milvus.Classes(), s.Cfg.Prefix)
	}
	return nil
}

func (p *prober) pinecone(ctx context.Context, out *doctor.Store) error {
	c, err := pinecone.Dial(p.d.Vector.Pinecone)
	if err != nil {
		return err
	}
	ix, err := c.Find(ctx)
	if err != nil {
		return err
	}
	if out.Missing = ix == nil; !out.Missing {
		out.Dim, out.Metric = ix.Dimension, ix.Metric
	}
	return nil
}
