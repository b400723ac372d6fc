package main

import (
	"fmt"
	"strings"
	"testing"

	"outgrow/testdata/servers"
)

// One corpus goes through every store, each the target of the one before and
// the source of the next: dry run, copy, comparison, the same command again,
// status.
func TestEveryStore(t *testing.T) {
	chroma := servers.Chroma(t)
	pinecone := servers.OwnFakePinecone(t)
	dsn := bigTable(t, 1500)
	type stage struct {
		name string
		vars map[string]string
	}
	pgvector := func(url string, more ...string) map[string]string {
		vars := map[string]string{"VECTOR_DB": "pgvector", "PGVECTOR_DB_URL": url, "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH": "16"}
		for i := 0; i < len(more); i += 2 {
			vars[more[i]] = more[i+1]
		}
		return vars
	}
	milvus := func(kind string, shared bool) map[string]string {
		uri, database := servers.Milvus(t, kind)
		return map[string]string{"VECTOR_DB": "milvus", "MILVUS_URI": uri, "MILVUS_DB": database, "ENABLE_MILVUS_MULTITENANCY_MODE": fmt.Sprint(shared)}
	}
	stages := []stage{
		{"pgvector", pgvector(dsn)},
		{"Chroma server", map[string]string{"VECTOR_DB": "chroma", "CHROMA_HTTP_HOST": chroma.Host, "CHROMA_HTTP_PORT": fmt.Sprint(chroma.Port), "CHROMA_DATABASE": chroma.Database}},
		{"Qdrant", qdrantVars(t, servers.Qdrant(t), false)},
		{"Milvus", milvus(servers.MilvusLite, false)},
		{"Milvus 2.5, shared", milvus(servers.MilvusBM25, true)},
		{"Qdrant, shared", qdrantVars(t, servers.Qdrant(t), true)},
		{"Pinecone", map[string]string{"VECTOR_DB": "pinecone", "PINECONE_API_KEY": "key-of-the-test", "PINECONE_ENVIRONMENT": "us-east-1", "PINECONE_DIMENSION": "16",
			"PINECONE_CONTROLLER_HOST": pinecone.Controller}},
		{"Chroma in a data folder", map[string]string{"DATA_DIR": t.TempDir()}},
		{"pgvector again", pgvector(servers.PostgreSQL(t))},
	}
	only := []string{"--only", "vectors"}
	for i, to := range stages[1:] {
		from := stages[i]
		t.Run(from.name+" to "+to.name, func(t *testing.T) {
			l := switched(t, from.vars, to.vars)
			l.plan(only...).exits(0, "1,500")
			l.migrate(only...).exits(0, "done    0 rows, 1,500 vectors").lacks("refused", "key-of-the-test")
			if r := l.equal(only...); !strings.Contains(r.out, "7 collections, 1,500 vectors compared, 1,500 equal") {
				t.Errorf("not each record is equal:\n%s", r.out)
			}
			l.migrate(only...).exits(0, "resumed, nothing is done twice")
			l.in("status", "--to", l.env).exits(0, "vectors complete: 7 of 7 parts of 7 collections done, 1,500 vectors written")
			l.in("replay", "--to", l.env).exits(0)
			l.migrate("--only", "vectors", "--replace").exits(0, "1,500 vectors")
			l.equal(only...)
			// Another run's target is in use.
			other := switched(t, from.vars, to.vars)
			if to.vars["VECTOR_DB"] != "pgvector" { // whose state is in the database
				other.migrate(only...).exits(2, "refuse", "--replace").nextStep()
			}
		})
		if t.Failed() {
			return
		}
	}
}
