package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"outgrow/mappings/env"
	"outgrow/mappings/files"
	"outgrow/mappings/pg"
	"outgrow/mappings/rows"
	"outgrow/mappings/silence"
	"outgrow/pipeline"
	sink "outgrow/sink/postgres"
	back "outgrow/source/postgres"
)

// openRows opens the rows lane on the source's database.
func (o *opener) openRows(src database) error {
	l := &lane[*pipeline.Row]{kind: pipeline.Rows, source: &rowReader{src, o.refused}, workers: o.writers(), partBytes: rowPart, log: o.log}
	o.lanes = append(o.lanes, l)
	if o.db.pg != nil {
		l.now = o.db.pg.IdentityNow
	}
	if err := o.rowsApart(); err != nil {
		return err
	}
	head, err := src.Head(o.ctx)
	if err != nil {
		return err
	}
	if o.to.Database.Kind == env.SQLite {
		return o.rowsToSQLite(l, src, head)
	}
	return o.rowsToPostgres(l, src, head)
}

// rowsApart refuses a target that is the source itself.
func (o *opener) rowsApart() error {
	if o.from.Database.Kind != env.Postgres || o.to.Database.Kind != env.Postgres {
		return nil
	}
	a, err := databasePlace(o.ctx, o.from.Database)
	if err != nil {
		return fmt.Errorf("looking for the source of the rows: %w", err)
	}
	b, err := databasePlace(o.ctx, o.to.Database)
	if err != nil {
		return fmt.Errorf("looking for the target of the rows: %w", err)
	}
	if a != b {
		return nil
	}
	return pipeline.Usage("comparing the two sides", errors.New("both name the same database and schema: there are no rows to move"),
		"name another database, or another DATABASE_SCHEMA, on one side, or leave the rows out with --only")
}

func (o *opener) rowsToPostgres(l *lane[*pipeline.Row], src database, head string) error {
	dst, err := sink.Open(o.ctx, sink.Config{URL: o.to.Database.URL, Schema: o.to.Database.Schema, Head: head, Writers: o.writers(), Replace: o.opt.replace, Log: o.log})
	if err != nil {
		return err
	}
	l.sink, l.journal, l.fingerprint, l.equal = dst, dst.Journal(), dst.Fingerprint, equalRows
	t, err := dst.Inspect(o.ctx)
	if err != nil {
		return err
	}
	o.dst.version = t.Version
	if o.opt.verify && (t.State == sink.Empty || t.State == sink.NoSchema) {
		return noTables()
	}
	if o.opt.verify && !o.opt.write {
		if len(t.Lacks) > 0 {
			o.gaps = append(o.gaps, "the target has no "+sink.Some(t.Lacks))
		}
		if t.Head == "" && len(t.Without) == 0 {
			o.gaps = append(o.gaps, "the target's alembic_version says no revision")
		}
	}
	cols := dst.Columns(t)
	tables, keys := columnsOf(cols)
	l.rules = rows.RulesFor(buildVersion(), tables)
	if o.opt.verify {
		if o.opt.write { // a pass
			l.readAhead(o.ctx, o.state)
		}
		target, err := back.Open(o.ctx, back.Config{URL: o.to.Database.URL, Schema: o.to.Database.Schema, Columns: names(cols), MaxConns: int32(o.writers()) + 1})
		if err != nil {
			return err
		}
		l.back = target
	}
	if err := o.mapRows(l, src, names(cols), keys, func(opt rows.Options) rowChange { return rows.Transform(tables, opt) }); err != nil {
		return err
	}
	if o.silence(t.Comment, l); o.rehearsal != "" {
		o.tell(pipeline.Note, silence.Silenced, 0, "the target is a rehearsal's database: what Open WebUI does by itself is silenced on the way there (in the ledger)", "")
	}
	return nil
}

func noTables() error {
	return pipeline.Usage("reading the target back", errors.New("it holds no tables of Open WebUI"), "run migrate first")
}

// rowChange makes rows that a target can hold.
type rowChange = pipeline.Transform[*pipeline.Row]

// mapRows restricts the source to the columns and keys that the target has, by
// table, and makes the transform.
func (o *opener) mapRows(l *lane[*pipeline.Row], src database, columns, keys map[string][]string, change func(rows.Options) rowChange) error {
	src.SetKeys(keys)
	src.SetColumns(columns)
	units, err := src.Units(o.ctx)
	if err != nil {
		return err
	}
	for _, u := range units {
		if _, ok := columns[u.Name]; ok {
			l.units = append(l.units, u)
		}
	}
	path, err := o.filePath()
	if err != nil {
		return err
	}
	l.transforms = []rowChange{change(rows.Options{FilePath: path})}
	l.pure = func(u pipeline.Unit) bool { return !rows.DependsOnFiles(u.Name) }
	l.decode = rowDecoder(keys)
	return nil
}

// rowDecoder makes rows of quarantine lines; keys are the target's primary keys.
func rowDecoder(keys map[string][]string) func(pipeline.Refusal) (*pipeline.Row, error) {
	return func(r pipeline.Refusal) (*pipeline.Row, error) {
		return decodeRow(r, keys[pipeline.UnitOf(r.Unit).Name])
	}
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
			out = append(out, pipeline.Field{Column: c, Want: want.Values[i], Got: got.Values[k], Detail: fmt.Sprintf("source %s, target %s", shape(want.Values[i]), shape(got.Values[k]))})
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
