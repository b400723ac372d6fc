package chroma

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"outgrow/mappings/chromahttp"
)

// collectionJSON is the schema of a collection as Open WebUI makes one. The
// number of threads is left out: Chroma then takes that of the processors.
//
//go:embed collection.json
var collectionJSON string

// collection is a row of collections with its two segments.
type collection struct {
	id, name, schema   string
	dim                int // 0 while it is open
	vectorSeg, metaSeg string
	// keys are the metadata keys and types that the schema lists; nil before
	// they are needed.
	keys map[keyType]bool
}

// keyType is a metadata key with the type of one of its values, as the schema
// names it: string, int, float or bool.
type keyType struct{ key, kind string }

// topic of the collection's rows in the queue; every tenant and database has
// the same prefix.
func (l *collection) topic() string { return "persistent://default/default/" + l.id }

// create makes an empty collection.
func (st *store) create(ctx context.Context, name string) error {
	l := &collection{id: uuid.NewString(), name: name, schema: strings.TrimSpace(collectionJSON), vectorSeg: uuid.NewString(), metaSeg: uuid.NewString()}
	err := st.tx(ctx, func(tx *sql.Tx) error {
		for _, q := range []struct {
			text string
			args []any
		}{
			{"INSERT INTO collections (id, name, database_id, config_json_str, schema_str) VALUES (?, ?, ?, '{}', ?)", []any{l.id, name, st.database, l.schema}},
			{"INSERT INTO collection_metadata (collection_id, key, str_value) VALUES (?, 'hnsw:space', ?)", []any{l.id, chromahttp.Cosine}},
			{"INSERT INTO segments (id, type, scope, collection) VALUES (?, 'urn:chroma:segment/vector/hnsw-local-persisted', 'VECTOR', ?)", []any{l.vectorSeg, l.id}},
			{"INSERT INTO segments (id, type, scope, collection) VALUES (?, 'urn:chroma:segment/metadata/sqlite', 'METADATA', ?)", []any{l.metaSeg, l.id}},
		} {
			if _, err := tx.ExecContext(ctx, q.text, q.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		st.collections[name] = l
	}
	return err
}

// learn gives the schema with new keys, as Chroma adds them when records come;
// "" when there are none. Searches go without, but Chroma writes them.
func (l *collection) learn(found map[keyType]bool) (string, error) {
	if l.keys != nil && !slices.ContainsFunc(slices.Collect(maps.Keys(found)), func(k keyType) bool { return !l.keys[k] }) {
		return "", nil
	}
	var doc map[string]json.RawMessage
	var defaults map[string]json.RawMessage        // by type
	var keys map[string]map[string]json.RawMessage // by key and type
	err := json.Unmarshal([]byte(l.schema), &doc)
	if err == nil {
		err = json.Unmarshal(doc["defaults"], &defaults)
	}
	if err == nil {
		err = json.Unmarshal(doc["keys"], &keys)
	}
	if err != nil {
		return "", fmt.Errorf("reading the schema of collection %s: %w", l.name, err)
	}
	if l.keys == nil {
		l.keys = map[keyType]bool{}
		for key, kinds := range keys {
			for kind := range kinds {
				l.keys[keyType{key, kind}] = true
			}
		}
	}
	fresh := false
	for k := range found {
		if l.keys[k] {
			continue
		}
		fresh = true
		if keys[k.key] == nil {
			keys[k.key] = map[string]json.RawMessage{}
		}
		keys[k.key][k.kind] = defaults[k.kind]
	}
	if !fresh {
		return "", nil
	}
	if doc["keys"], err = json.Marshal(keys); err != nil {
		return "", err
	}
	out, err := json.Marshal(doc)
	return string(out), err
}

// hash finds the hash at the end of a row of migrations.
var hash = regexp.MustCompile(`(?m)'([0-9a-f]{32})'\);$`)

// hashList lists the hashes of the migrations that rows.sql has.
func hashList() []string {
	var out []string
	for _, m := range hash.FindAllStringSubmatch(rowsSQL, -1) {
		out = append(out, m[1])
	}
	return out
}

// hashes is the list for a query.
func hashes() string { return "'" + strings.Join(hashList(), "', '") + "'" }
