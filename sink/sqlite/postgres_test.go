package sqlite

import (
	"path/filepath"
	"slices"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/rows"
	"outgrow/pipeline"
	there "outgrow/sink/postgres"
	pgsource "outgrow/source/postgres"
	source "outgrow/source/sqlite"
	"outgrow/testdata/servers"
)

// There and back: a real database goes to PostgreSQL and from there into a new
// file, which then holds, value for value and in the same storage classes, what the
// first one did.
func TestBackFromPostgreSQL(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dsn := env.Secret(servers.PostgreSQL(t))
	from := filepath.Join(servers.DataDir(t), "webui.db")
	toPostgreSQL(t, from, dsn)

	src, err := pgsource.Open(ctx, pgsource.Config{URL: dsn, Snapshot: true, MaxConns: 2, Limits: pipeline.Limits{Records: 100}})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	p := newPlace(t)
	s, j := opened(t, p, nil)
	tables, err := s.Columns(ctx)
	if err != nil {
		t.Fatal(err)
	}
	names, keys := map[string][]string{}, map[string][]string{}
	for name, cols := range tables {
		for _, c := range cols {
			names[name] = append(names[name], c.Name)
			if c.InPrimaryKey {
				keys[name] = append(keys[name], c.Name)
			}
		}
	}
	src.SetKeys(keys)
	src.SetColumns(names)
	units, err := src.Units(ctx)
	if err != nil || len(units) != 47 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	transforms := []pipeline.Transform[*pipeline.Row]{rows.SQLiteTransform(tables, rows.Options{})}
	if err := pipeline.Copy(ctx, pipeline.Job[*pipeline.Row]{Source: src, Sink: s, Journal: j, Transforms: transforms, Units: units, PartBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	sums, err := pipeline.Diff(ctx, pipeline.Comparison[*pipeline.Row]{Source: src, Target: s, Transforms: transforms, Units: units, Equal: Equal, Journal: j,
		Report: func(d pipeline.Difference) { t.Errorf("difference %+v", d) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range sums {
		if d.Equal != d.Source {
			t.Errorf("%+v", d)
		}
	}
	if refused, changed, err := j.Tallies(ctx); err != nil || len(refused)+len(changed) > 0 {
		t.Errorf("%+v, %+v, %v", refused, changed, err)
	}
	if err := s.Release(ctx); err != nil {
		t.Fatal(err)
	}
	db, old := whole(t, p), view(t, from)
	for name, cols := range tablesOf(t, old) {
		if a, b := classes(t, old, name, cols), classes(t, db, name, cols); !slices.Equal(a, b) {
			t.Errorf("%s: %d rows, of %d", name, len(b), len(a))
			for i := range min(len(a), len(b)) {
				if a[i] != b[i] {
					t.Errorf("%.300s\nwas\n%.300s", b[i], a[i])
					break
				}
			}
		}
	}
}

func toPostgreSQL(t *testing.T, from string, dsn env.Secret) {
	t.Helper()
	ctx := t.Context()
	src, err := source.Open(ctx, source.Config{Path: from})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := there.Open(ctx, there.Config{URL: dsn, Head: head})
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if _, err := dst.Journal().Begin(ctx, aRun); err != nil {
		t.Fatal(err)
	}
	target, err := dst.Inspect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cols := dst.Columns(target)
	tables, keys, names := map[string][]rows.Column{}, map[string][]string{}, map[string][]string{}
	for name, list := range cols {
		for _, c := range list {
			names[name] = append(names[name], c.Name)
			if c.InKey {
				keys[name] = append(keys[name], c.Name)
			}
			tables[name] = append(tables[name], rows.Column{Table: name, Name: c.Name, Type: string(c.Type), MaxLen: c.MaxLen, NotNull: c.NotNull, HasDefault: c.HasDefault, InPrimaryKey: c.InKey})
		}
	}
	src.SetKeys(keys)
	src.SetColumns(names)
	units, err := src.Units(ctx)
	if err != nil {
		t.Fatal(err)
	}
	units = slices.DeleteFunc(units, func(u pipeline.Unit) bool { return cols[u.Name] == nil })
	if err := pipeline.Copy(ctx, pipeline.Job[*pipeline.Row]{Source: src, Sink: dst, Units: units,
		Transforms: []pipeline.Transform[*pipeline.Row]{rows.Transform(tables, rows.Options{})}}); err != nil {
		t.Fatal(err)
	}
	if err := dst.Release(ctx); err != nil {
		t.Fatal(err)
	}
}
