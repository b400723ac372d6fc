package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

const head = "0bd252b206fb"

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if len(args) == 0 {
		args = []any{pgx.QueryExecModeSimpleProtocol}
	}
	if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%v in: %.200s", err, sql)
	}
}

func ask[T any](t testing.TB, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%v in: %.200s", err, sql)
	}
	return v
}

// opened is a sink on dsn, closed when the test ends.
func opened(t testing.TB, dsn string, change func(*Config)) *Sink {
	t.Helper()
	cfg := Config{URL: env.Secret(dsn), Head: head}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

var aRun = pipeline.Run{ID: "7f3a", Source: pipeline.Identity{Stable: head + "/u1", State: "s1"}, Target: "t1"}

func begin(t testing.TB, s *Sink) pipeline.Resumed {
	t.Helper()
	r, err := s.Journal().Begin(context.Background(), aRun)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func unit(name string) pipeline.Unit { return pipeline.Unit{Lane: pipeline.Rows, Name: name} }

// prepare prepares the tables and fixes a part for each.
func prepare(t testing.TB, s *Sink, tables ...string) {
	t.Helper()
	for _, name := range tables {
		if err := s.Prepare(context.Background(), unit(name)); err != nil {
			t.Fatal(err)
		}
		if err := s.Journal().Fix(context.Background(), unit(name), []pipeline.Part{{Unit: unit(name)}}); err != nil {
			t.Fatal(err)
		}
	}
}

// rows makes rows of named columns whose first one is the key.
func rows(table string, columns []string, values ...[]any) []*pipeline.Row {
	head := &pipeline.Table{Name: table, Columns: columns, Key: []int{0}}
	out := make([]*pipeline.Row, len(values))
	for i, v := range values {
		out[i] = &pipeline.Row{Table: head, Values: v}
	}
	return out
}

func batch(table, prev, next string, records []*pipeline.Row) pipeline.Batch[*pipeline.Row] {
	return pipeline.Batch[*pipeline.Row]{Part: pipeline.Part{Unit: unit(table)}, Prev: pipeline.Cursor(prev), Next: pipeline.Cursor(next),
		Records: records, Read: len(records), Bytes: int64(10 * len(records))}
}

func write(t testing.TB, s *Sink, b pipeline.Batch[*pipeline.Row]) pipeline.Outcome {
	t.Helper()
	out, err := s.Write(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func finish(t testing.TB, s *Sink) pipeline.Outcome {
	t.Helper()
	out, err := s.Finish(context.Background(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Release(context.Background()); err != nil {
		t.Fatal(err)
	}
	return out
}

// made makes in a schema what Open WebUI's own first start leaves: the tables
// of a head, its revision and seeded config rows.
func made(t testing.TB, conn *pgx.Conn, schemaName string) {
	t.Helper()
	known, err := schema.Load(head)
	if err != nil {
		t.Fatal(err)
	}
	for _, phase := range []schema.Phase{schema.BeforeLoad, schema.AfterLoad, schema.ForeignKeys} {
		for _, st := range known.Statements(schemaName, phase) {
			run(t, conn, st.SQL)
		}
	}
	in := pg.Ident(schemaName)
	run(t, conn, "INSERT INTO "+in+".alembic_version VALUES ('"+head+"')")
	run(t, conn, "INSERT INTO "+in+`.config SELECT 'seeded.' || i, '{"by": "the first start"}', i FROM generate_series(1, 378) i`)
}

// catalog is the definition of every constraint, index and column of a schema.
func catalog(t testing.TB, conn *pgx.Conn, schemaName string) map[string]string {
	t.Helper()
	rows, err := conn.Query(context.Background(), `SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) || CASE WHEN convalidated THEN '' ELSE ' not validated' END
	   FROM pg_constraint WHERE connamespace = $1::text::regnamespace
	 UNION ALL SELECT 'index ' || indexname, indexdef FROM pg_indexes WHERE schemaname = $2
	 UNION ALL SELECT 'column ' || attrelid::regclass || '.' || attname, format_type(atttypid, atttypmod) || attnotnull || coalesce(pg_get_expr(adbin, adrelid), '')
	   FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
	   WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' AND attnum > 0`, pg.Ident(schemaName), schemaName)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	var name, def string
	if _, err := pgx.ForEachRow(rows, []any{&name, &def}, func() error { out[name] = def; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(out) < 400 {
		t.Fatalf("only %d facts in the catalog", len(out))
	}
	return out
}

func sameCatalog(t testing.TB, got, want map[string]string) {
	t.Helper()
	for name, def := range want {
		if got[name] != def {
			t.Errorf("%s:\n got %q\nwant %q", name, got[name], def)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is more than there was", name)
		}
	}
}

// users makes n rows of the table user.
func users(from, n int) []*pipeline.Row {
	var list [][]any
	for i := from; i < from+n; i++ {
		list = append(list, []any{fmt.Sprintf("u%06d", i), "name\t\\N\n" + fmt.Sprint(i), fmt.Sprintf("u%d@example.com", i), "user", "/user.png", int64(1), int64(1700000000 + i), int64(2), nil})
	}
	return rows("user", userColumns, list...)
}

var userColumns = []string{"id", "name", "email", "role", "profile_image_url", "last_active_at", "updated_at", "created_at", "date_of_birth"}

func wantHint(t testing.TB, err error, exit int) {
	t.Helper()
	var pe *pipeline.Error
	if !errors.As(err, &pe) || pipeline.HintOf(err) == "" || pipeline.ExitCode(err) != exit {
		t.Fatalf("got %v (exit %d, hint %q), want exit %d and a hint", err, pipeline.ExitCode(err), pipeline.HintOf(err), exit)
	}
}
