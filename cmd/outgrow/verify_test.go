package main

import (
	"testing"

	"outgrow/testdata/servers"
)

// Equal rows are not enough: a target whose migration has not come to its end,
// or that lacks a table, is not what the source was.
func TestVerifyOfATargetThatIsNotComplete(t *testing.T) {
	t.Parallel()
	l := newLab(t, "", servers.Plain)
	l.set("VECTOR_DB", "")
	rows := []string{"--only", "rows"}
	super := servers.SuperDSN(t, l.dsn)
	do(t, super, `CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
		DECLARE n int := 0;
		BEGIN
			IF to_regclass('public.user') IS NOT NULL THEN SELECT count(*) FROM public."user" INTO n; END IF;
			IF n > 0 THEN RAISE 'no index today' USING ERRCODE = '53100'; END IF;
		END $$`,
		"CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN tag IN ('CREATE INDEX') EXECUTE FUNCTION refuse()")
	l.migrate(rows...).exits(3, "no index today", "are not back yet")
	do(t, super, "DROP EVENT TRIGGER refuse")
	l.verify(rows...).exits(4, "2,972 equal", "Do not start the new one", "alembic_version of the rows are not back yet", "the target is not complete")
	l.migrate(rows...).exits(0)
	l.equal(rows...)
	do(t, l.dsn, "CREATE TABLE kept AS SELECT * FROM memory", "DELETE FROM memory")
	l.verify(rows...).exits(4, "13 differences", "outgrow sync --from "+l.from, "--replace")
	do(t, l.dsn, "INSERT INTO memory SELECT * FROM kept", "DROP TABLE kept")
	l.equal(rows...)

	for _, c := range []struct{ change, says string }{
		{"ALTER TABLE chat DROP COLUMN summary", "the target has no chat.summary"},
		{"DROP TABLE memory", "the target has no chat.summary, memory"},
	} {
		do(t, l.dsn, c.change)
		l.verify(rows...).exits(4, c.says, "Do not start the new one")
	}
	l.migrate(rows...).exits(2, "refuse", "but has no chat.summary, memory")
	do(t, l.dsn, "DELETE FROM alembic_version")
	l.verify(rows...).exits(4, "says no revision")
}

// Vectors are not proven where the variables say another column or index than the
// table has: Open WebUI would not start on it.
func TestVerifyByOtherVectorVariables(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.migrate("--only", "rows,vectors").exits(0)
	for name, value := range map[string]string{"PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH": "768", "PGVECTOR_USE_HALFVEC": "true"} {
		l.set(name, value)
		l.verify("--only", "vectors").exits(2, "column vector of document_chunk is vector(1536)", "would refuse to start", "set PGVECTOR_").nextStep()
		l.set(name, "")
	}
	do(t, l.dsn, "CREATE INDEX idx_document_chunk_vector ON document_chunk USING hnsw (vector vector_cosine_ops)")
	l.verify("--only", "vectors").exits(2, "is hnsw, the variables ask for ivfflat", "PGVECTOR_INDEX_METHOD=hnsw").nextStep()
	l.set("PGVECTOR_INDEX_METHOD", "hnsw")
	l.verify("--only", "vectors", "--searches", "0").exits(0, "verify: equal")
}
