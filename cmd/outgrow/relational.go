package main

import (
	"context"
	"fmt"
	"iter"

	"outgrow/mappings/env"
	"outgrow/mappings/files"
	"outgrow/pipeline"
	rowsource "outgrow/source/postgres"
	"outgrow/source/sqlite"
)

// relationalIDs lists the ids of a table of the source's database (knowledge,
// file, user); nil where there is no database that could be read.
type relationalIDs func(ctx context.Context, table string) iter.Seq2[string, error]

// relational is the source's database, for facts about the other lanes. Only one
// of the two is not nil, or none.
type relational struct {
	sqlite *sqlite.Source
	pg     *rowsource.Source
	// missing says why there is none.
	missing string
}

// openRelational opens the source's database. Where the rows stay behind it is
// needed for little, so it may be any, or out of reach.
func (o *opener) openRelational() (*relational, error) {
	r := &relational{}
	optional := !o.flags.pick(pipeline.Rows) && !o.flags.pick(pipeline.Files) && !o.from.IsFolder
	var err error
	switch o.from.Database.Kind {
	case env.SQLite:
		r.sqlite, err = sqlite.Open(o.ctx, sqlite.Config{Path: o.from.Database.Path, Stopped: o.flags.Stopped, FileSystem: o.app.fs, Log: o.log, Limits: o.limits(),
			SpecialAfter: map[string][]string{"file": {pipeline.Unit{Lane: pipeline.Files, Name: files.Uploads}.ID()}}})
	case env.Postgres:
		optional = true // only its ids are of use
		if r.pg, err = rowsource.Open(o.ctx, rowsource.Config{URL: o.from.Database.URL, Schema: o.from.Database.Schema, MaxConns: 2}); err == nil {
			o.closers = append(o.closers, r.pg.Close)
		}
	}
	if err != nil && optional && o.ctx.Err() == nil {
		return &relational{missing: err.Error()}, nil
	}
	return r, err
}

// ids gives the ids of the source's database, nil where there is none.
func (s *session) ids() relationalIDs {
	switch {
	case s.db.sqlite != nil:
		return s.db.sqlite.IDs
	case s.db.pg != nil:
		return s.db.pg.IDs
	}
	return nil
}

// databaseFindings says what could not be asked of the source's database.
func (s *session) databaseFindings() []pipeline.Finding {
	switch {
	case s.db.sqlite != nil:
		return nil
	case s.db.pg != nil:
		if s.stopped || s.paths != nil { // which tells of other sessions itself
			return nil
		}
		return []pipeline.Finding{{Severity: pipeline.Note, Reason: "live",
			Text: "whether Open WebUI is running on the source cannot be told: stop it for the final run, as what it writes from now on is not copied"}}
	}
	return []pipeline.Finding{{Severity: pipeline.Note, Reason: "no-database",
		Text: fmt.Sprintf("the source's database could not be asked which collections belong to whom: %s", s.app.clean(s.db.missing))}}
}
