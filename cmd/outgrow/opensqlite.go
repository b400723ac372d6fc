package main

import (
	"context"
	"errors"
	"iter"
	"log/slog"

	"outgrow/mappings/rows"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
	"outgrow/sink/filepaths"
	sink "outgrow/sink/sqlite"
	"outgrow/source/sqlite"
)

// rowsToSQLite opens the lane for a new webui.db. Its journal is the command's
// own: Open WebUI's file has no room for one.
func (o *opener) rowsToSQLite(l *lane[*pipeline.Row], src database, head string) error {
	var forbidden []string
	if o.from.Mount != "" {
		forbidden = append(forbidden, o.from.Mount)
	}
	state, err := localstate.Open(o.ctx, o.state, pipeline.Rows, forbidden...)
	if err != nil {
		return err
	}
	l.journal, l.own = state, true
	dst, err := sink.Open(o.ctx, sink.Config{Path: o.to.Database.Path, Head: head, Journal: state, Replace: o.opt.replace, FileSystem: o.app.fs, Log: o.log})
	if err != nil {
		return err
	}
	l.sink, l.fingerprint, l.equal, l.replace = dst, dst.Fingerprint, sink.Equal, o.opt.replace
	cols, err := dst.Columns(o.ctx)
	if err != nil {
		return err
	}
	columns, keys := sqliteNames(cols)
	l.rules = rows.RulesFor(buildVersion(), cols)
	if err := o.mapRows(l, src, columns, keys, func(opt rows.Options) rowChange { return rows.SQLiteTransform(cols, opt) }); err != nil {
		return err
	}
	if !o.opt.verify {
		return nil
	}
	return o.backFromSQLite(l, dst, columns, keys)
}

// backFromSQLite opens the reader of a webui.db that this run has made. One that
// has its name is read as any other; one that is being written to, or has no name
// yet, by the sink, which has it open.
func (o *opener) backFromSQLite(l *lane[*pipeline.Row], dst *sink.Sink, columns, keys map[string][]string) error {
	t, err := dst.Inspect(o.ctx)
	if err != nil {
		return err
	}
	if t.State == sink.NoFolder || t.State == sink.Empty {
		return noTables()
	}
	if o.opt.write || t.State != sink.Released {
		l.back = sinkReader{dst}
		return nil
	}
	target, err := sqlite.Open(o.ctx, sqlite.Config{Path: o.to.Database.Path, FileSystem: o.app.fs, Log: o.log, Limits: o.limits()})
	if err != nil {
		return err
	}
	target.SetKeys(keys)
	target.SetColumns(columns)
	l.back = target
	return nil
}

// sinkReader reads a target back through its sink, by key: it has nothing to list
// and nothing of its own to close.
type sinkReader struct{ *sink.Sink }

func (sinkReader) Units(context.Context) ([]pipeline.Unit, error) { return nil, errors.ErrUnsupported }

func (sinkReader) Read(context.Context, pipeline.Part, pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Row], error] {
	return func(yield func(pipeline.Batch[*pipeline.Row], error) bool) {
		yield(pipeline.Batch[*pipeline.Row]{}, errors.ErrUnsupported)
	}
}

func (sinkReader) Close() error { return nil }

// sqliteNames gives columns and primary keys by table.
func sqliteNames(cols map[string][]rows.SQLiteColumn) (columns, keys map[string][]string) {
	columns, keys = map[string][]string{}, map[string][]string{}
	for table, list := range cols {
		for _, c := range list {
			columns[table] = append(columns[table], c.Name)
			if c.InPrimaryKey {
				keys[table] = append(keys[table], c.Name)
			}
		}
	}
	return columns, keys
}

// targetSQLite opens the lane of a webui.db without its source.
func (s *session) targetSQLite(ctx context.Context) error {
	l := &lane[*pipeline.Row]{kind: pipeline.Rows, own: true}
	s.lanes = append(s.lanes, l)
	state, err := localstate.Open(ctx, s.state, pipeline.Rows)
	if err != nil {
		return err
	}
	l.journal = state
	head, err := sink.HeadOf(ctx, state)
	if err != nil || head == "" {
		return err // nothing was begun: there is nothing to put anything into
	}
	dst, err := sink.Open(ctx, sink.Config{Path: s.to.Database.Path, Head: head, Journal: state, FileSystem: s.app.fs, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	l.sink, l.fingerprint = dst, dst.Fingerprint
	cols, err := dst.Columns(ctx)
	if err != nil {
		return err
	}
	_, keys := sqliteNames(cols)
	l.transforms = []rowChange{rows.SQLiteTransform(cols, rows.Options{})}
	l.decode = rowDecoder(keys)
	return nil
}

// keptFiles lists table file of a target that keeps its rows in SQLite, by
// pages. It has none where the rows take no part.
func (s *session) keptFiles(ctx context.Context) iter.Seq2[[]filepaths.Row, error] {
	const page = 500
	unit := pipeline.Unit{Lane: pipeline.Rows, Name: "file"}
	return func(yield func([]filepaths.Row, error) bool) {
		for _, m := range s.lanes {
			l, ok := m.(*lane[*pipeline.Row])
			if !ok {
				continue
			}
			var dst rowsByKey
			if dst, ok = l.sink.(*sink.Sink); !ok {
				continue
			}
			if back, ok := l.back.(*sqlite.Source); ok { // which has it open already
				dst = back
			}
			var keys []string
			flush := func() bool {
				list, err := fileRows(ctx, dst, unit, keys)
				keys = keys[:0]
				return yield(list, err) && err == nil
			}
			for key, err := range dst.Keys(ctx, unit) {
				if err != nil {
					yield(nil, err)
					return
				}
				if keys = append(keys, key); len(keys) == page && !flush() {
					return
				}
			}
			if len(keys) > 0 && !flush() {
				return
			}
		}
	}
}

// rowsByKey lists and gets rows by key.
type rowsByKey interface {
	pipeline.Getter[*pipeline.Row]
	pipeline.KeyLister
}

func fileRows(ctx context.Context, dst rowsByKey, unit pipeline.Unit, keys []string) ([]filepaths.Row, error) {
	found, err := dst.Get(ctx, unit, keys)
	if err != nil {
		return nil, err
	}
	var out []filepaths.Row
	for key, row := range found {
		for i, c := range row.Table.Columns {
			if path, ok := row.Values[i].(string); ok && c == "path" && path != "" {
				out = append(out, filepaths.Row{ID: key, Path: path})
			}
		}
	}
	return out, nil
}
