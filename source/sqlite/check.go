package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"outgrow/mappings/fstype"
	"outgrow/pipeline"
)

// Check looks for what will not be moved: tables that are not among the units,
// columns left out by SetColumns that hold anything, tables that cannot be
// read; and for a network file system.
func (s *Source) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	tables, err := s.Tables(ctx)
	if err != nil {
		return nil, err
	}
	var found []pipeline.Finding
	found = append(found, s.NetworkFindings()...)
	for _, t := range tables {
		unit := pipeline.Unit{Lane: pipeline.Rows, Name: t.Name}.ID()
		known := slices.ContainsFunc(units, func(u pipeline.Unit) bool { return u.Lane == pipeline.Rows && u.Name == t.Name })
		switch {
		case t.Name == "alembic_version" || t.Name == "migratehistory":
		case !known:
			n, err := s.Count(ctx, pipeline.Unit{Name: t.Name})
			if err != nil {
				return nil, err
			}
			f := pipeline.Finding{Severity: pipeline.Warn, Reason: "extra-table", Unit: unit, Count: n,
				Text: fmt.Sprintf("table %s (%d rows) is not part of Open WebUI's schema and is not moved", t.Name, n),
				Fix:  "move it by hand if something of yours uses it"}
			if t.Leftover {
				f.Severity, f.Text, f.Fix = pipeline.Note, fmt.Sprintf("table %s (%d rows) is left over from a migration and is not moved", t.Name, n), ""
			}
			found = append(found, f)
		case t.WithoutRowID || t.rowid == "":
			found = append(found, pipeline.Finding{Severity: pipeline.Refuse, Reason: "no-rowid", Unit: unit,
				Text: "table " + t.Name + " has no rowid: Open WebUI does not make such a table", Fix: "start Open WebUI's release once on a copy of the folder and name the copy"})
		default:
			extra, err := s.extraColumns(ctx, &t, unit)
			if err != nil {
				return nil, err
			}
			found = append(found, extra...)
		}
	}
	return found, nil
}

// NetworkFindings warns of a network file system, which Check does, too.
func (s *Source) NetworkFindings() []pipeline.Finding {
	if !s.shared {
		return nil
	}
	return []pipeline.Finding{{Severity: pipeline.Warn, Reason: fstype.Network,
		Text: "webui.db lies on a network file system (" + s.fs.String() + "): it can be read only while nobody writes, on any machine",
		Fix:  "keep Open WebUI stopped everywhere until the copy is verified"}}
}

func (s *Source) extraColumns(ctx context.Context, t *TableInfo, unit string) ([]pipeline.Finding, error) {
	s.mu.Lock()
	want, restricted := s.cols[t.Name]
	s.mu.Unlock()
	if !restricted {
		return nil, nil
	}
	var extra []ColumnInfo
	for _, c := range t.Columns {
		if !slices.Contains(want, c.Name) {
			extra = append(extra, c)
		}
	}
	if len(extra) == 0 {
		return nil, nil
	}
	counts := make([]int64, len(extra))
	err := s.each(ctx, "SELECT "+join(extra, ", ", func(c ColumnInfo) string { return "count(" + ident(c.Name) + ")" })+" FROM "+ident(t.Name), func(v []any) error {
		for i := range counts {
			counts[i], _ = v[i].(int64)
		}
		return nil
	})
	if err != nil {
		return nil, openError(s.path, err)
	}
	var found []pipeline.Finding
	for i, c := range extra {
		// A key column that only peewee's tables have is no data.
		if counts[i] == 0 || slices.Contains(t.Key, c.Name) && strings.EqualFold(c.Type, "INTEGER") {
			continue
		}
		found = append(found, pipeline.Finding{Severity: pipeline.Warn, Reason: "extra-column", Unit: unit, Count: counts[i],
			Text: fmt.Sprintf("column %s of table %s has values in %d rows and is not part of the target's schema: it is not moved", c.Name, t.Name, counts[i]),
			Fix:  "move it by hand if something of yours uses it"})
	}
	return found, nil
}
