package pinecone

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"math"
	"strings"

	"outgrow/mappings/spool"
	"outgrow/pipeline"
)

// records keeps the records of an index on disk, by collection.
type records struct{ *spool.DB }

const spoolSchema = `
CREATE TABLE coll (n INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE);
CREATE TABLE rec (id BLOB NOT NULL UNIQUE, coll INTEGER NOT NULL, size INTEGER NOT NULL, dim INTEGER NOT NULL, text BLOB, meta BLOB, vec BLOB);
CREATE INDEX rec_coll ON rec (coll, id, size, dim);`

// foreign is the number of the collection of records that are none of Open
// WebUI's; their bodies are not kept.
const foreign = 0

func openSpool(parent string) (*records, error) {
	db, err := spool.Open(parent, kept, spoolSchema)
	if err != nil {
		return nil, err
	}
	return &records{db}, nil
}

// kept is what the spool is made for, in words.
const kept = "records of the index"

// local names what failed in it.
func local(op string, err error) error { return spool.Failed(kept, op, err) }

// item is a record on its way into the spool; vector nil for a foreign one.
type item struct {
	id, collection string
	vector         *pipeline.Vector
}

// add stores records that are not there yet.
func (s *records) add(items []item) error {
	tx, err := s.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, it := range items {
		n := int64(foreign)
		var text, meta, vec []byte
		size, dim := 0, 0
		if v := it.vector; v != nil {
			if n, err = number(tx, it.collection); err != nil {
				return err
			}
			size, dim, meta, vec = v.Size(), len(v.Embedding), v.Metadata, bytesOf(v.Embedding)
			if v.Text != nil {
				text = append([]byte{}, *v.Text...)
			}
		}
		if _, err := tx.Exec("INSERT OR IGNORE INTO rec (id, coll, size, dim, text, meta, vec) VALUES (?, ?, ?, ?, ?, ?, ?)",
			[]byte(it.id), n, size, dim, text, meta, vec); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func number(tx *sql.Tx, name string) (n int64, err error) {
	err = tx.QueryRow("SELECT n FROM coll WHERE name = ?", []byte(name)).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.QueryRow("INSERT INTO coll (name) VALUES (?) RETURNING n", []byte(name)).Scan(&n)
	}
	return n, err
}

// unknown leaves out the ids that are there.
func (s *records) unknown(ids []string) ([]string, error) {
	var out []string
	for _, id := range ids {
		var one int
		err := s.QueryRow("SELECT 1 FROM rec WHERE id = ?", []byte(id)).Scan(&one)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			out = append(out, id)
		case err != nil:
			return nil, err
		}
	}
	return out, nil
}

// units lists the collections, sorted by name, and counts the foreign records.
func (s *records) units() (units []pipeline.Unit, strange int64, err error) {
	rows, err := s.Query(`SELECT CASE coll WHEN 0 THEN NULL ELSE (SELECT name FROM coll c WHERE c.n = rec.coll) END AS name,
		coll, count(*), sum(size), max(dim) FROM rec GROUP BY coll ORDER BY name`)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var name []byte
		var n int64
		u := pipeline.Unit{Lane: pipeline.Vectors}
		if err := rows.Scan(&name, &n, &u.Records, &u.Bytes, &u.Dim); err != nil {
			return nil, 0, err
		}
		if n == foreign {
			strange = u.Records
			continue
		}
		u.Name = string(name)
		units = append(units, u)
	}
	return units, strange, rows.Err()
}

// ids gives up to limit ids of a collection after one, in order. after is nil
// for the beginning.
func (s *records) ids(collection string, after []byte, limit int) ([]string, error) {
	where, args := "", []any{[]byte(collection)}
	if after != nil {
		where, args = " AND id > ?", append(args, after)
	}
	return s.list("SELECT id FROM rec WHERE coll = (SELECT n FROM coll WHERE name = ?)"+where+" ORDER BY id LIMIT ?", append(args, limit)...)
}

// cuts gives the last ids of the first n-1 of n ranges of a collection, in order,
// which hold the same number of records, give or take one.
func (s *records) cuts(collection string, n int) ([]string, error) {
	return s.list(`SELECT max(id) FROM (SELECT id, ntile(?) OVER (ORDER BY id) AS part FROM rec WHERE coll = (SELECT n FROM coll WHERE name = ?))
		GROUP BY part HAVING part < ? ORDER BY part`, n, []byte(collection), n)
}

func (s *records) list(query string, args ...any) (out []string, err error) {
	rows, err := s.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, string(id))
	}
	return out, rows.Err()
}

// page gives the records after an id, up to and with to ("" for the end), until
// a limit is reached. after is nil for the beginning.
func (s *records) page(ctx context.Context, collection string, after []byte, to string, l pipeline.Limits) (out []*pipeline.Vector, bytes int64, err error) {
	var where strings.Builder
	args := []any{[]byte(collection)}
	if after != nil {
		where.WriteString(" AND id > ?")
		args = append(args, after)
	}
	if to != "" {
		where.WriteString(" AND id <= ?")
		args = append(args, []byte(to))
	}
	rows, err := s.Query("SELECT id, text, meta, vec FROM rec WHERE coll = (SELECT n FROM coll WHERE name = ?)"+where.String()+" ORDER BY id LIMIT ?", append(args, l.Records)...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() && bytes < l.Bytes {
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		var id, text, meta, vec []byte
		if err := rows.Scan(&id, &text, &meta, &vec); err != nil {
			return nil, 0, err
		}
		v := &pipeline.Vector{ID: string(id), Metadata: meta, Embedding: vectorOf(vec)}
		if text != nil {
			t := string(text)
			v.Text = &t
		}
		out = append(out, v)
		bytes += int64(v.Size())
	}
	return out, bytes, rows.Err()
}

func bytesOf(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

func vectorOf(b []byte) []float32 {
	if len(b) == 0 {
		return nil
	}
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}
