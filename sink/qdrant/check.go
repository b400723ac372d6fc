package qdrant

import (
	"context"
	"fmt"
	"slices"
	"strings"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"

	"outgrow/mappings/env"
	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
)

// Reasons of the findings.
const (
	InUse       pipeline.Reason = "in-use"
	Layout      pipeline.Reason = "qdrant-layout"
	Name        pipeline.Reason = "collection-name"
	OtherLayout pipeline.Reason = "qdrant-other-layout"
	UnitLength  pipeline.Reason = "unit-length"
)

// Check looks at the target's collections and at the units' names and
// dimensions.
func (s *Sink) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	found, err := s.conn.Find(ctx, s.cfg.Store.Prefix)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, u := range units {
		wanted[qdrant.Collection(s.cfg.Store, u.Name)] = true
	}
	var out []pipeline.Finding
	sizes := map[string]int{}
	records, others := int64(0), 0
	for _, f := range found {
		finding := s.fit(f, wanted[f.Physical])
		if finding != nil {
			out = append(out, *finding)
		}
		if f.Foreign() != "" {
			continue
		}
		if f.Shared() != s.cfg.Store.Multitenancy {
			others++
			continue
		}
		if finding == nil {
			sizes[f.Physical] = int(f.Vector().GetSize())
		}
		n, err := s.conn.Count(ctx, f.Physical, nil)
		if err != nil {
			return nil, err
		}
		records += n
	}
	out = append(out, s.units(units, sizes)...)
	if others > 0 {
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: OtherLayout, Count: int64(others),
			Text: fmt.Sprintf("%d collections of Qdrant's other layout are under the prefix %s; they stay as they are", others, s.cfg.Store.Prefix)})
	}
	if records > 0 {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: InUse, Count: records,
			Text: fmt.Sprintf("Qdrant holds %d records under the prefix %s that this run did not write", records, s.cfg.Store.Prefix),
			Fix:  "set another QDRANT_COLLECTION_PREFIX, or pass --replace to delete them"})
	}
	return append(out, pipeline.Finding{Severity: pipeline.Note, Reason: UnitLength, Text: "Qdrant keeps vectors at unit length: scores stay the same, lengths are lost"}), nil
}

// fit tells what is wrong with a collection that is there: one that is wanted
// and unfit is refused.
func (s *Sink) fit(f qdrant.Found, wanted bool) *pipeline.Finding {
	if !wanted {
		return nil
	}
	refuse := func(fix, format string, args ...any) *pipeline.Finding {
		return &pipeline.Finding{Severity: pipeline.Refuse, Reason: Layout, Text: fmt.Sprintf(format, args...), Fix: fix}
	}
	switch shared := f.Shared(); {
	case shared && !s.cfg.Store.Multitenancy:
		return refuse("set another QDRANT_COLLECTION_PREFIX", "collection %s is one of multitenancy's: the collection %q cannot be kept there", f.Physical, f.Name)
	case !shared && s.cfg.Store.Multitenancy:
		return refuse("set another QDRANT_COLLECTION_PREFIX", "collection %s is not as multitenancy makes it: it is the collection %q of the other layout", f.Physical, f.Name)
	}
	if why := qdrant.Unfit(f.Info); why != "" {
		return refuse("delete it, or set another QDRANT_COLLECTION_PREFIX", "collection %s: %s", f.Physical, why)
	}
	return nil
}

func dimensionFix(cfg env.QdrantConfig) string {
	if cfg.Multitenancy {
		return "set ENABLE_QDRANT_MULTITENANCY_MODE=false, where every collection has its own dimension, or reindex in Open WebUI with one embedding model"
	}
	return "delete that collection, or set another QDRANT_COLLECTION_PREFIX"
}

// units checks names, and that the units of one collection have one dimension;
// sizes are those of the collections that are there.
func (s *Sink) units(units []pipeline.Unit, sizes map[string]int) (out []pipeline.Finding) {
	refuse := func(reason pipeline.Reason, u pipeline.Unit, fix, format string, args ...any) {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: reason, Unit: u.ID(), Count: u.Records, Text: fmt.Sprintf(format, args...), Fix: fix})
	}
	first := map[string]pipeline.Unit{}
	sorted := slices.Clone(units)
	slices.SortStableFunc(sorted, func(a, b pipeline.Unit) int { return strings.Compare(a.Name, b.Name) })
	for _, u := range sorted {
		name := qdrant.Collection(s.cfg.Store, u.Name)
		if why := qdrant.BadName(name); why != "" {
			refuse(Name, u, "leave the collection out, or use multitenancy, which takes any name", "collection %q cannot be made: %s", u.Title(), why)
		}
		if u.Dim == 0 {
			continue
		}
		size, there := sizes[name]
		one, seen := first[name]
		switch {
		case there && size != u.Dim:
			refuse(qdrant.Dimension, u, dimensionFix(s.cfg.Store), "%s has %d dimensions, Qdrant's collection %s has %d", u.Title(), u.Dim, name, size)
		case seen && one.Dim != u.Dim:
			refuse(qdrant.Dimension, u, dimensionFix(s.cfg.Store), "%s has %d dimensions and %s has %d: in multitenancy both go into %s, which has one", u.Title(), u.Dim, one.Title(), one.Dim, name)
		case !seen:
			first[name] = u
		}
	}
	return out
}

// Empty deletes every collection under the prefix that is of the layout being
// written; those of the other layout stay.
func (s *Sink) Empty(ctx context.Context) error {
	found, err := s.conn.Find(ctx, s.cfg.Store.Prefix)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Shared() != s.cfg.Store.Multitenancy || f.Foreign() != "" {
			continue
		}
		s.cfg.Log.Info("deleting a collection", "collection", f.Physical, "points", f.Info.GetPointsCount())
		if _, err := s.conn.Collections.Delete(ctx, &pb.DeleteCollection{CollectionName: f.Physical}); err != nil && qdrant.Code(err) != codes.NotFound {
			return qdrant.Classify("deleting collection "+f.Physical, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.targets)
	return nil
}
