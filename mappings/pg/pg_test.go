package pg_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"outgrow/mappings/env"
	"outgrow/mappings/pg"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	code := func(c string) error { return fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: c, Message: "m"}) }
	for _, c := range []struct {
		err    error
		exit   int
		hint   string
		retry  bool
		isData bool
	}{
		{code("53100"), pipeline.ExitEnvironment, "free disk space", false, false},
		{code("28P01"), pipeline.ExitEnvironment, "password", false, false},
		{code("3D000"), pipeline.ExitEnvironment, "CREATE DATABASE", false, false},
		{code("53300"), pipeline.ExitEnvironment, "--writers", true, false},
		{code("57P01"), pipeline.ExitFailed, "", true, false},
		{code("40P01"), pipeline.ExitFailed, "", true, false},
		{code("42703"), pipeline.ExitFailed, "", false, false},
		{code("23505"), pipeline.ExitFailed, "", false, true},
		{code("22P02"), pipeline.ExitFailed, "", false, true},
		{code("54000"), pipeline.ExitFailed, "", false, true},
		{io.ErrUnexpectedEOF, pipeline.ExitEnvironment, "reached", true, false},
		{errors.New("other"), pipeline.ExitFailed, "", false, false},
		{context.Canceled, pipeline.ExitFailed, "", false, false},
	} {
		got := pg.Classify("doing it", c.err)
		if pipeline.ExitCode(got) != c.exit || !strings.Contains(pipeline.HintOf(got), c.hint) || (c.hint == "") != (pipeline.HintOf(got) == "") ||
			pipeline.IsRetryable(got) != c.retry || pg.IsData(got) != c.isData || !errors.Is(got, c.err) {
			t.Errorf("%v: exit %d, hint %q, retry %v, data %v", c.err, pipeline.ExitCode(got), pipeline.HintOf(got), pipeline.IsRetryable(got), pg.IsData(got))
		}
		if again := pg.Classify("outer", got); !errors.Is(again, got) && !errors.Is(c.err, context.Canceled) {
			t.Errorf("%v was classified twice", c.err)
		}
	}
	if pg.Classify("nothing", nil) != nil {
		t.Error("nil did not stay nil")
	}
}

func TestErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	good := servers.PostgreSQL(t)
	for name, dsn := range map[string]string{
		"unparsable":     "postgresql://user:s3cret%zz@host/db",
		"no server":      "postgresql://user:s3cret@127.0.0.1:1/db",
		"wrong password": strings.Replace(good, ":", ":s3cret", 2),
		"no database":    good[:strings.LastIndex(good, "/")] + "/s3cretless" + good[strings.Index(good, "?"):],
	} {
		p, err := pg.Open(t.Context(), env.Secret(dsn), pg.Options{})
		if err == nil {
			p.Close()
			t.Errorf("%s: opened", name)
			continue
		}
		if strings.Contains(fmt.Sprintf("%+v %s", err, pipeline.HintOf(err)), "s3cret@") || strings.Contains(err.Error(), "s3cret%") || pipeline.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, pipeline.HintOf(err))
		}
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	p, err := pg.Open(t.Context(), env.Secret(dsn), pg.Options{Schema: `a "b`})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var got string
	if err := p.QueryRow(t.Context(), "SELECT current_setting('synchronous_commit') || ' ' || current_setting('search_path')").Scan(&got); err != nil || got != `on "a ""b", public` {
		t.Fatal(got, err)
	}
	if pooled, err := pg.Pooler(t.Context(), p); err != nil || pooled {
		t.Fatal(pooled, err)
	}
	one, err := pg.Fingerprint(t.Context(), p)
	if err != nil || !strings.HasPrefix(one, "pg:") || strings.Contains(one, "?") {
		t.Fatal(one, err)
	}
}

// What a database sets for its sessions changes neither what is read nor how it
// is written.
func TestSessionDefaults(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	p, err := pg.Open(t.Context(), env.Secret(dsn), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"client_encoding = 'LATIN1'", "standard_conforming_strings = off", "quote_all_identifiers = on", "array_nulls = off",
		"default_transaction_isolation = 'serializable'", "datestyle = 'German'", "extra_float_digits = -15", "statement_timeout = '9min'", "lock_timeout = '9min'"} {
		if _, err := p.Exec(t.Context(), fmt.Sprintf("DO $$BEGIN EXECUTE format('ALTER DATABASE %%I SET %s', current_database()); END$$", strings.ReplaceAll(set, "'", "''"))); err != nil {
			t.Fatal(set, err)
		}
	}
	p.Close()
	if p, err = pg.Open(t.Context(), env.Secret(dsn), pg.Options{}); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var got string
	const ask = `SELECT concat_ws(' ', octet_length('ü'), 'a\b', format_type('text'::regtype, NULL), '{NULL}'::text[] = ARRAY[NULL::text],
 current_setting('transaction_isolation'), date '2024-02-01', (0.1::float8 + 0.2)::text, current_setting('statement_timeout'), current_setting('lock_timeout'))`
	if err := p.QueryRow(t.Context(), ask).Scan(&got); err != nil || got != `2 a\b text t read committed 2024-02-01 0.30000000000000004 0 0` {
		t.Fatal(got, err)
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	p, err := pg.Open(t.Context(), env.Secret(servers.PostgreSQL(t)), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	// Every column of every head, as the catalog has it and as the schema says.
	for _, head := range []string{"3781e22d8b01", "0bd252b206fb"} {
		known, err := schema.Load(head)
		if err != nil {
			t.Fatal(err)
		}
		in := "h" + head
		if _, err := p.Exec(t.Context(), "CREATE SCHEMA "+in); err != nil {
			t.Fatal(err)
		}
		for _, st := range known.Statements(in, schema.BeforeLoad) {
			if _, err := p.Exec(t.Context(), st.SQL); err != nil {
				t.Fatal(err)
			}
		}
		there, err := pg.Tables(t.Context(), p, in)
		if err != nil || len(there) != len(known.Tables) {
			t.Fatalf("%d of %d tables, %v", len(there), len(known.Tables), err)
		}
		for i := range known.Tables {
			want, got := pg.Planned(&known.Tables[i]), there[known.Tables[i].Name]
			if fmt.Sprintf("%+v %v %v", want.Columns, want.Key, want.Mine) != fmt.Sprintf("%+v %v %v", got.Columns, got.Key, got.Mine) {
				t.Errorf("%s %s:\n got %+v %v\nwant %+v %v", head, want.Name, got.Columns, got.Key, want.Columns, want.Key)
			}
		}
	}
}

func TestMicros(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"2024-01-02 03:04:05": "2024-01-02 03:04:05", "2024-01-02 03:04:05.5": "2024-01-02 03:04:05.500000", "2024-01-02 03:04:05.000001": "2024-01-02 03:04:05.000001",
		"2024-01-02 03:04:05.000000": "2024-01-02 03:04:05", "0044-03-15 12:00:00.5 BC": "0044-03-15 12:00:00.5 BC", "infinity": "infinity",
	} {
		if got := pg.Micros(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}
