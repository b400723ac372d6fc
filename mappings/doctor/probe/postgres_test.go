package probe_test

import (
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/schema"
	"outgrow/testdata/servers"
)

// run executes statements on a database.
func run(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, s := range statements {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

var postgresIDs = []string{"D58", "D50", "D06", "D07", "D25", "D23", "D24", "D35", "D10", "D32", "D52", "D42", "D44"}

// tables are those of Open WebUI's that rows are asked for.
func tables() []string {
	heads := schema.Heads()
	return []string{"CREATE TABLE alembic_version (version_num text)", "INSERT INTO alembic_version VALUES ('" + heads[len(heads)-1] + "')", "CREATE TABLE chat (id text)",
		"CREATE TABLE config (key text PRIMARY KEY, value json NOT NULL)", "CREATE TABLE file (id text, path text)", "CREATE TABLE oauth_session (id text, token text)"}
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	vars := func(more set) set {
		v := set{"DATABASE_URL": dsn, "VECTOR_DB": "pgvector", "DATABASE_POOL_SIZE": "2", "PGVECTOR_POOL_SIZE": "1", "WEBUI_SECRET_KEY": "k3y-of-the-old-one", "RAG_EMBEDDING_MODEL": "ours"}
		for k, x := range more {
			v[k] = x
		}
		return v
	}
	f := asked(t, vars(nil))
	expect(t, "an empty database", found(f, postgresIDs...))
	if p := f.Answers.Database; p.MaxConnections < 10 || p.Trip <= 0 || p.Extensions["vector"].Installed == "" || p.Schema != "public" || p.Pooled || p.Identity == "" {
		t.Errorf("the server is %+v", p)
	}
	expect(t, "more than the server has", found(asked(t, vars(set{"DATABASE_POOL_SIZE": "1000"})), "D06", "D07"), "D06: 1000 x 3 processes = 3000")
	expect(t, "with the vectors' pool", found(asked(t, vars(set{"PGVECTOR_POOL_SIZE": "1000"})), "D06", "D07"), "D07: rows' pool of 2")
	expect(t, "another schema", found(asked(t, vars(set{"DATABASE_SCHEMA": "gone"})), "D58"), "D58: no schema gone")
	expect(t, "wrong password", found(asked(t, vars(set{"DATABASE_URL": "postgresql://nobody_here:wr0ngpass@127.0.0.1:1/x"})), "D58", "D24", "D35"), "D58: DATABASE_URL", "D58?", "D35?", "D24?")

	run(t, dsn, tables()...)
	run(t, dsn, "CREATE TABLE document_chunk (id text PRIMARY KEY, vector vector(768), collection_name text, text text, vmetadata jsonb)",
		"INSERT INTO config VALUES ('rag.embedding_model', '\"theirs\"')", "INSERT INTO oauth_session VALUES ('a', 'gAAAAAnothing')",
		"INSERT INTO file VALUES ('a', '/app/backend/data/uploads/there.txt'), ('b', '/app/backend/data/uploads/gone.txt'), ('c', 's3://old/x'), ('d', NULL)")
	expect(t, "a database of another deployment", found(asked(t, vars(nil)), postgresIDs...),
		"D10: none of 1", "D32: 1 of 3", "D32: 2 of 2", "D42: RAG_EMBEDDING_MODEL", "D44: RAG_EMBEDDING_MODEL", "D23: vector(768)")
	expect(t, "the column's own length", found(asked(t, vars(set{"PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH": "768"})), "D23"))
	run(t, dsn, "INSERT INTO document_chunk SELECT i::text, NULL, 'c', '', '{}' FROM generate_series(1, 6000) i")
	length := set{"PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH": "768"}
	expect(t, "no index", found(asked(t, vars(length)), "D24"), "D24: none, over about 6000")
	run(t, dsn, "CREATE INDEX idx_document_chunk_vector ON document_chunk USING ivfflat (vector vector_cosine_ops)")
	expect(t, "an index", found(asked(t, vars(length)), "D24"))
	length["PGVECTOR_INDEX_METHOD"] = "hnsw"
	expect(t, "another index", found(asked(t, vars(length)), "D24"), "D24: ivfflat, while")

	run(t, dsn, "CREATE SCHEMA other")
	expect(t, "the tables are elsewhere", found(asked(t, vars(set{"DATABASE_SCHEMA": "other"})), "D58", "D50"), "D50: public")
	run(t, servers.SuperDSN(t, dsn), "ALTER TABLE chat OWNER TO postgres", "REVOKE CREATE ON SCHEMA public FROM PUBLIC", "ALTER SCHEMA public OWNER TO postgres")
	expect(t, "no right to create", found(asked(t, vars(nil)), "D58"), "D58: no CREATE in public")
	run(t, servers.SuperDSN(t, dsn), "GRANT CREATE ON SCHEMA public TO PUBLIC")
	expect(t, "no right to a table", found(asked(t, vars(nil)), "D58"), "D58: chat")
}

// Behind a pooler the server's connections are not Open WebUI's.
func TestPooler(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = servers.PgBouncer(t, dsn)
	vars := set{"DATABASE_URL": u.String(), "VECTOR_DB": "pgvector", "DATABASE_POOL_SIZE": "2000", "PGVECTOR_POOL_SIZE": "1", "WEBUI_SECRET_KEY": "k3y-of-the-old-one"}
	expect(t, "by a pooler", found(asked(t, vars), postgresIDs...), "D06?", "D07?")
	vars["DATABASE_URL"] = dsn
	expect(t, "without", found(asked(t, vars), postgresIDs...), "D06: 2000 x 3")
}

// Debian's server has no pgvector.
func TestPostgres15(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL15(t)
	f := asked(t, set{"DATABASE_URL": dsn, "VECTOR_DB": "pgvector", "DATABASE_POOL_SIZE": "2", "PGVECTOR_POOL_SIZE": "1", "WEBUI_SECRET_KEY": "k3y-of-the-old-one"})
	expect(t, "no pgvector", found(f, postgresIDs...), "D25: does not have the extension vector")
}

func TestPostgres18(t *testing.T) {
	t.Parallel()
	super := servers.Start(t, servers.Settings{Version: "18", Options: "-c max_connections=20 -c reserved_connections=2"})
	dsn := servers.Database(t, super, servers.NoExtension)
	vars := set{"DATABASE_URL": dsn, "VECTOR_DB": "pgvector", "DATABASE_POOL_SIZE": "2", "PGVECTOR_POOL_SIZE": "1"}
	f := asked(t, vars)
	p := f.Answers.Database
	if p.MaxConnections != 20 || p.Reserved != 5 || p.Version < 180000 {
		t.Errorf("the server is %+v", p)
	}
	e := p.Extensions["vector"]
	if got := found(f, "D25"); e.Trusted && p.CreateExt {
		expect(t, "vector, trusted", got)
	} else {
		expect(t, "vector, not installed", got, "D25: this role may not")
	}
	vars["PGVECTOR_CREATE_EXTENSION"] = "false"
	expect(t, "vector, by hand", found(asked(t, vars), "D25"), "D25: told not to")
}
