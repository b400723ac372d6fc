package postgres_test

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/mappings/rows"
	"outgrow/mappings/secrets"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	sink "outgrow/sink/postgres"
	"outgrow/source/postgres"
	"outgrow/source/sqlite"
	"outgrow/testdata/servers"
)

// columns are the target's columns for the transform, its primary keys, and the
// names of its columns, by table.
func columns(cols map[string][]pg.Column) (tables map[string][]rows.Column, keys, names map[string][]string) {
	tables, keys, names = map[string][]rows.Column{}, map[string][]string{}, map[string][]string{}
	for name, list := range cols {
		for _, c := range list {
			tables[name] = append(tables[name], rows.Column{Table: name, Name: c.Name, Type: string(c.Type), MaxLen: c.MaxLen, NotNull: c.NotNull, HasDefault: c.HasDefault, InPrimaryKey: c.InKey})
			names[name] = append(names[name], c.Name)
			if c.InKey {
				keys[name] = append(keys[name], c.Name)
			}
		}
	}
	return tables, keys, names
}

// migrated moves a webui.db into a new database, and gives what the rows are
// then, by source/sqlite and the transform.
func migrated(t *testing.T, path, schema string) (dsn string, want []pipetest.Expected[*pipeline.Row]) {
	t.Helper()
	ctx := t.Context()
	dsn = servers.PostgreSQL(t)
	if schema != "" {
		exec(t, dsn, "CREATE SCHEMA "+pg.Ident(schema))
	}
	src, err := sqlite.Open(ctx, sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	head, err := src.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := sink.Open(ctx, sink.Config{URL: env.Secret(dsn), Head: head, Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	target, err := dst.Inspect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cols := dst.Columns(target)
	tables, keys, names := columns(cols)
	src.SetKeys(keys)
	src.SetColumns(names)
	all, err := src.Units(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var units []pipeline.Unit
	for _, u := range all {
		if cols[u.Name] != nil {
			units = append(units, u)
		}
	}
	transforms := []pipeline.Transform[*pipeline.Row]{rows.Transform(tables, rows.Options{})}
	if _, err := dst.Journal().Begin(ctx, pipeline.Run{ID: "1", Target: "t"}); err != nil {
		t.Fatal(err)
	}
	if err := pipeline.Copy(ctx, pipeline.Job[*pipeline.Row]{Source: src, Sink: dst, Transforms: transforms, Units: units}); err != nil {
		t.Fatal(err)
	}
	if err := dst.Release(ctx); err != nil {
		t.Fatal(err)
	}
	gone := map[string]bool{}
	for r, err := range dst.Journal().Refusals(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		gone[r.Unit+" "+r.Key] = true
	}
	for _, u := range units {
		e := pipetest.Expected[*pipeline.Row]{Unit: u}
		for b, err := range src.Read(ctx, pipeline.Part{Unit: u}, "") {
			if err != nil {
				t.Fatal(err)
			}
			pipeline.Apply(&b, transforms, (*pipeline.Meter)(nil).Unit(u))
			for _, r := range b.Records {
				if !gone[u.ID()+" "+r.Key()] {
					e.Records = append(e.Records, r)
				}
			}
		}
		want = append(want, e)
	}
	if len(want) < 40 || len(gone) > 10 {
		t.Fatalf("%d tables, %d rows refused", len(want), len(gone))
	}
	return dsn, want
}

func open(t testing.TB, cfg postgres.Config) *postgres.Source {
	t.Helper()
	cfg.Snapshot = true
	s, err := postgres.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A source that was moved here from SQLite is read as source/sqlite and the
// transform have it, value by value.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path   func(*testing.T) string
		schema string
	}{
		"real":   {func(t *testing.T) string { return filepath.Join(servers.DataDir(t), "webui.db") }, `my "schema`},
		"legacy": {func(t *testing.T) string { return servers.LegacyDB(t) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, want := migrated(t, c.path(t), c.schema)
			pipetest.TestSource(t, pipetest.SourceCase[*pipeline.Row]{
				Open: func(t testing.TB, l pipeline.Limits) pipeline.Source[*pipeline.Row] {
					return open(t, postgres.Config{URL: env.Secret(dsn), Schema: c.schema, Limits: l})
				},
				Want: func(testing.TB) []pipetest.Expected[*pipeline.Row] { return want },
			})
			s := open(t, postgres.Config{URL: env.Secret(dsn), Schema: c.schema})
			defer s.Close()
			sameSums(t, s, want)
			sameFacts(t, s, c.path(t))
		})
	}
}

// sameSums compares the digests that a sync pass goes by.
func sameSums(t *testing.T, s *postgres.Source, want []pipetest.Expected[*pipeline.Row]) {
	t.Helper()
	for _, e := range want {
		sums := map[string]pipeline.Sum{}
		for _, r := range e.Records {
			sums[r.Key()], _ = pipeline.SumOf(r)
		}
		for b, err := range s.Read(t.Context(), pipeline.Part{Unit: e.Unit}, "") {
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range b.Records {
				if sum, err := pipeline.SumOf(r); err != nil || sum != sums[r.Key()] {
					t.Fatalf("%s %s has another digest, %v", e.Unit.ID(), r.Key(), err)
				}
			}
		}
	}
}

// sameFacts compares what plan is told.
func sameFacts(t *testing.T, s *postgres.Source, path string) {
	t.Helper()
	ctx := t.Context()
	was, err := sqlite.Open(ctx, sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer was.Close()
	want, err := was.Inspect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Inspect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want.Orphans, want.Notes = nil, nil
	if fmt.Sprintf("%+v", got.Facts) != fmt.Sprintf("%+v", want.Facts) {
		t.Errorf("facts:\n%+v\n%+v", got.Facts, want.Facts)
	}
	for what, pair := range map[string][2]map[string]bool{
		"files":     {set(t, was.FileRows(ctx)), set(t, s.FileRows(ctx))},
		"knowledge": {set(t, was.Embedded(ctx)), set(t, s.Embedded(ctx))},
		"tokens":    {set(t, revealed(was.Tokens(ctx))), set(t, revealed(s.Tokens(ctx)))},
		"users":     {set(t, was.IDs(ctx, "user")), set(t, s.IDs(ctx, "user"))},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s:\n%v\n%v", what, pair[0], pair[1])
		}
	}
}

func set[T any](t *testing.T, list func(func(T, error) bool)) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for v, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		out[fmt.Sprintf("%+v", v)] = true
	}
	return out
}

// revealed spells tokens out, which print as *** by themselves.
func revealed(list func(func(secrets.Token, error) bool)) func(func(string, error) bool) {
	return func(yield func(string, error) bool) {
		for x, err := range list {
			if !yield(string(x.Kind)+" "+x.Text.Reveal(), err) {
				return
			}
		}
	}
}
