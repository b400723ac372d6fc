package milvus

import (
	"context"
	"crypto/sha256"
	"fmt"

	layout "outgrow/mappings/milvus"
	"outgrow/pipeline"
)

// Reasons of the findings.
const (
	Name      pipeline.Reason = "collection-name" // - or _ cannot be told
	Rewriting pipeline.Reason = "bm25-staging"    // Open WebUI has not finished rewriting a collection
	Foreign   pipeline.Reason = "foreign"         // under our names, but not of Open WebUI's layout
	Twice     pipeline.Reason = "inserted-twice"  // rows of one id
	Misplaced pipeline.Reason = "misplaced"       // in a shared collection where Open WebUI does not look for it
)

// Check looks for what is not as Open WebUI leaves it.
func (s *Source) Check(ctx context.Context, _ []pipeline.Unit) ([]pipeline.Finding, error) {
	own, staging, err := s.store.Own(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.store.LoadAll(ctx, own); err != nil {
		return nil, err
	}
	var out []pipeline.Finding
	names := map[string]string{}
	if !s.cfg.Store.Multitenancy {
		recovered, unsure, err := s.recover(ctx, own)
		if err != nil {
			return nil, err
		}
		names = recovered
		for _, n := range unsure {
			out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: Name, Unit: string(pipeline.Vectors) + "/" + n,
				Text: fmt.Sprintf("the collection's name may have had - where Milvus has _; it is taken as %q", n),
				Fix:  "going back to Milvus this is harmless; on any other store Open WebUI would not find it if it had -: look up who owns it"})
		}
	}
	for _, n := range staging {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: Rewriting, Text: "collection " + n + " is left of an unfinished rewrite by Open WebUI and is not read",
			Fix: "start Open WebUI once on the source: it finishes the rewrite or drops what is left of it"})
	}
	for _, c := range own {
		if !c.Ours() || s.cfg.Store.Multitenancy && !c.Shared() {
			out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: Foreign, Text: "collection " + c.Name + " has not the fields that Open WebUI gives and is not read",
				Fix: "if it is of use, it is to be moved by whoever made it"})
			continue
		}
		more, err := s.rows(ctx, c, names[stripped(c)])
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// rows compares the rows of a collection with its distinct ids.
func (s *Source) rows(ctx context.Context, c *layout.Collection, logical string) (out []pipeline.Finding, err error) {
	ids, unit := int64(0), ""
	if s.cfg.Store.Multitenancy {
		counts, err := s.tenants(ctx, c)
		if err != nil {
			return nil, err
		}
		for name, n := range counts {
			ids += n
			if layout.Physical(s.cfg.Store, name) != c.Name {
				out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: Misplaced, Count: n,
					Text: fmt.Sprintf("%d records of %q are in %s, where Open WebUI does not look for them, and are not read", n, name, c.Name),
					Fix:  "nothing is needed: the application cannot find them today either"})
			}
		}
	} else {
		u := pipeline.Unit{Lane: pipeline.Vectors, Name: logical}
		unit = u.ID()
		if ids, err = s.Count(ctx, u); err != nil {
			return nil, err
		}
	}
	n, err := s.store.Count(ctx, c.Name, "")
	if err != nil {
		return nil, err
	}
	if n > ids {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: Twice, Unit: unit, Count: n - ids,
			Text: fmt.Sprintf("%s has %d rows for %d ids: Open WebUI has inserted some twice, and Milvus gives one row of each", c.Name, n, ids),
			Fix:  "nothing is needed: one row of each id is copied"})
	}
	return out, nil
}

// Identity is made of what the server says of the database. Stable is when it
// was made; where the server does not tell (Milvus Lite), the oldest collection
// that Open WebUI never drops by itself: that of the knowledge bases with the
// plain layout, a shared one with multitenancy. State has every collection with
// its number of rows.
func (s *Source) Identity(ctx context.Context) (pipeline.Identity, error) {
	own, _, err := s.store.Own(ctx)
	if err != nil {
		return pipeline.Identity{}, err
	}
	if err := s.store.LoadAll(ctx, own); err != nil {
		return pipeline.Identity{}, err
	}
	made, err := s.store.Made(ctx)
	if err != nil {
		return pipeline.Identity{}, err
	}
	origin := fmt.Sprint(made)
	var oldest *layout.Collection
	state := sha256.New()
	for _, c := range own {
		if !c.Ours() {
			continue
		}
		lasting := s.cfg.Store.Multitenancy || c.Name == layout.Physical(s.cfg.Store, layout.KnowledgeBases)
		if made == 0 && lasting && (oldest == nil || c.Created < oldest.Created) {
			oldest, origin = c, fmt.Sprintf("%d-%d", c.ID, c.Created)
		}
		n, err := s.store.Count(ctx, c.Name, "")
		if err != nil {
			return pipeline.Identity{}, err
		}
		state.Write(fmt.Appendf(nil, "%s %d %d\n", c.Name, c.ID, n)) // never fails
	}
	return pipeline.Identity{Stable: "milvus:" + origin + "/" + layout.Place(s.cfg.Store), State: fmt.Sprintf("%x", state.Sum(nil)[:12])}, nil
}
