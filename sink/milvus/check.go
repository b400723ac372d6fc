package milvus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	layout "outgrow/mappings/milvus"
	"outgrow/pipeline"
)

// Reasons of the findings.
const (
	Dimension pipeline.Reason = "vector-dimension"
	Layout    pipeline.Reason = "milvus-layout"
	Name      pipeline.Reason = "collection-name"
	Rewriting pipeline.Reason = "bm25-staging"
	InUse     pipeline.Reason = "in-use"
)

const (
	nameFix      = "rename the collection on the source, or choose another vector store"
	inUseFix     = "name an empty database with MILVUS_DB, or say --replace to drop the collections that are there"
	dimensionFix = "reindex the collections of the other embedding model in Open WebUI, so that all have one dimension, or say --replace if the target's are not needed"
)

// Check looks at the target, and at names and dimensions of the units.
func (s *Sink) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	out := s.names(units)
	out = append(out, s.dimensions(units)...)
	own, staging, err := s.store.Own(ctx)
	if err != nil {
		return nil, err
	}
	without, err := s.store.LoadIndexed(ctx, own)
	if err != nil {
		return nil, err
	}
	have := map[string]*layout.Collection{}
	rows := int64(0)
	for _, c := range own {
		have[c.Name] = c
		if f := s.layoutFinding(c); f != nil {
			f.Unit = ""
			out = append(out, *f)
			continue
		}
		if without[c.Name] {
			continue // it gets its index when it is prepared; nobody has read it before
		}
		n, err := s.store.Count(ctx, c.Name, "")
		if err != nil {
			return nil, err
		}
		rows += n
		out = append(out, s.indexFindings(c)...)
	}
	for _, u := range units {
		c := have[layout.Physical(s.cfg.Store, u.Name)]
		if c != nil && c.Dim > 0 && u.Dim > 0 && c.Dim != u.Dim {
			out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Dimension, Unit: u.ID(), Count: u.Records, Fix: dimensionFix,
				Text: fmt.Sprintf("%s has %d dimensions, collection %s on the target %d", u.Title(), u.Dim, c.Name, c.Dim)})
		}
	}
	for _, n := range staging {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: Rewriting, Text: "collection " + n + " is left of an unfinished rewrite by Open WebUI and is left alone",
			Fix: "start Open WebUI once on the target before: it finishes the rewrite or drops what is left of it"})
	}
	if rows > 0 {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: InUse, Count: rows, Fix: inUseFix,
			Text: fmt.Sprintf("the target's collections hold %d records already", rows)})
	}
	return out, nil
}

// names finds names that cannot be, and two that are one in Milvus.
func (s *Sink) names(units []pipeline.Unit) (out []pipeline.Finding) {
	seen := map[string]string{}
	for _, u := range units {
		if why := layout.BadName(s.cfg.Store, u.Name); why != "" {
			out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Name, Unit: u.ID(), Fix: nameFix, Text: fmt.Sprintf("collection %q cannot be: %s", u.Name, why)})
			continue
		}
		if s.cfg.Store.Multitenancy {
			continue
		}
		p := layout.Physical(s.cfg.Store, u.Name)
		if other, is := seen[p]; is {
			out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Name, Unit: u.ID(), Fix: "use ENABLE_MILVUS_MULTITENANCY_MODE=true, or rename one of them on the source",
				Text: fmt.Sprintf("collections %q and %q are both %s in Milvus", other, u.Name, p)})
		}
		seen[p] = u.Name
	}
	return out
}

// dimensions finds classes whose collections are of several dimensions.
func (s *Sink) dimensions(units []pipeline.Unit) (out []pipeline.Finding) {
	if !s.cfg.Store.Multitenancy {
		return nil
	}
	classes := map[string]map[int][]string{}
	for _, u := range units {
		if u.Dim == 0 || u.Records == 0 {
			continue
		}
		c := layout.Class(u.Name)
		if classes[c] == nil {
			classes[c] = map[int][]string{}
		}
		classes[c][u.Dim] = append(classes[c][u.Dim], u.Name)
	}
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		by := classes[class]
		if len(by) < 2 {
			continue
		}
		var parts []string
		for _, d := range slices.Sorted(maps.Keys(by)) {
			parts = append(parts, fmt.Sprintf("%d dimensions in %d (such as %s)", d, len(by[d]), by[d][0]))
		}
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: Dimension, Count: int64(len(by)),
			Text: fmt.Sprintf("the collections of class %s share one collection in Milvus, which has one dimension; they have %s", class, strings.Join(parts, ", ")),
			Fix:  "reindex the collections of the older embedding model in Open WebUI, or set ENABLE_MILVUS_MULTITENANCY_MODE=false"})
	}
	return out
}

// layoutFinding says why Open WebUI, or a record, would not find its place in a
// collection that is there; nil when it would.
func (s *Sink) layoutFinding(c *layout.Collection) *pipeline.Finding {
	why := ""
	switch {
	case !c.Ours():
		why = "has not the fields that Open WebUI gives"
	case s.cfg.Store.Multitenancy && !c.Shared():
		why = "is not of the multitenancy layout"
	case !s.cfg.Store.Multitenancy && c.Shared():
		why = "is of the multitenancy layout"
	}
	if why == "" {
		return nil
	}
	return &pipeline.Finding{Severity: pipeline.Refuse, Reason: Layout, Text: "collection " + c.Name + " " + why,
		Fix: "name another database with MILVUS_DB, or drop or rename that collection"}
}

// indexFindings compare a collection that is there with the variables.
func (s *Sink) indexFindings(c *layout.Collection) (out []pipeline.Finding) {
	index := c.Indexes[layout.FieldVector]
	if m := index["metric_type"]; m != "" && m != s.cfg.Store.MetricType {
		f := pipeline.Finding{Severity: pipeline.Warn, Reason: Layout, Text: fmt.Sprintf("collection %s is searched by %s, MILVUS_METRIC_TYPE is %s", c.Name, m, s.cfg.Store.MetricType),
			Fix: "set MILVUS_METRIC_TYPE=" + m + ", or say --replace"}
		if s.cfg.Store.Multitenancy { // it names the metric in each search
			f.Severity, f.Text = pipeline.Refuse, f.Text+": Open WebUI's searches would fail"
		}
		out = append(out, f)
	}
	if t := index["index_type"]; t != "" && t != s.cfg.Store.IndexType {
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: Layout, Text: fmt.Sprintf("collection %s keeps its index %s; MILVUS_INDEX_TYPE is for new ones", c.Name, t)})
	}
	if s.store.Layout.BM25 && !c.Has(layout.FieldSparse) && s.cfg.Store.Migrations {
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: Layout, Text: "collection " + c.Name + " is of the layout before 2.5: Open WebUI rewrites it at its next start"})
	}
	return out
}
