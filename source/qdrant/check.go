package qdrant

import (
	"context"
	"fmt"

	pb "github.com/qdrant/go-client/qdrant"

	"outgrow/mappings/qdrant"
	"outgrow/pipeline"
)

// Reasons of the findings.
const (
	OtherLayout pipeline.Reason = "qdrant-other-layout"
	Layout      pipeline.Reason = "qdrant-layout"
	Status      pipeline.Reason = "qdrant-status"
)

// Check tells of what is under the prefix and is not read, or is not as Open
// WebUI makes it.
func (s *Source) Check(ctx context.Context, _ []pipeline.Unit) ([]pipeline.Finding, error) {
	mine, others, err := s.mine(ctx)
	if err != nil {
		return nil, err
	}
	var out []pipeline.Finding
	warn := func(reason pipeline.Reason, n int64, fix, format string, args ...any) {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: reason, Count: n, Text: fmt.Sprintf(format, args...), Fix: fix})
	}
	foreign := 0
	for _, f := range others {
		if why := f.Foreign(); why != "" {
			warn(Layout, 0, "check that it is not yours", "collection %s is not read: %s", f.Physical, why)
		} else {
			foreign++
		}
	}
	if foreign > 0 {
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: OtherLayout, Count: int64(foreign),
			Text: fmt.Sprintf("%d collections of the other layout are there as well; Open WebUI does not see them with ENABLE_QDRANT_MULTITENANCY_MODE=%t", foreign, s.cfg.Store.Multitenancy)})
	}
	for _, f := range mine {
		if why := qdrant.Unfit(f.Info); why != "" {
			warn(Layout, 0, "", "collection %s: %s", f.Physical, why)
		}
		if f.Info.GetStatus() == pb.CollectionStatus_Red {
			warn(Status, 0, "look at Qdrant's log", "collection %s is red: the server has failed on it", f.Physical)
		}
		if !s.cfg.Store.Multitenancy {
			continue
		}
		shares, err := s.conn.Shares(ctx, f.Physical)
		if err != nil {
			return nil, err
		}
		known := int64(0)
		for _, t := range shares {
			known += t.Records
			if class := qdrant.Class(t.Name); class != f.Name {
				warn(Layout, t.Records, "", "collection %q is in %s and is not read: Open WebUI looks for it in the class %s", t.Name, f.Physical, class)
			}
		}
		n, err := s.conn.Count(ctx, f.Physical, nil)
		if err != nil {
			return nil, err
		}
		if n > known {
			warn(Layout, n-known, "", "%d records of %s are of no tenant and are not read: Open WebUI does not see them", n-known, f.Physical)
		}
	}
	return out, nil
}
