package pgvector

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// Results are asked for in binary: jsonb is then a version byte and the text, a
// vector its elements as they are stored.
var binary = pgx.QueryResultFormats{pgx.BinaryFormatCode}

// rows reads the records of some ids of a collection until each gives false.
func (s *Source) rows(ctx context.Context, q pg.Querier, u pipeline.Unit, ids []string, order string, each func(*pipeline.Vector) bool) error {
	sql, args := "SELECT id, vector, text, vmetadata FROM ", []any{binary, ids, u.Name}
	if s.cfg.PG.PGCrypto {
		sql, args = "SELECT id, vector, pgp_sym_decrypt(text, $3), pgp_sym_decrypt(vmetadata, $3) FROM ", append(args, s.cfg.PG.PGCryptoKey.Reveal())
	}
	rows, err := q.Query(ctx, sql+s.table+" WHERE id = ANY ($1) AND collection_name = $2"+order, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		v, err := s.decode(rows.RawValues(), u)
		if err != nil {
			return err
		}
		if !each(v) {
			return nil
		}
	}
	return rows.Err()
}

func (s *Source) decode(raw [][]byte, u pipeline.Unit) (*pipeline.Vector, error) {
	v := &pipeline.Vector{ID: string(raw[0])}
	if raw[1] != nil {
		dim := u.Dim
		if dim == 0 {
			dim = s.cfg.Dim
		}
		var err error
		if v.Embedding, err = vectors.Parse(raw[1], dim); err != nil {
			return nil, &pipeline.Error{Op: "reading", Unit: u.ID(), Key: v.ID, Err: err}
		}
	}
	if raw[2] != nil {
		text := string(raw[2])
		v.Text = &text
	}
	switch m := raw[3]; {
	case m == nil:
	case s.cfg.PG.PGCrypto:
		v.Metadata = append([]byte(nil), m...)
	case len(m) == 0 || m[0] != 1:
		return nil, &pipeline.Error{Op: "reading", Unit: u.ID(), Key: v.ID, Err: errors.New("jsonb of an unknown version")}
	default:
		v.Metadata = append([]byte(nil), m[1:]...)
	}
	return v, nil
}

// undecryptable is the server's SQLSTATE for a wrong key and for data that was
// never encrypted (external routine invocation exception), or is no text once
// it is.
func undecryptable(err error) bool { return pg.HasCode(err, "39", "22021") }

// cryptPage is how many encrypted records are read at once. Decrypting takes
// longer than the way to the server.
const cryptPage = 64

// secret is page for encrypted records. One that cannot be decrypted is
// refused; when none of the first page can be, the key is wrong.
func (r *reader) secret(ctx context.Context, ids []string) (bool, error) {
	for len(ids) > 0 {
		some := ids[:min(cryptPage, len(ids))]
		ids = ids[len(some):]
		var found []*pipeline.Vector
		refused, err := r.decrypt(ctx, some, &found)
		if err != nil {
			return false, err
		}
		if len(refused) > 0 && len(found) == 0 && !r.opened {
			return false, wrongKey(refused[0].err)
		}
		r.opened = true
		for _, id := range some { // in the order of the ids, whichever list they are in
			ok := true
			switch {
			case len(found) > 0 && found[0].ID == id:
				ok, found = r.take(found[0]), found[1:]
			case len(refused) > 0 && refused[0].id == id:
				ok, refused = r.refuse(id), refused[1:]
			}
			if !ok {
				return false, nil
			}
		}
	}
	return true, nil
}

type locked struct {
	id  string
	err error
}

// decrypt reads records by id and finds those that cannot be decrypted by
// halving.
func (r *reader) decrypt(ctx context.Context, ids []string, found *[]*pipeline.Vector) ([]locked, error) {
	before := len(*found)
	err := r.view(ctx, func(q pg.Querier) error {
		return r.rows(ctx, q, r.batch.Part.Unit, ids, " ORDER BY id", func(v *pipeline.Vector) bool { *found = append(*found, v); return true })
	})
	if err == nil || !undecryptable(err) {
		return nil, err
	}
	*found = (*found)[:before]
	if len(ids) == 1 {
		return []locked{{ids[0], err}}, nil
	}
	a, err := r.decrypt(ctx, ids[:len(ids)/2], found)
	if err != nil {
		return nil, err
	}
	b, err := r.decrypt(ctx, ids[len(ids)/2:], found)
	return append(a, b...), err
}

// refuse puts a record that cannot be decrypted into the batch's refusals.
func (r *reader) refuse(id string) bool {
	v := &pipeline.Vector{ID: id}
	r.batch.Refused = append(r.batch.Refused, pipeline.NewRefusal(r.batch.Part.Unit, v, "text", pipeline.Unreadable,
		"PGVECTOR_PGCRYPTO_KEY does not decrypt it; its text and metadata stay encrypted in the source"))
	r.batch.Bytes += int64(v.Size())
	r.last = id
	return !r.full() || r.flush()
}

func wrongKey(err error) error {
	return pipeline.Environment("decrypting the source", err, "check PGVECTOR_PGCRYPTO_KEY: it must be the key that Open WebUI wrote these records with")
}

// classify is pg.Classify with a word about the key.
func classify(op string, err error) error {
	if undecryptable(err) {
		return wrongKey(err)
	}
	return pg.Classify(op, err)
}
