package chroma

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"outgrow/pipeline"
)

// errNotChroma is returned for a database that is not Chroma's.
var errNotChroma = errors.New("not a Chroma database")

// collection is a row of collections with what belongs to it.
type collection struct {
	id, name, database, tenant string
	dim                        int    // 0 when nothing was ever added
	topic                      string // of its rows in the queue
	vectorSeg, metaSeg         string
	cosine                     bool  // vectors are stored normalised, with their length
	synced                     int64 // seq_id that the HNSW files hold; valid if hasSynced
	hasSynced                  bool
	applied                    int64 // seq_id that embeddings holds
	records                    int64 // rows of embeddings
	tail                       []run // its rows in the queue that may matter
	unapplied                  int64 // rows of the queue after applied
}

// run is a range of seq_id in which all rows of the queue are of one
// collection.
type run struct{ lo, hi int64 }

// catalog is what the database says about itself.
type catalog struct {
	collections []*collection // in the order in which they were made
	arrays      bool          // embedding_metadata_array holds something
	maxSeq      int64         // highest seq_id of the queue
	pageBytes   int64         // size of the database
	// value is the expression for the one value that a row of
	// embedding_metadata (as m) has; a boolean becomes a blob of one byte.
	value string
}

// loadCatalog reads everything but the records. Memory is a few hundred bytes a
// collection, and 16 bytes for every run of the queue.
func loadCatalog(ctx context.Context, db *sql.DB) (*catalog, error) {
	c := &catalog{}
	cols, err := columns(ctx, db, "collections")
	if err != nil {
		return nil, err
	}
	for _, need := range []string{"id", "name", "dimension", "database_id"} {
		if !cols[need] {
			return nil, fmt.Errorf("%w: no column collections.%s", errNotChroma, need)
		}
	}
	byID := map[string]*collection{}
	optional := func(name string) string {
		if cols[name] {
			return "c." + name
		}
		return "NULL"
	}
	err = each(ctx, db, func(r []driver.Value) error {
		l := &collection{id: str(r[0]), name: str(r[1]), dim: int(num(r[2])), database: str(r[3]), tenant: str(r[4]), topic: str(r[5])}
		if l.topic == "" {
			// Every tenant and database has the same prefix.
			l.topic = "persistent://default/default/" + l.id
		}
		l.cosine = schemaSpace(str(r[6])) == "cosine"
		if schemaSpace(str(r[6])) == "" {
			l.cosine = configSpace(str(r[7])) == "cosine"
			if configSpace(str(r[7])) == "" {
				l.cosine = str(r[8]) == "cosine"
			}
		}
		byID[l.id] = l
		c.collections = append(c.collections, l)
		return nil
	}, `SELECT c.id, c.name, c.dimension, d.name, d.tenant_id, `+optional("topic")+`, `+optional("schema_str")+`, `+optional("config_json_str")+`,
		coalesce((SELECT m.str_value FROM segments s JOIN segment_metadata m ON m.segment_id = s.id AND m.key = 'hnsw:space' WHERE s.collection = c.id AND s.scope = 'VECTOR'),
		         (SELECT m.str_value FROM collection_metadata m WHERE m.collection_id = c.id AND m.key = 'hnsw:space'))
		FROM collections c JOIN databases d ON d.id = c.database_id ORDER BY c.rowid`)
	if err != nil {
		return nil, fmt.Errorf("reading collections: %w", err)
	}
	bySegment := map[string]*collection{}
	err = each(ctx, db, func(r []driver.Value) error {
		l := byID[str(r[2])]
		if l == nil {
			return nil
		}
		switch str(r[1]) {
		case "VECTOR":
			l.vectorSeg = str(r[0])
			l.hasSynced, l.synced = r[3] != nil, num(r[3])
		case "METADATA":
			l.metaSeg = str(r[0])
			l.applied = num(r[3])
			bySegment[l.metaSeg] = l
		}
		return nil
	}, "SELECT s.id, s.scope, s.collection, m.seq_id FROM segments s LEFT JOIN max_seq_id m ON m.segment_id = s.id")
	if err != nil {
		return nil, fmt.Errorf("reading segments: %w", err)
	}
	err = each(ctx, db, func(r []driver.Value) error {
		if l := bySegment[str(r[0])]; l != nil {
			l.records = num(r[1])
		}
		return nil
	}, "SELECT segment_id, count(*) FROM embeddings GROUP BY segment_id")
	if err != nil {
		return nil, fmt.Errorf("counting embeddings: %w", err)
	}
	if err := c.loadQueue(ctx, db); err != nil {
		return nil, fmt.Errorf("reading the queue: %w", err)
	}
	c.value = "coalesce(m.string_value, m.int_value, m.float_value)"
	if cols, err = columns(ctx, db, "embedding_metadata"); err != nil {
		return nil, err
	} else if cols["bool_value"] {
		c.value = "coalesce(m.string_value, m.int_value, m.float_value, iif(m.bool_value IS NULL, NULL, iif(m.bool_value, x'01', x'00')))"
	}
	if cols, err = columns(ctx, db, "embedding_metadata_array"); err == nil && len(cols) > 0 {
		_, c.arrays, err = one(ctx, db, "SELECT 1 FROM embedding_metadata_array LIMIT 1")
	}
	if err != nil {
		return nil, err
	}
	row, _, err := one(ctx, db, "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
	if err == nil {
		c.pageBytes = num(row[0])
	}
	return c, err
}

// loadQueue notes where in the queue each collection has rows that its segments
// may not hold yet.
func (c *catalog) loadQueue(ctx context.Context, db *sql.DB) error {
	byTopic := map[string]*collection{}
	for _, l := range c.collections {
		byTopic[l.topic] = l
	}
	var last *collection // of the row before
	return each(ctx, db, func(r []driver.Value) error {
		seq := num(r[0])
		c.maxSeq = seq
		l := byTopic[str(r[1])]
		before := last
		last = l
		if l == nil {
			return nil
		}
		if seq > l.applied {
			l.unapplied++
		}
		// Without a row in max_seq_id the pickle may hold the number.
		if l.hasSynced && seq <= min(l.synced, l.applied) {
			return nil
		}
		if n := len(l.tail); n > 0 && before == l {
			l.tail[n-1].hi = seq
		} else {
			l.tail = append(l.tail, run{seq, seq})
		}
		return nil
	}, "SELECT seq_id, topic FROM embeddings_queue ORDER BY seq_id")
}

// schemaSpace reads the space from schema_str (chromadb 1.3 and later).
func schemaSpace(s string) string {
	var v struct {
		Keys map[string]struct {
			FloatList struct {
				VectorIndex struct {
					Config struct {
						Space string `json:"space"`
					} `json:"config"`
				} `json:"vector_index"`
			} `json:"float_list"`
		} `json:"keys"`
	}
	if !strings.HasPrefix(s, "{") || json.Unmarshal([]byte(s), &v) != nil {
		return ""
	}
	return v.Keys["#embedding"].FloatList.VectorIndex.Config.Space
}

// configSpace reads the space from config_json_str (chromadb 1.0 to 1.2). What
// 0.5 and 0.6 write there has another form and does not count: it says l2 for
// cosine collections too.
func configSpace(s string) string {
	var v struct {
		VectorIndex struct {
			HNSW struct {
				Space string `json:"space"`
			} `json:"hnsw"`
		} `json:"vector_index"`
	}
	if !strings.HasPrefix(s, "{") || json.Unmarshal([]byte(s), &v) != nil {
		return ""
	}
	return v.VectorIndex.HNSW.Space
}

// notChroma makes the error of opening something else.
func notChroma(err error) error {
	return pipeline.Usage("opening the Chroma store", err, "name the folder vector_db of an Open WebUI data folder; what is there is not a store of Chroma 0.4 or later")
}
