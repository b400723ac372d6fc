package main

import (
	"context"
	"log/slog"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/mappings/rows"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	rowsink "outgrow/sink/postgres"
	rowsource "outgrow/source/postgres"
)

// openTarget opens the target alone, for status and replay: lanes without a
// source.
func (a *app) openTarget(t target) (_ *session, err error) {
	a.json = t.JSON
	s := &session{app: a, args: pair{target: t}}
	to, terr := env.Load("to", t.To, t.ToMount, a.environ)
	a.redact = to.Redact
	s.to = to
	if s.state, err = stateDir(t, ""); err != nil {
		return nil, err
	}
	// What was never moved to this target need not be there, or known.
	var lanes laneFlags
	for _, l := range pipeline.Lanes() {
		if s.begun(l) {
			lanes.Only = append(lanes.Only, string(l))
		}
	}
	if err := configuration(env.Deployment{}, to, lanes, terr); err != nil {
		return nil, err
	}
	if err := s.direct(t); err != nil {
		return nil, err
	}
	s.readChoices(nil, "")
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if lanes.pick(pipeline.Rows) {
		if err := s.targetRows(a.ctx); err != nil {
			return nil, err
		}
	}
	if lanes.pick(pipeline.Vectors) {
		if err := s.targetVectors(a.ctx, lanes.pick(pipeline.Rows)); err != nil {
			return nil, err
		}
	}
	if lanes.pick(pipeline.Files) {
		return s, s.targetFiles(a.ctx)
	}
	return s, nil
}

func (s *session) targetRows(ctx context.Context) error {
	if s.to.Database.Kind == env.SQLite {
		return s.targetSQLite(ctx)
	}
	head, err := s.targetHead(ctx)
	if err != nil {
		return err
	}
	dst, err := rowsink.Open(ctx, rowsink.Config{URL: s.to.Database.URL, Schema: s.to.Database.Schema, Head: head, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	l := &lane[*pipeline.Row]{kind: pipeline.Rows, sink: dst, journal: dst.Journal(), fingerprint: dst.Fingerprint}
	s.lanes = append(s.lanes, l)
	t, err := dst.Inspect(ctx)
	if err != nil {
		return err
	}
	tables, keys := columnsOf(dst.Columns(t))
	l.transforms = []rowChange{rows.Transform(tables, rows.Options{})}
	l.decode = rowDecoder(keys)
	s.silence(t.Comment, l)
	return nil
}

// targetHead is the target's alembic revision, "" while a migration has taken
// it away.
func (s *session) targetHead(ctx context.Context) (string, error) {
	src, err := rowsource.Open(ctx, rowsource.Config{URL: s.to.Database.URL, Schema: s.to.Database.Schema, MaxConns: 1})
	if err != nil {
		return "", err
	}
	head, err := src.Head(ctx)
	if cerr := src.Close(); err == nil {
		err = cerr
	}
	if pg.HasCode(err, "42P01", "3F000") { // undefined_table, invalid_schema_name
		err = nil
	}
	return head, err
}

func (s *session) targetVectors(ctx context.Context, rows bool) error {
	to, _ := storeOf(s.to.Vector)
	l := &lane[*pipeline.Vector]{kind: pipeline.Vectors, decode: decodeVector}
	s.lanes = append(s.lanes, l)
	return s.vectorTarget(ctx, l, to, storeSide{log: slog.New(slog.DiscardHandler), workers: to.writers, rowsHere: rows, fs: s.app.fs})
}

func (s *session) targetFiles(ctx context.Context) error {
	l := &lane[*pipeline.Object]{kind: pipeline.Files, own: true, fingerprint: func(context.Context) (string, error) { return s.filesFingerprint(false) }}
	s.lanes = append(s.lanes, l)
	state, err := localstate.Open(ctx, s.state, pipeline.Files)
	if err != nil {
		return err
	}
	l.journal = state
	return nil
}

// columnsOf turns the target's columns into those of the transform, and its
// primary keys.
func columnsOf(cols map[string][]pg.Column) (tables map[string][]rows.Column, keys map[string][]string) {
	tables, keys = map[string][]rows.Column{}, map[string][]string{}
	for table, list := range cols {
		for _, c := range list {
			tables[table] = append(tables[table], rows.Column{Table: table, Name: c.Name, Type: string(c.Type), MaxLen: c.MaxLen,
				NotNull: c.NotNull, HasDefault: c.HasDefault, InPrimaryKey: c.InKey})
			if c.InKey {
				keys[table] = append(keys[table], c.Name)
			}
		}
	}
	return tables, keys
}
