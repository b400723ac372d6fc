package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"outgrow/mappings/files"
	"outgrow/mappings/pg"
	"outgrow/mappings/rows"
	"outgrow/pipeline"
	sink "outgrow/sink/postgres"
	back "outgrow/source/postgres"
	"outgrow/source/sqlite"
)

// openRows opens the rows lane on the source's database.
func (o *opener) openRows(src *sqlite.Source) error {
	l := &lane[*pipeline.Row]{kind: pipeline.Rows, source: &rowReader{src, o.refused}, workers: o.writers(), log: o.log, equal: equalRows}
	o.lanes = append(o.lanes, l)
	head, err := src.Head(o.ctx)
	if err != nil {
		return err
	}
	dst, err := sink.Open(o.ctx, sink.Config{URL: o.to.Database.URL, Schema: o.to.Database.Schema, Head: head, Writers: o.writers(), Replace: o.opt.replace, Log: o.log})
	if err != nil {
		return err
	}
	l.sink, l.journal, l.fingerprint = dst, dst.Journal(), dst.Fingerprint
	t, err := dst.Inspect(o.ctx)
	if err != nil {
		return err
	}
	o.dst.version = t.Version
	if o.opt.verify && (t.State == sink.Empty || t.State == sink.NoSchema) {
		return pipeline.Usage("reading the target back", errors.New("it holds no tables of Open WebUI"), "run migrate first")
	}
	cols, err := dst.Columns(o.ctx)
	if err != nil {
		return err
	}
	if err := o.mapRows(l, src, cols); err != nil {
		return err
	}
	if !o.opt.verify {
		return nil
	}
	target, err := back.Open(o.ctx, back.Config{URL: o.to.Database.URL, Schema: o.to.Database.Schema, Columns: names(cols), MaxConns: int32(o.writers()) + 1})
	if err != nil {
		return err
	}
	l.back = target
	return nil
}

// mapRows restricts the source to what the target has and makes the transform.
func (o *opener) mapRows(l *lane[*pipeline.Row], src *sqlite.Source, cols map[string][]pg.Column) error {
	tables, keys := columnsOf(cols)
	src.SetKeys(keys)
	src.SetColumns(names(cols))
	units, err := src.Units(o.ctx)
	if err != nil {
		return err
	}
	for _, u := range units {
		if _, ok := cols[u.Name]; ok {
			l.units = append(l.units, u)
		}
	}
	path, err := o.filePath()
	if err != nil {
		return err
	}
	l.transforms = []pipeline.Transform[*pipeline.Row]{rows.Transform(tables, rows.Options{FilePath: path})}
	l.decode = func(r pipeline.Refusal) (*pipeline.Row, error) { return decodeRow(r, keys[unitOf(r.Unit).Name]) }
	return nil
}

// filePath rewrites file.path to what the target's provider expects. The path
// of a file that the source does not have, or the target cannot hold or has not
// taken, stays as it is: a row is never switched to an object that is not there,
// or not its own.
func (o *opener) filePath() (func(string) (string, string), error) {
	from, to := fileStoreOf(o.from.Files), fileStoreOf(o.to.Files)
	if o.sameData && from == nil && to == nil {
		return nil, nil
	}
	has := func(name string) bool {
		_, err := os.Lstat(filepath.Join(o.from.Mount, files.Uploads, name))
		return err == nil
	}
	if from != nil {
		names, err := o.uploadNames()
		if err != nil {
			return nil, err
		}
		has = names.has
	}
	note := "rewritten to the target's DATA_DIR"
	if to != nil {
		note = "rewritten to " + to.describe(o.to.Files)
	}
	return func(old string) (string, string) {
		name := files.Name(old)
		if name == "" || len(name) > files.MaxName || !has(name) || o.refused.has(name) {
			return old, ""
		}
		path, err := files.Path(o.to, name)
		if err != nil {
			return old, ""
		}
		return path, note
	}, nil
}

func names(cols map[string][]pg.Column) map[string][]string {
	out := map[string][]string{}
	for table, list := range cols {
		for _, c := range list {
			out[table] = append(out[table], c.Name)
		}
	}
	return out
}

// equalRows compares two canonical rows by column name. Columns that only one
// side has do not count: the plan has told of them.
func equalRows(_ context.Context, _ pipeline.Unit, want, got *pipeline.Row) ([]pipeline.Field, error) {
	var out []pipeline.Field
	for i, c := range want.Table.Columns {
		k := i
		if k >= len(got.Table.Columns) || got.Table.Columns[k] != c {
			if k = slices.Index(got.Table.Columns, c); k < 0 {
				continue
			}
		}
		if want.Values[i] != got.Values[k] {
			out = append(out, pipeline.Field{Column: c, Got: got.Values[k], Detail: fmt.Sprintf("source %s, target %s", shape(want.Values[i]), shape(got.Values[k]))})
		}
	}
	return out, nil
}

// shape describes a value without showing it: people's chats do not belong in a
// report.
func shape(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return fmt.Sprintf("text of %s (%.12s)", plural(int64(len(v)), "byte"), pipeline.Digest(v))
	default:
		return fmt.Sprintf("%T (%.12s)", v, pipeline.Digest(v))
	}
}
