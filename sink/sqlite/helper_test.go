package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/rows"
	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
)

const head = "0bd252b206fb"

func unit(name string) pipeline.Unit { return pipeline.Unit{Lane: pipeline.Rows, Name: name} }

var aRun = pipeline.Run{ID: "7f3a", Source: pipeline.Identity{Stable: head + "/u1", State: "s1"}, Target: "sqlite"}

// place is a target: a DATA_DIR and a state folder.
type place struct{ data, state string }

func newPlace(t testing.TB) place {
	t.Helper()
	dir := t.TempDir()
	p := place{filepath.Join(dir, "data"), filepath.Join(dir, "state")}
	if err := os.Mkdir(p.data, 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p place) db() string { return filepath.Join(p.data, "webui.db") }

// opened is a sink with a journal that has begun; both are closed when the test
// ends.
func opened(t testing.TB, p place, change func(*Config)) (*Sink, *localstate.Store) {
	t.Helper()
	j, err := localstate.Open(context.Background(), p.state, pipeline.Rows)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Path: p.db(), Head: head, Journal: j}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = s.Close(), j.Close() })
	if _, err := j.Begin(context.Background(), aRun); err != nil {
		t.Fatal(err)
	}
	return s, j
}

func ended(t testing.TB, s *Sink, j *localstate.Store) {
	t.Helper()
	if err := errors.Join(s.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
}

func prepare(t testing.TB, s *Sink, tables ...string) {
	t.Helper()
	for _, name := range tables {
		if err := s.Prepare(context.Background(), unit(name)); err != nil {
			t.Fatal(err)
		}
		if err := s.cfg.Journal.Fix(context.Background(), unit(name), []pipeline.Part{{Unit: unit(name)}}); err != nil {
			t.Fatal(err)
		}
	}
}

// rowsOf makes rows of named columns whose first one is the key.
func rowsOf(table string, columns []string, values ...[]any) []*pipeline.Row {
	h := &pipeline.Table{Name: table, Columns: columns, Key: []int{0}}
	out := make([]*pipeline.Row, len(values))
	for i, v := range values {
		out[i] = &pipeline.Row{Table: h, Values: v}
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

func finish(t testing.TB, s *Sink) {
	t.Helper()
	if _, err := s.Finish(context.Background(), func(string) {}); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// users makes n rows of the table user.
func users(from, n int) []*pipeline.Row {
	var list [][]any
	for i := from; i < from+n; i++ {
		list = append(list, []any{fmt.Sprintf("u%06d", i), "name\x00\xff\t" + fmt.Sprint(i), fmt.Sprintf("u%d@example.com", i), "user", "/user.png", int64(1), int64(1700000000 + i), int64(2), nil})
	}
	return rowsOf("user", userColumns, list...)
}

var userColumns = []string{"id", "name", "email", "role", "profile_image_url", "last_active_at", "updated_at", "created_at", "date_of_birth"}

// view opens a database beside the sink, with SQLite's own locks.
func view(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=rw")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func ask[T any](t testing.TB, db *sql.DB, query string, args ...any) (v T) {
	t.Helper()
	if err := db.QueryRow(query, args...).Scan(&v); err != nil {
		t.Fatalf("%v in: %.200s", err, query)
	}
	return v
}

// readBack reads whatever of the two files is there.
type readBack struct {
	db      *sql.DB
	columns map[string][]string
}

func opensReader(t testing.TB, p place, columns map[string][]string) *readBack {
	t.Helper()
	path := p.db()
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(p.data, ".outgrow-partial-webui.db")
	}
	db, err := sql.Open("sqlite", "file:"+path+"?mode=rw&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	return &readBack{db, columns}
}

func (r *readBack) Units(context.Context) (out []pipeline.Unit, err error) {
	for _, name := range sorted(r.columns) {
		out = append(out, unit(name))
	}
	return out, nil
}

func (r *readBack) Read(ctx context.Context, p pipeline.Part, after pipeline.Cursor) iter.Seq2[pipeline.Batch[*pipeline.Row], error] {
	return func(yield func(pipeline.Batch[*pipeline.Row], error) bool) {
		h := &pipeline.Table{Name: p.Unit.Name, Columns: r.columns[p.Unit.Name], Key: []int{0}}
		b := pipeline.Batch[*pipeline.Row]{Part: p, Prev: after, Next: "end"}
		list, err := r.db.QueryContext(ctx, "SELECT "+plain("", h.Columns)+" FROM "+ident(h.Name))
		if err == nil {
			defer list.Close()
			for list.Next() {
				row, err := scanRow(list, h)
				if err != nil {
					yield(b, err)
					return
				}
				b.Records = append(b.Records, row)
			}
			err = list.Err()
		}
		yield(b, err)
	}
}

func (r *readBack) Close() error { return r.db.Close() }

func sameRow(want, got *pipeline.Row) bool {
	return want.Table.Name == got.Table.Name && slices.Equal(want.Table.Columns, got.Table.Columns) &&
		slices.EqualFunc(want.Values, got.Values, func(a, b any) bool { return rows.SameSQLite(stored(a), b) })
}

func wantHint(t testing.TB, err error, exit int, about string) {
	t.Helper()
	var pe *pipeline.Error
	if !errors.As(err, &pe) || pipeline.HintOf(err) == "" || pipeline.ExitCode(err) != exit || !strings.Contains(err.Error(), about) {
		t.Fatalf("got %v (exit %d, hint %q), want exit %d, a hint and %q", err, pipeline.ExitCode(err), pipeline.HintOf(err), exit, about)
	}
}

// files lists the names in the data folder.
func (p place) files(t testing.TB) (names []string) {
	t.Helper()
	list, err := os.ReadDir(p.data)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		names = append(names, f.Name())
	}
	return names
}
