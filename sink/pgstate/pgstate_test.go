package pgstate_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/pipeline"
	"outgrow/pipeline/pipetest"
	"outgrow/sink/pgstate"
	"outgrow/testdata/servers"
)

func pool(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	p, err := pg.Open(context.Background(), env.Secret(dsn), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func store(t testing.TB, p *pgxpool.Pool, lane pipeline.Lane) *pgstate.Store {
	t.Helper()
	s, err := pgstate.Open(context.Background(), p, lane, "public")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	databases := map[string]string{}
	pipetest.TestJournal(t, func(tb testing.TB, dir string) pipeline.Journal {
		mu.Lock()
		defer mu.Unlock()
		if databases[dir] == "" {
			databases[dir] = servers.PostgreSQL(t)
		}
		return store(tb, pool(tb, databases[dir]), pipeline.Rows)
	})
}

var run = pipeline.Run{ID: "7f3a", Source: pipeline.Identity{Stable: "s", State: "1"}, Target: "t"}

func TestLanesShareTheTables(t *testing.T) {
	t.Parallel()
	p := pool(t, servers.PostgreSQL(t))
	rows, vectors := store(t, p, pipeline.Rows), store(t, p, pipeline.Vectors)
	var wg sync.WaitGroup
	for _, s := range []*pgstate.Store{rows, vectors} {
		wg.Go(func() {
			if r, err := s.Begin(context.Background(), run); err != nil || !r.Fresh {
				t.Error(r, err)
			}
		})
	}
	wg.Wait()
	ctx := t.Context()
	for _, s := range []*pgstate.Store{rows, vectors} {
		if err := s.Mark(ctx, "complete", "yes"); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Drop(ctx); err != nil {
		t.Fatal(err)
	}
	mine, err := rows.Marked(ctx)
	if err != nil || len(mine) != 0 {
		t.Fatal(mine, err)
	}
	if theirs, err := vectors.Marked(ctx); err != nil || len(theirs) != 1 {
		t.Fatal(theirs, err)
	}
}

func TestResetKeepsWhatIsToBePutBack(t *testing.T) {
	t.Parallel()
	p := pool(t, servers.PostgreSQL(t))
	s := store(t, p, pipeline.Rows)
	first, err := s.Begin(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	part := pipeline.Part{Unit: pipeline.Unit{Lane: pipeline.Rows, Name: "chat"}}
	for _, err := range []error{s.Mark(t.Context(), "without:index:a", "CREATE INDEX"), s.Mark(t.Context(), "complete", "x"), s.Fix(t.Context(), part.Unit, []pipeline.Part{part}),
		pgx.BeginFunc(t.Context(), p, func(tx pgx.Tx) error { return s.ResetTx(t.Context(), tx, "without:") })} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if run, err := s.Peek(t.Context()); err != nil || run != nil {
		t.Fatal(run, err)
	}
	second, err := s.Begin(t.Context(), run)
	if err != nil || !second.Fresh || second.Epoch <= first.Epoch {
		t.Fatalf("%+v after %+v, %v", second, first, err)
	}
	if marks, err := s.Marked(t.Context()); err != nil || len(marks) != 1 || marks["without:index:a"] == "" {
		t.Fatal(marks, err)
	}
	if parts, err := s.All(t.Context()); err != nil || len(parts) != 0 {
		t.Fatal(parts, err)
	}
}

// A second process that comes within three seconds of the first one's death
// waits.
func TestTheLockOfADyingProcess(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	first := store(t, pool(t, dsn), pipeline.Rows)
	if _, err := first.Begin(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	second := store(t, pool(t, dsn), pipeline.Rows)
	if held, err := second.Locked(t.Context()); err != nil || !held {
		t.Fatal(held, err)
	}
	if held, err := first.Locked(t.Context()); err != nil || held {
		t.Fatal("its own lock is no other's", err)
	}
	time.AfterFunc(300*time.Millisecond, func() { _ = first.Close() })
	if _, err := second.Begin(t.Context(), run); err != nil {
		t.Fatal(err)
	}
}

func TestAChangedSourceStaysChanged(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	for i, state := range []string{"1", "2", "1"} {
		s := store(t, pool(t, dsn), pipeline.Rows)
		r := run
		r.Source.State = state
		got, err := s.Begin(t.Context(), r)
		if err != nil || got.SourceChanged != (i > 0) || fmt.Sprint(got.Run) != fmt.Sprint(run) {
			t.Fatalf("%d: %+v, %v", i, got, err)
		}
		_ = s.Close()
	}
}

// What was moved into one schema of a database does not stand in the way of
// another one, nor the other way round.
func TestSchemasOfADatabase(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	open := func(schema string) (*pgstate.Store, pipeline.Run) {
		p := pool(t, dsn)
		database, err := pg.Database(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		s, err := pgstate.Open(t.Context(), p, pipeline.Rows, schema)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		r := run
		r.Target = database + schema
		return s, r
	}
	for _, schema := range []string{"public", "app", "b"} {
		s, r := open(schema)
		if got, err := s.Begin(t.Context(), r); err != nil || !got.Fresh {
			t.Fatal(schema, got, err)
		}
		if err := s.Mark(t.Context(), "complete", schema); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	first, _ := open("public")
	if err := first.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for schema, want := range map[string]string{"public": "", "app": "app", "b": "b"} {
		s, r := open(schema)
		got, err := s.Peek(t.Context())
		if err != nil || (got != nil) != (want != "") || (got != nil && got.Target != r.Target) {
			t.Errorf("%s: %+v, %v", schema, got, err)
		}
		if marks, err := s.Marked(t.Context()); err != nil || marks["complete"] != want {
			t.Errorf("%s: %v, %v", schema, marks, err)
		}
	}
	// Another database's state is nobody's here.
	s, r := open("app")
	r.Target = "pg:1:2:app"
	if _, err := s.Begin(t.Context(), r); !errors.Is(err, pipeline.ErrOtherPair) {
		t.Error(err)
	}
}
