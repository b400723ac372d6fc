package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// Check looks at the server, and for what will not be moved: tables that are not
// among the units, columns left out by SetColumns that hold anything, tables
// that cannot be read.
func (s *Source) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	found, err := s.server(ctx)
	if err != nil {
		return nil, pg.Classify("checking the source", err)
	}
	for _, name := range s.denied {
		f := pipeline.Finding{Severity: pipeline.Note, Reason: "extra-table", Unit: rows(name).ID(), Text: "table " + name + " may not be read by this role and is not moved"}
		if s.ours(name) {
			f.Severity, f.Reason, f.Fix = pipeline.Refuse, "rights", "as its owner: GRANT SELECT ON "+s.t(name)+" TO the role of DATABASE_URL"
		}
		if !others(name) {
			found = append(found, f)
		}
	}
	for _, name := range sorted(s.tables) {
		u := rows(name)
		if others(name) || name == version || name == "migratehistory" {
			continue
		}
		if !slices.ContainsFunc(units, func(m pipeline.Unit) bool { return m.ID() == u.ID() }) {
			n, err := s.Count(ctx, u)
			if err != nil {
				return nil, err
			}
			f := pipeline.Finding{Severity: pipeline.Warn, Reason: "extra-table", Unit: u.ID(), Count: n,
				Text: fmt.Sprintf("table %s (%d rows) is not part of Open WebUI's schema and is not moved", name, n),
				Fix:  "move it by hand if something of yours uses it"}
			if leftover(name) {
				f.Severity, f.Text, f.Fix = pipeline.Note, fmt.Sprintf("table %s (%d rows) is left over from a migration and is not moved", name, n), ""
			}
			found = append(found, f)
			continue
		}
		if _, err := s.open(ctx, u); errors.Is(err, errors.ErrUnsupported) {
			found = append(found, pipeline.Finding{Severity: pipeline.Refuse, Reason: "no-key", Unit: u.ID(), Text: "table " + name + " has no primary key, and no columns that could be one",
				Fix: "give it the primary key that Open WebUI's own tables have, which may mean to delete rows that are there twice"})
			continue
		}
		extra, err := s.extraColumns(ctx, s.tables[name])
		if err != nil {
			return nil, pg.Classify("looking at the columns of "+name, err)
		}
		found = append(found, extra...)
	}
	return found, nil
}

func rows(table string) pipeline.Unit { return pipeline.Unit{Lane: pipeline.Rows, Name: table} }

// server finds what stands in the way of reading from it.
func (s *Source) server(ctx context.Context) (found []pipeline.Finding, err error) {
	add := func(sev pipeline.Severity, reason pipeline.Reason, fix, format string, args ...any) {
		found = append(found, pipeline.Finding{Severity: sev, Reason: reason, Text: fmt.Sprintf(format, args...), Fix: fix})
	}
	pooler, err := pg.Pooler(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	if pooler {
		add(pipeline.Refuse, "pooler", "give the database's own address in OUTGROW_FROM_DATABASE_URL; the application may keep the pooler's",
			"a connection pooler stands in front of the source database and shares sessions")
	}
	var n int
	var encoding string
	var standby bool
	if err := s.pool.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), pg_is_in_recovery()").
		Scan(&n, &encoding, &standby); err != nil {
		return nil, err
	}
	if n < pg.MinVersion {
		add(pipeline.Refuse, "version", "upgrade the server to PostgreSQL 14 or later", "the source's server is PostgreSQL %d", n/10000)
	}
	if encoding == "SQL_ASCII" {
		add(pipeline.Refuse, "encoding", "dump it, and restore it into a database with ENCODING 'UTF8'", "the source database has no encoding (SQL_ASCII): its text may be anything")
	}
	if standby {
		add(pipeline.Warn, "replica", "name the primary, or set hot_standby_feedback on the replica", "the source is a replica: it may cancel long reads, and what the primary wrote last may not be there yet")
	}
	return found, nil
}

// extraColumns finds columns that SetColumns leaves out and that hold anything.
func (s *Source) extraColumns(ctx context.Context, t *pg.Table) ([]pipeline.Finding, error) {
	s.mu.Lock()
	want, restricted := s.cols[t.Name]
	s.mu.Unlock()
	if !restricted {
		return nil, nil
	}
	var extra []string
	for _, c := range t.Columns {
		// A key of its own that Open WebUI's tables do not have is no data.
		if number := c.Type == "integer" || c.Type == "bigint"; !slices.Contains(want, c.Name) && !(c.InKey && number) {
			extra = append(extra, c.Name)
		}
	}
	if len(extra) == 0 {
		return nil, nil
	}
	counts, into := make([]int64, len(extra)), make([]any, len(extra))
	for i := range counts {
		into[i] = &counts[i]
	}
	err := s.view(ctx, func(q pg.Querier) error {
		return q.QueryRow(ctx, "SELECT "+join(extra, ", ", func(c string) string { return "count(" + pg.Ident(c) + ")" })+" FROM "+s.t(t.Name)).Scan(into...)
	})
	if err != nil {
		return nil, err
	}
	var found []pipeline.Finding
	for i, c := range extra {
		if counts[i] > 0 {
			found = append(found, pipeline.Finding{Severity: pipeline.Warn, Reason: "extra-column", Unit: rows(t.Name).ID(), Count: counts[i],
				Text: fmt.Sprintf("column %s of table %s has values in %d rows and is not part of the target's schema: it is not moved", c, t.Name, counts[i]),
				Fix:  "move it by hand if something of yours uses it"})
		}
	}
	return found, nil
}
