package postgres

import (
	"context"
	"fmt"
	"strconv"

	"outgrow/mappings/pg"
	"outgrow/pipeline"
)

// Check looks at server, rights and target. It changes nothing. Units are not
// compared with the target's tables: see [Sink.Columns].
func (s *Sink) Check(ctx context.Context, _ []pipeline.Unit) ([]pipeline.Finding, error) {
	found, err := s.check(ctx)
	return found, pg.Classify("checking the target", err)
}

func (s *Sink) check(ctx context.Context) ([]pipeline.Finding, error) {
	var out []pipeline.Finding
	add := func(sev pipeline.Severity, reason pipeline.Reason, fix, format string, args ...any) {
		out = append(out, pipeline.Finding{Severity: sev, Reason: reason, Text: fmt.Sprintf(format, args...), Fix: fix})
	}
	pooler, err := pg.Pooler(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	if pooler {
		// What follows may come from any backend, but is true of all of them.
		add(pipeline.Refuse, "pooler", "give the database's own address with --direct-url; the application may keep the pooler's",
			"a connection pooler stands in front of the database and shares sessions")
	}
	t, err := s.inspect(ctx)
	if err != nil {
		return nil, err
	}
	if t.Version < pg.MinVersion {
		add(pipeline.Refuse, "version", "upgrade the server to PostgreSQL 14 or later", "the server is PostgreSQL %d", t.Version/10000)
	}
	f, err := s.facts(ctx)
	if err != nil {
		return nil, err
	}
	if f.encoding != "UTF8" {
		add(pipeline.Refuse, "encoding", "CREATE DATABASE name OWNER "+f.role+" ENCODING 'UTF8' TEMPLATE template0", "the database's encoding is %s, not UTF8", f.encoding)
	}
	if f.standby || f.readonly {
		add(pipeline.Refuse, "read-only", "name the primary in DATABASE_URL", "the server takes no writes")
	}
	if no := s.refuse(t, s.cfg.Replace); no != nil {
		out = append(out, *no)
	}
	if t.Locked {
		add(pipeline.Refuse, "in-use", "wait for the other run to end or stop it", "another outgrow is working on this target")
	}
	if t.State == Empty && !f.mayTables {
		add(pipeline.Refuse, "rights", "GRANT USAGE, CREATE ON SCHEMA "+pg.Ident(s.schema)+" TO "+f.role, "the role %s may not create tables in schema %s", f.role, pg.Ident(s.schema))
	}
	if t.State != NoSchema && !f.mayTables && !f.mayState {
		add(pipeline.Refuse, "rights", "GRANT CREATE ON DATABASE "+f.database+" TO "+f.role, "the role %s may create neither a schema nor tables, and outgrow keeps its journal in the target", f.role)
	}
	if len(t.Foreign) > 0 {
		add(pipeline.Refuse, "rights", "connect as their owner, or: GRANT owner TO "+f.role, "the role %s may not alter %s", f.role, Some(t.Foreign))
	}
	switch want := s.cfg.Writers + 2; {
	case f.room < 3:
		add(pipeline.Refuse, "connections", "close other connections, or raise max_connections", "the server has room for %d more connections", f.room)
	case f.room < want:
		add(pipeline.Warn, "connections", fmt.Sprintf("--writers %d, or raise max_connections", max(1, f.room-2)), "the server has room for %d more connections, %d are wanted", f.room, want)
	}
	if t.Others > 0 && !t.Complete {
		add(pipeline.Warn, "sessions", "stop Open WebUI on the target until the migration is done", "%d sessions of other programs are connected to the target database", t.Others)
	}
	if s.cfg.Replace && len(t.Filled) > 0 {
		add(pipeline.Warn, "replace", "leave out --replace to keep them", "unless this run is under way there already, all rows of Open WebUI's tables on the target are deleted first: %s", Some(t.Filled))
	}
	switch {
	case t.Complete:
		add(pipeline.Note, "complete", "", "an earlier run has finished on this target")
	case t.State == Ours:
		add(pipeline.Note, "resume", "", "an earlier run is under way on this target and will be resumed")
	case t.State == Fresh:
		add(pipeline.Note, "created-by-app", "", "Open WebUI created the target's tables; its seeded config rows will be replaced by the source's")
	}
	add(pipeline.Note, "disk", "", "how much disk the database server has left cannot be asked for")
	return out, nil
}

type facts struct {
	encoding, role, database               string
	standby, readonly, mayState, mayTables bool
	room                                   int
}

func (s *Sink) facts(ctx context.Context) (facts, error) {
	var f facts
	var room string
	err := s.pool.QueryRow(ctx, `SELECT current_setting('server_encoding'), quote_ident(current_user), quote_ident(current_database()),
	 pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool,
	 coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'outgrow'), has_database_privilege(current_database(), 'CREATE')),
	 coalesce((SELECT has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = $1), false),
	 least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int - coalesce(current_setting('reserved_connections', true)::int, 0)
	   - (SELECT sum(numbackends)::int - 1 FROM pg_stat_database),
	  (SELECT CASE WHEN rolconnlimit < 0 THEN 100000 ELSE rolconnlimit - (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()) END FROM pg_roles WHERE rolname = current_user),
	  (SELECT CASE WHEN datconnlimit < 0 THEN 100000 ELSE datconnlimit - (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()) END FROM pg_database WHERE datname = current_database()))::text`,
		s.schema).Scan(&f.encoding, &f.role, &f.database, &f.standby, &f.readonly, &f.mayState, &f.mayTables, &room)
	if err != nil {
		return f, err
	}
	f.room, err = strconv.Atoi(room)
	return f, err
}
