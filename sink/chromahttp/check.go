package chromahttp

import (
	"context"
	"fmt"
	"slices"

	"outgrow/mappings/chromahttp"
	"outgrow/pipeline"
)

// Reasons of the findings.
const (
	Layout    pipeline.Reason = "chroma-layout"
	Dimension pipeline.Reason = "vector-dimension"
	InUse     pipeline.Reason = "in-use"
)

const inUseFix = "name an empty database in CHROMA_DATABASE, or say --replace to delete the collections that are there"

// Check looks for collections that are there under names of the source or of
// Open WebUI, for names that the server refuses, and for conflicts of dimension
// and distance.
func (s *Sink) Check(ctx context.Context, units []pipeline.Unit) (out []pipeline.Finding, err error) {
	by := map[string]pipeline.Unit{}
	names := make([]string, 0, len(units))
	for _, u := range units {
		by[u.Name] = u
		names = append(names, u.Name)
		if problem := chromahttp.NameProblem(u.Name); problem != "" {
			out = append(out, pipeline.Finding{Severity: pipeline.Accept, Reason: chromahttp.CollectionName, Unit: u.ID(), Count: u.Records,
				Text: fmt.Sprintf("%s cannot be a collection: %s", u.Title(), problem),
				Fix:  "rename it at the source, or leave its records in the quarantine with --accept " + string(chromahttp.CollectionName)})
		}
	}
	s.mu.Lock()
	s.units = names
	s.mu.Unlock()
	all, err := s.client.Collections(ctx)
	if err != nil {
		return nil, err
	}
	var used int
	var records int64
	for _, l := range all {
		u, ours := by[l.Name]
		if ours {
			if problem, fix := conflict(&l, u); problem != "" {
				reason := Layout
				if l.Space() == chromahttp.Cosine {
					reason = Dimension
				}
				out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: reason, Unit: u.ID(), Text: problem, Fix: fix + ", or say --replace"})
			}
		}
		if !ours && !chromahttp.IsOpenWebUI(l.Name) {
			continue
		}
		n, err := s.client.Count(ctx, l.ID)
		if err != nil && !chromahttp.Missing(err) {
			return nil, err
		}
		if n > 0 {
			used++
			records += n
		}
	}
	if records > 0 {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: InUse, Count: records, Fix: inUseFix,
			Text: fmt.Sprintf("the Chroma server holds %d records in %d collections of these names", records, used)})
	}
	return out, nil
}

// Empty drops the collections that Open WebUI would call its own and those
// named by the units of the last Check. Others stay: the database may be
// shared.
func (s *Sink) Empty(ctx context.Context) error {
	all, err := s.client.Collections(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	names := s.units
	s.mu.Unlock()
	for _, l := range all {
		if !chromahttp.IsOpenWebUI(l.Name) && !slices.Contains(names, l.Name) {
			continue
		}
		s.cfg.Log.Info("deleting a collection", "collection", l.Name)
		if err := s.client.Drop(ctx, l.Name); err != nil {
			return err
		}
		s.mu.Lock()
		delete(s.known, l.Name)
		s.mu.Unlock()
	}
	return nil
}
