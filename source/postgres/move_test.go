package postgres_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"outgrow/mappings/env"
	"outgrow/mappings/rows"
	"outgrow/pipeline"
	sink "outgrow/sink/postgres"
	"outgrow/source/postgres"
	"outgrow/testdata/servers"
)

// From PostgreSQL to PostgreSQL, into a DATABASE_SCHEMA, in many parts by several
// writers, while the source is written to and readers are cut: the target is
// then the source as it was when it was opened, without one changed value.
func TestMovesToAnotherDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	from, _ := migrated(t, filepath.Join(servers.DataDir(t), "webui.db"), "")
	to := servers.PostgreSQL(t)
	exec(t, to, "CREATE SCHEMA app")
	src := open(t, postgres.Config{URL: env.Secret(from), MaxConns: 4, Limits: pipeline.Limits{Records: 20}})
	defer src.Close()
	head, err := src.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := sink.Open(ctx, sink.Config{URL: env.Secret(to), Head: head, Schema: "app", Writers: 4})
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
	units, err := src.Units(ctx)
	if err != nil || len(units) != len(cols) {
		t.Fatalf("%d units of %d, %v", len(units), len(cols), err)
	}
	if found, err := src.Check(ctx, units); err != nil || slices.ContainsFunc(found, func(f pipeline.Finding) bool { return f.Severity != pipeline.Note }) {
		t.Errorf("%+v, %v", found, err)
	}
	id, err := src.Identity(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dst.Journal().Begin(ctx, pipeline.Run{ID: "1", Source: id, Target: "t"}); err != nil {
		t.Fatal(err)
	}
	write, cut := connect(t, from), connect(t, servers.SuperDSN(t, from))
	written, enough := 0, make(chan struct{})
	// The copy goes on once it has been written to and cut off several times.
	gate := func(_ pipeline.Unit, r *pipeline.Row) (*pipeline.Row, []pipeline.Change, []pipeline.Refusal) {
		<-enough
		return r, nil, nil
	}
	transforms := []pipeline.Transform[*pipeline.Row]{gate, rows.Transform(tables, rows.Options{})}
	stop, stopped := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		var once sync.Once
		defer once.Do(func() { close(enough) })
		for stop.Err() == nil {
			if written++; written > 3 {
				once.Do(func() { close(enough) })
			}
			_, err := write.Exec(ctx, fmt.Sprintf(`UPDATE chat_message SET role = 'new' || %d; DELETE FROM file; INSERT INTO note (id, user_id, title, created_at, updated_at) VALUES ('n%[1]d', 'u', 't', 1, 1)`, written))
			if err == nil && written < 25 { // no batch is cut off more often than it is tried
				_, err = cut.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'outgrow'
					AND query NOT LIKE '%pg_export_snapshot%' AND query NOT LIKE 'SELECT 1%' AND backend_xmin IS NOT NULL`)
			}
			if err != nil {
				done <- err
				return
			}
			time.Sleep(30 * time.Millisecond)
		}
		done <- nil
	}()
	job := pipeline.Job[*pipeline.Row]{Source: src, Sink: dst, Transforms: transforms, Units: units, Workers: 4, PartBytes: 100 << 10, Backoff: pipeline.Backoff{Base: time.Millisecond, Max: 10 * time.Millisecond, Attempts: 30}}
	err = pipeline.Copy(ctx, job)
	stopped()
	if werr := <-done; err != nil || werr != nil {
		t.Fatalf("%v, writing %v", err, werr)
	}
	back, err := postgres.Open(ctx, postgres.Config{URL: env.Secret(to), Schema: "app", Columns: names})
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	counts, err := pipeline.Diff(ctx, pipeline.Comparison[*pipeline.Row]{Source: src, Transforms: transforms, Units: units, Target: back, Equal: equal, Journal: dst.Journal(),
		Report: func(d pipeline.Difference) { t.Errorf("%+v", d) }})
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for _, c := range counts {
		if n += c.Equal; c.Equal != c.Source || c.Target != c.Source {
			t.Errorf("%+v", c)
		}
	}
	refused, changed, err := dst.Journal().Tallies(ctx)
	if err != nil || n < 2500 || len(refused)+len(changed) > 0 {
		t.Errorf("%d rows, refused %v, changed %v, %v", n, refused, changed, err)
	}
	if now, err := src.IdentityNow(ctx); err != nil || now.State == id.State || now.Stable != id.Stable {
		t.Errorf("the source has changed: %+v, %v", now, err)
	}
}

func equal(_ context.Context, _ pipeline.Unit, want, got *pipeline.Row) (out []pipeline.Field, err error) {
	for i, c := range want.Table.Columns {
		if want.Values[i] != got.Values[slices.Index(got.Table.Columns, c)] {
			out = append(out, pipeline.Field{Column: c, Got: got.Values[i]})
		}
	}
	return out, nil
}
