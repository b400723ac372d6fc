package postgres

import (
	"net/url"
	"strings"
	"testing"

	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

func TestCheckOfAnEmptyTarget(t *testing.T) {
	t.Parallel()
	s := opened(t, servers.PostgreSQL(t), nil)
	found, err := s.Check(t.Context(), nil)
	if err != nil || has(found, pipeline.Refuse) || has(found, pipeline.Warn) || len(found) == 0 {
		t.Fatalf("%+v, %v", found, err)
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		reason pipeline.Reason
		fix    string
		setup  string // as a superuser in the database
		change func(*Config)
	}{
		{"unknown head", "unknown-head", "once on the empty target", "", func(c *Config) { c.Head = "ffffffffffff" }},
		{"no schema", "no-schema", `CREATE SCHEMA "not there"`, "", func(c *Config) { c.Schema = "not there" }},
		{"no right in the schema", "rights", `GRANT USAGE, CREATE ON SCHEMA "theirs" TO outgrow_`, "CREATE SCHEMA theirs", func(c *Config) { c.Schema = "theirs" }},
		{"read-only", "read-only", "primary", "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$", nil},
		{"no connections left", "connections", "max_connections", "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 3', current_database()); END $$", nil},
		{"tables of another role", "rights", "as their owner", "CREATE TABLE public.alembic_version (version_num text); INSERT INTO alembic_version VALUES ('" + head + "'); GRANT SELECT ON alembic_version TO public", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dsn := servers.PostgreSQL(t)
			if c.setup != "" {
				run(t, connect(t, servers.SuperDSN(t, dsn)), c.setup)
			}
			s := opened(t, dsn, c.change)
			if got := wantRefusal(t, s, c.reason); !strings.Contains(got.Fix, c.fix) {
				t.Fatalf("%+v", got)
			}
		})
	}
}

func TestUnknownHeadOnATargetOfTheSameHead(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	conn := connect(t, dsn)
	made(t, conn, "public")
	run(t, conn, "UPDATE alembic_version SET version_num = 'ffffffffffff'; CREATE TABLE document_chunk (id text)")
	want := catalog(t, conn, "public")
	s := opened(t, dsn, func(c *Config) { c.Head = "ffffffffffff" })
	if found, err := s.Check(t.Context(), nil); err != nil || has(found, pipeline.Refuse) {
		t.Fatalf("%+v, %v", found, err)
	}
	begin(t, s)
	prepare(t, s, "user")
	finish(t, s)
	sameCatalog(t, catalog(t, conn, "public"), want)
	if got := ask[string](t, conn, "SELECT version_num FROM alembic_version"); got != "ffffffffffff" {
		t.Fatal(got)
	}
}

// A target that says to be of a head and has not all of its tables and columns
// would lose what belongs there.
func TestTargetThatLacksTables(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ change, lacks string }{
		"a table":       {"DROP TABLE memory", "memory"},
		"a column":      {"ALTER TABLE chat DROP COLUMN summary", "chat.summary"},
		"all of them":   {"DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('" + head + "')", "access_grant, api_key, app, auth, automation and 41 more"},
		"what was left": {"DROP TABLE config_old", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := servers.PostgreSQL(t)
			conn := connect(t, dsn)
			made(t, conn, "public")
			run(t, conn, c.change)
			s := opened(t, dsn, nil)
			found, err := s.Inspect(t.Context())
			if err != nil || Some(found.Lacks) != c.lacks {
				t.Fatalf("%q, %v", Some(found.Lacks), err)
			}
			if c.lacks != "" && !strings.Contains(wantRefusal(t, s, Incomplete).Text, "has no "+c.lacks) {
				t.Fatal("it does not say what is missing")
			}
			if c.lacks == "" {
				begin(t, s)
				prepare(t, s, "user")
			}
		})
	}
}

// A role that owns nothing and may not create schemas, only tables in one.
func TestStateBesideTheTables(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	super := connect(t, servers.SuperDSN(t, dsn))
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	role := u.User.Username()
	run(t, super, `ALTER DATABASE `+role+` OWNER TO CURRENT_USER; ALTER SCHEMA public OWNER TO CURRENT_USER; REVOKE CREATE ON DATABASE `+role+` FROM public;
		CREATE SCHEMA "open webui"; GRANT USAGE, CREATE ON SCHEMA "open webui" TO `+role)
	in := func(c *Config) { c.Schema = "open webui" }
	s := opened(t, dsn, in)
	begin(t, s)
	prepare(t, s, "user")
	write(t, s, batch("user", "", "1", users(0, 3)))
	_ = s.Close()
	if n := ask[int](t, super, `SELECT count(*) FROM pg_class WHERE relname ~ '^_outgrow_(run|part|mark)$' AND relnamespace = '"open webui"'::regnamespace`); n != 3 {
		t.Fatalf("%d tables of the state", n)
	}
	// The right that comes later does not make the state unseen.
	run(t, super, "GRANT CREATE ON DATABASE "+role+" TO "+role)
	s = opened(t, dsn, in)
	if r := begin(t, s); r.Fresh {
		t.Fatalf("%+v", r)
	}
	if err := s.Prepare(t.Context(), unit("user")); err != nil {
		t.Fatal(err)
	}
	finish(t, s)
	if fp, err := s.Fingerprint(t.Context()); err != nil || !strings.HasSuffix(fp, ":open webui") {
		t.Fatalf("%q, %v", fp, err)
	}
}

func TestSessionsOfOthersAreToldOf(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	connect(t, servers.SuperDSN(t, dsn)) // of another role
	found, err := opened(t, dsn, nil).Check(t.Context(), nil)
	if err != nil || !has(found, pipeline.Warn) {
		t.Fatalf("%+v, %v", found, err)
	}
}
