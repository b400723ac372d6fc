package pinecone

import (
	"context"
	"fmt"
	"slices"
	"strings"

	sdk "github.com/pinecone-io/go-pinecone/v5/pinecone"

	layout "outgrow/mappings/pinecone"
	"outgrow/pipeline"
)

// Reasons of the findings.
const (
	InUse   pipeline.Reason = "in-use"
	Foreign pipeline.Reason = "foreign-records"
	NoIndex pipeline.Reason = "pinecone-index"
)

// Check looks at the index and at the units' dimensions.
func (s *Sink) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	s.mu.Lock()
	ix := s.index
	s.mu.Unlock()
	out := s.dimensions(units)
	if ix == nil {
		return append(out, pipeline.Finding{Severity: pipeline.Note, Reason: NoIndex, Text: "the index will be made: " + layout.Describe(s.cfg.Store)}), nil
	}
	out = append(out, s.indexFindings(ix)...)
	more, err := s.use(ctx)
	return append(out, more...), err
}

// indexFindings compare the index that is there with the variables.
func (s *Sink) indexFindings(ix *layout.Index) (out []pipeline.Finding) {
	refuse := func(reason pipeline.Reason, fix, format string, args ...any) {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: reason, Text: fmt.Sprintf(format, args...), Fix: fix})
	}
	const another = "or name another index by PINECONE_INDEX_NAME"
	c := s.cfg.Store
	switch {
	case !ix.Listable:
		refuse(NoIndex, "name a serverless index by PINECONE_INDEX_NAME", "the index is on pods: its ids cannot be listed, so nothing could be verified")
	case !ix.Dense:
		refuse(NoIndex, "name another index by PINECONE_INDEX_NAME", "the index has sparse vectors, which Open WebUI does not use")
	case ix.Dimension != c.Dimension:
		refuse(layout.Dimension, fmt.Sprintf("set PINECONE_DIMENSION=%d, %s", ix.Dimension, another), "the index has %d dimensions, PINECONE_DIMENSION is %d", ix.Dimension, c.Dimension)
	}
	if ix.Metric != c.Metric {
		refuse(layout.Metric, fmt.Sprintf("set PINECONE_METRIC=%s, %s", ix.Metric, another), "the index measures by %s, PINECONE_METRIC is %s: Open WebUI would give wrong scores", ix.Metric, c.Metric)
	}
	if !ix.Ready {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: NoIndex, Text: fmt.Sprintf("the index is not ready (%s)", ix.State), Fix: "wait until Pinecone's console calls it ready"})
	}
	return out
}

// dimensions refuses a target that no collection fits, and names those that do
// not.
func (s *Sink) dimensions(units []pipeline.Unit) (out []pipeline.Finding) {
	fit, dims := 0, map[int]bool{}
	for _, u := range units {
		switch {
		case u.Dim == s.cfg.Store.Dimension:
			fit++
		case u.Dim > 0:
			dims[u.Dim] = true
			out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: layout.Dimension, Unit: u.ID(), Count: u.Records,
				Text: fmt.Sprintf("%s has %d dimensions, PINECONE_DIMENSION is %d: its records go to the quarantine", u.Title(), u.Dim, s.cfg.Store.Dimension),
				Fix:  "reindex it in Open WebUI by the embedding model of the others, or --accept " + string(layout.Dimension)})
		}
	}
	if fit > 0 || len(dims) == 0 {
		return out
	}
	var list []string
	for d := range dims {
		list = append(list, fmt.Sprint(d))
	}
	slices.Sort(list)
	return []pipeline.Finding{{Severity: pipeline.Refuse, Reason: layout.Dimension,
		Text: fmt.Sprintf("the vectors have %s dimensions, PINECONE_DIMENSION is %d", strings.Join(list, " or "), s.cfg.Store.Dimension),
		Fix:  "set PINECONE_DIMENSION=" + list[0] + " on the target, and name an index of that dimension or one that is not there yet"}}
}

// use looks for records of Open WebUI's.
func (s *Sink) use(ctx context.Context) (out []pipeline.Finding, err error) {
	conn, err := s.connection()
	if err != nil {
		return nil, err
	}
	var count int64
	if err := s.cfg.Backoff.Do(ctx, func(int) (err error) { count, _, err = layout.Count(ctx, conn); return err }); err != nil {
		return nil, err
	}
	ours := false
	others, err := s.scan(ctx, conn, func(ids []string) (bool, error) { ours = true; return false, nil })
	switch {
	case err != nil:
		return nil, err
	case ours:
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: InUse, Count: max(count, 1), Text: fmt.Sprintf("the index holds records of Open WebUI's already (%d records in all)", max(count, 1)),
			Fix: "name another index by PINECONE_INDEX_NAME, or say --replace to delete Open WebUI's records in this one"})
	case others > 0:
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: Foreign, Count: others, Text: fmt.Sprintf("the index holds %d records of another application in the namespace that Open WebUI uses", others),
			Fix: "name an index of its own: Open WebUI deletes all of them when its vector storage is reset"})
	}
	return out, nil
}

// scan hands the ids of Open WebUI's records to f, page by page, until it
// returns false, and counts those that are not.
func (s *Sink) scan(ctx context.Context, conn *sdk.IndexConnection, f func([]string) (bool, error)) (others int64, err error) {
	limit, token := uint32(layout.MaxPage), (*string)(nil)
	for {
		var page *sdk.ListVectorsResponse
		err := s.cfg.Backoff.Do(ctx, func(int) (err error) {
			page, err = conn.ListVectors(ctx, &sdk.ListVectorsRequest{Limit: &limit, PaginationToken: token})
			return layout.Classify(ctx, "listing the index", err)
		})
		if err != nil {
			return others, err
		}
		all := make([]string, len(page.VectorIds))
		for i, id := range page.VectorIds {
			all[i] = *id
		}
		of, err := s.collections(ctx, conn, all)
		if err != nil {
			return others, err
		}
		var ids []string
		for id, name := range of {
			if _, ok := layout.Logical(name); ok {
				ids = append(ids, id)
			} else {
				others++
			}
		}
		if len(ids) > 0 {
			if on, err := f(ids); !on || err != nil {
				return others, err
			}
		}
		if token = page.NextPaginationToken; token == nil || *token == "" {
			return others, nil
		}
	}
}

// collections gives collection_name of those ids that are there.
func (s *Sink) collections(ctx context.Context, conn *sdk.IndexConnection, ids []string) (map[string]string, error) {
	out := make(map[string]string, len(ids))
	for page := range slices.Chunk(ids, layout.MaxPage) {
		var res *sdk.FetchVectorsResponse
		err := s.cfg.Backoff.Do(ctx, func(int) (err error) {
			res, err = conn.FetchVectors(ctx, page)
			return layout.Classify(ctx, "fetching records", err)
		})
		if err != nil {
			return nil, err
		}
		for id, v := range res.Vectors {
			_, out[id] = layout.Decode(v)
		}
	}
	return out, nil
}
