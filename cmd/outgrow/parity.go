package main

import (
	"errors"
	"fmt"
	"strings"

	"outgrow/mappings/env"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// parityFlags say how verify searches on the target.
type parityFlags struct {
	MinRecall float64 `help:"Part of the exact ten nearest records that a search on the target must find, on average over a collection." default:"0.95"`
	Searches  int     `help:"Searches a collection, half of them for stored vectors, half for vectors near them; 0 for none." default:"16"`
}

func (f parityFlags) check() error {
	if f.MinRecall < 0 || f.MinRecall > 1 || f.Searches < 0 {
		return pipeline.Usage("reading the flags", errors.New("--min-recall is not between 0 and 1, or --searches is negative"), "leave them out for 0.95 and 16")
	}
	return nil
}

// parityReport is what the searches showed.
type parityReport struct {
	OK        bool    `json:"ok"`
	MinRecall float64 `json:"min_recall"`
	Index     string  `json:"index"`
	Skipped   string  `json:"skipped,omitempty"` // why nothing was searched for
	Searches  int     `json:"searches"`
	Recall    float64 `json:"recall"` // over all searches
	Lowest    float64 `json:"lowest_recall"`
	// ScoreDifference is the largest one, ScoreTolerance what it may be.
	ScoreDifference float64               `json:"score_difference"`
	ScoreTolerance  float64               `json:"score_tolerance"`
	Units           []pipeline.UnitParity `json:"units,omitempty"`
}

// parity searches in the collections beside the comparison of the vectors.
type parity struct {
	*pipeline.Parity
	report parityReport
}

// newParity hooks the searches into the lane of vectors; nil when there is no
// such lane or nothing is to be searched for.
func newParity(s *session, f parityFlags) *parity {
	if f.Searches == 0 {
		return nil
	}
	for _, m := range s.lanes {
		l, ok := m.(*lane[*pipeline.Vector])
		if !ok {
			continue
		}
		p := &parity{report: parityReport{OK: true, MinRecall: f.MinRecall, Index: indexText(s.to.Vector), Recall: 1, Lowest: 1, ScoreTolerance: 1e-5}}
		target, ok := l.back.(pipeline.Searcher)
		if p.report.Skipped = otherMetric(s.to.Vector); p.report.Skipped == "" && !ok {
			p.report.Skipped = "this version does not search in " + s.to.Vector.Kind
		}
		if p.report.Skipped != "" {
			return p
		}
		transforms := l.transforms
		if pg := s.to.Vector.PG; s.to.Vector.Kind == env.PGVector && pg.HalfVec {
			// The stored vectors are rounded, and so is the query.
			p.report.ScoreTolerance = 1e-3
			transforms = append(transforms[:len(transforms):len(transforms)], func(_ pipeline.Unit, v *pipeline.Vector) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
				return vectors.Expect(pg, v), nil, nil
			})
		}
		p.Parity = pipeline.NewParity(pipeline.ParityConfig{Source: l.source, Transforms: transforms, Target: target, Journal: l.journal,
			Workers: l.workers, Searches: f.Searches, Tolerance: p.report.ScoreTolerance})
		l.observe, l.then = p.Observe, p.Search
		return p
	}
	return nil
}

// sum fills the report in once the lane was compared.
func (p *parity) sum() *parityReport {
	if p == nil {
		return nil
	}
	r := &p.report
	if p.Parity == nil {
		return r
	}
	r.Units = p.Results()
	var found float64
	for i := range r.Units {
		u := &r.Units[i]
		if u.Skipped != "" {
			continue
		}
		r.OK = r.OK && !u.Low(r.MinRecall)
		r.Searches += u.Searches
		found += u.Recall * float64(u.Searches)
		r.Lowest = min(r.Lowest, u.Recall)
		r.ScoreDifference = max(r.ScoreDifference, u.ScoreDifference)
	}
	if r.Searches > 0 {
		r.Recall = found / float64(r.Searches)
	}
	return r
}

// say prints one line in all, and one for each collection that does not answer
// as it should, show of them at most.
func (r *parityReport) say(a *app, show int) {
	if r.Skipped != "" {
		a.say("search  not compared: %s", r.Skipped)
		return
	}
	a.say("search  %s in %s: recall@10 %.3f, lowest %.3f; scores within %.1e of the exact ones", plural(int64(r.Searches), "search"), plural(int64(len(r.Units)), "collection"),
		r.Recall, r.Lowest, r.ScoreDifference)
	low, said := false, 0
	for i := range r.Units {
		u := &r.Units[i]
		if !u.Low(r.MinRecall) {
			continue
		}
		low = low || u.Fault == ""
		if said++; said > show {
			continue
		}
		switch {
		case u.Fault != "":
			a.say("search  %s: the records on the target do not answer as the source's: %s", u.Unit, a.clean(u.Fault))
		case u.Exact != nil:
			a.say("search  %s: recall@10 is %.3f, below %g; its records are right, as the exact search finds them all: it is the index", u.Unit, u.Recall, r.MinRecall)
		default:
			a.say("search  %s: recall@10 is %.3f, below %g; %s has no exact search that would tell the index from the records", u.Unit, u.Recall, r.MinRecall, r.Index)
		}
	}
	if said > show {
		a.say("search  and %s more like that; all are in the report", plural(int64(said-show), "collection"))
	}
	if low {
		a.say("index   %s: build it with higher parameters, or accept what it finds with --min-recall", r.Index)
	}
}

// indexText names the vector index and the variables that it was built by.
func indexText(v env.Vector) string {
	switch v.Kind {
	case env.PGVector:
		l := vectors.PG(v.PG)
		if l.Method == vectors.HNSW {
			return fmt.Sprintf("pgvector hnsw (PGVECTOR_HNSW_M=%d, PGVECTOR_HNSW_EF_CONSTRUCTION=%d)", l.M, l.Ef)
		}
		return fmt.Sprintf("pgvector ivfflat (PGVECTOR_IVFFLAT_LISTS=%d)", l.Lists)
	case env.Qdrant:
		where := "m"
		if v.Qdrant.Multitenancy {
			where = "payload_m"
		}
		return fmt.Sprintf("Qdrant hnsw (QDRANT_HNSW_M=%d, as %s)", v.Qdrant.HNSWM, where)
	case env.Milvus:
		m := v.Milvus
		switch m.IndexType {
		case "HNSW":
			return fmt.Sprintf("Milvus HNSW (MILVUS_HNSW_M=%d, MILVUS_HNSW_EFCONSTRUCTION=%d)", m.HNSWM, m.HNSWEf)
		case "IVF_FLAT":
			return fmt.Sprintf("Milvus IVF_FLAT (MILVUS_IVF_FLAT_NLIST=%d)", m.IVFFlatNlist)
		case "DISKANN":
			return fmt.Sprintf("Milvus DISKANN (MILVUS_DISKANN_MAX_DEGREE=%d, MILVUS_DISKANN_SEARCH_LIST_SIZE=%d)", m.DiskANNDegree, m.DiskANNSearch)
		}
		return "Milvus " + m.IndexType + " (MILVUS_INDEX_TYPE)"
	case env.Pinecone:
		return "Pinecone's own index of " + v.Pinecone.Index + " (PINECONE_INDEX_NAME)"
	}
	if v.Embedded() {
		return "An embedded Chroma has no index before a collection is used for the first time: all stored vectors were compared"
	}
	return "Chroma hnsw (space cosine, Chroma's defaults: max_neighbors 16, ef_construction 100, ef_search 100)"
}

// otherMetric says so when the target does not measure by cosine, which is what
// the exact hits are ranked by.
func otherMetric(v env.Vector) string {
	variable, metric := "", ""
	switch v.Kind {
	case env.Milvus:
		variable, metric = "MILVUS_METRIC_TYPE", v.Milvus.MetricType
	case env.Pinecone:
		variable, metric = "PINECONE_METRIC", v.Pinecone.Metric
	}
	if metric == "" || strings.EqualFold(metric, "cosine") {
		return ""
	}
	return fmt.Sprintf("%s is %s, not cosine", variable, metric)
}
