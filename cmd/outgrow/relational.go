package main

import (
	"context"
	"fmt"
	"iter"
	"time"

	"outgrow/mappings/dependencies"
	"outgrow/mappings/env"
	"outgrow/mappings/files"
	"outgrow/mappings/inspect"
	"outgrow/mappings/secrets"
	"outgrow/pipeline"
	rowsource "outgrow/source/postgres"
	"outgrow/source/sqlite"
)

// relationalIDs lists the ids of a table of the source's database (knowledge,
// file, user); nil where there is no database that could be read.
type relationalIDs func(ctx context.Context, table string) iter.Seq2[string, error]

// database is a deployment's database as it is read, whichever engine holds it.
type database interface {
	pipeline.Source[*pipeline.Row]
	pipeline.Getter[*pipeline.Row]
	pipeline.Counter
	pipeline.KeyLister
	pipeline.Splitter
	pipeline.Identifier
	pipeline.Checker
	// Head is the alembic revision.
	Head(ctx context.Context) (string, error)
	// SetKeys and SetColumns restrict the rows to what a target has.
	SetKeys(keys map[string][]string)
	SetColumns(columns map[string][]string)
	IDs(ctx context.Context, table string) iter.Seq2[string, error]
	FileRows(ctx context.Context) iter.Seq2[inspect.FileRow, error]
	Embedded(ctx context.Context) iter.Seq2[string, error]
	Tokens(ctx context.Context) iter.Seq2[secrets.Token, error]
	SecondFactor(ctx context.Context) (bool, error)
	// Waiting counts what Open WebUI has worked on since, and not finished.
	Waiting(ctx context.Context, since time.Time) (files map[string]int64, messages int64, err error)
	FileOwner(ctx context.Context, id string) (user, email, name string, ok bool, err error)
	// Settings and Plugins are what dependencies are found in.
	Settings(ctx context.Context) ([]dependencies.Setting, error)
	Plugins(ctx context.Context) ([]dependencies.Plugin, error)
}

var (
	_ database = (*sqlite.Source)(nil)
	_ database = (*rowsource.Source)(nil)
)

// relational is the source's database, for its rows or for facts about the other
// lanes.
type relational struct {
	// any is the database, nil where there is none, or none that could be read.
	any database
	// whole is any where all of it is read as it was at one moment; of a
	// PostgreSQL whose rows stay behind only the ids are of use.
	whole database
	// sqlite and pg are any as what it is; only one of them is not nil, or none.
	sqlite *sqlite.Source
	pg     *rowsource.Source
	// missing says why there is none.
	missing string
}

// openRelational opens the source's database. Where the rows stay behind it is
// needed for little, so it may be any, or out of reach.
func (o *opener) openRelational() (*relational, error) {
	r := &relational{}
	rows := o.flags.pick(pipeline.Rows)
	optional := !rows && !o.flags.pick(pipeline.Files) && !o.from.IsFolder
	after := map[string][]string{"file": {pipeline.Unit{Lane: pipeline.Files, Name: files.Uploads}.ID()}}
	var err error
	switch o.from.Database.Kind {
	case env.SQLite:
		r.sqlite, err = sqlite.Open(o.ctx, sqlite.Config{Path: o.from.Database.Path, Stopped: o.flags.Stopped, FileSystem: o.app.fs, Log: o.log, Limits: o.limits(), SpecialAfter: after})
		if err == nil {
			r.any, r.whole = r.sqlite, r.sqlite
		}
	case env.Postgres:
		optional = !rows
		cfg := rowsource.Config{URL: o.from.Database.URL, Schema: o.from.Database.Schema, MaxConns: 2}
		if rows {
			cfg.Snapshot, cfg.MaxConns, cfg.Limits, cfg.SpecialAfter = true, int32(o.writers())+1, o.limits(), after
		}
		if r.pg, err = rowsource.Open(o.ctx, cfg); err == nil {
			if r.any = r.pg; rows {
				r.whole = r.pg
			}
		}
	}
	if err != nil && optional && o.ctx.Err() == nil {
		return &relational{missing: err.Error()}, nil
	}
	return r, err
}

// ids gives the ids of the source's database, nil where there is none.
func (s *session) ids() relationalIDs {
	if s.db.any == nil {
		return nil
	}
	return s.db.any.IDs
}

// inspect tells what the first screen and plan say of a database that is read
// whole.
func (r *relational) inspect(ctx context.Context, f *sourceFacts, stopped bool) error {
	switch {
	case r.whole == nil:
		return nil
	case r.sqlite != nil:
		in, err := r.sqlite.Inspect(ctx)
		if err != nil {
			return err
		}
		f.rows, f.live, f.mode, f.wrote = in.Facts, in.Mode == sqlite.Live, in.Mode.String(), in.Wrote
		if f.held = "webui.db " + size(in.Size); in.WAL > 0 {
			f.held += " + wal " + size(in.WAL)
		}
	default:
		in, err := r.pg.Inspect(ctx)
		if err != nil {
			return err
		}
		f.rows, f.live, f.mode, f.sessions = in.Facts, in.Sessions > 0 && !stopped, "stopped", in.Sessions
		for _, t := range in.Newest {
			if t.After(f.wrote) {
				f.wrote = t
			}
		}
		f.held = fmt.Sprintf("PostgreSQL %d, schema %s: %s", in.Version/10000, in.Schema, size(in.Size))
	}
	if f.live {
		f.mode = "live"
	}
	f.source = r.whole
	return nil
}

// databaseFindings says what could not be asked of the source's database.
func (s *session) databaseFindings() []pipeline.Finding {
	switch {
	case s.db.whole != nil:
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
