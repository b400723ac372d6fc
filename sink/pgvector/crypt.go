package pgvector

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"outgrow/mappings/pg"
	"outgrow/mappings/vectors"
	"outgrow/pipeline"
)

// extendCrypto makes the extension pgcrypto as Open WebUI does, whatever
// PGVECTOR_CREATE_EXTENSION says. It is a trusted one: the database's owner may.
func (s *Sink) extendCrypto(ctx context.Context, f facts) error {
	if f.crypto {
		return nil
	}
	const op, hint = "creating the extension pgcrypto", "install PostgreSQL's contrib package on the database server, then run as superuser: CREATE EXTENSION pgcrypto"
	if _, err := s.pool.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS pgcrypto"); err != nil {
		if pg.HasCode(err, "42501", "0A000", "58P01", "22023", "42704") {
			return pipeline.Environment(op, err, hint)
		}
		return pg.Classify(op, err)
	}
	s.cfg.Log.Info("created the extension pgcrypto")
	return nil
}

// sameKey refuses a table whose records another key encrypted: Open WebUI reads
// all of a collection with one.
func (s *Sink) sameKey(ctx context.Context, f facts) error {
	if !s.layout.Crypto || !f.table {
		return nil
	}
	var n *int
	err := s.pool.QueryRow(ctx, "SELECT (SELECT length(pgp_sym_decrypt(vmetadata, $1)) FROM "+s.table+" WHERE vmetadata IS NOT NULL LIMIT 1)", s.cfg.PG.PGCryptoKey.Reveal()).Scan(&n)
	if pg.HasCode(err, "39") {
		return pipeline.Usage("preparing pgvector", errors.New("PGVECTOR_PGCRYPTO_KEY is not the key of the records that are there"), "set the key with which they were written")
	}
	return pg.Classify("looking at the encrypted records", err)
}

// encrypt inserts records; the server encrypts text and metadata. Both and the
// key are bound parameters: they stand in no statement's text, and, other than
// with COPY into a table in between, nothing readable reaches the server's
// disk. Metadata that jsonb would not take is an error: Open WebUI could read no
// record of the collection.
func (w *writer) encrypt(ctx context.Context, tx pgx.Tx, records []*pipeline.Vector, conflict string) error {
	if err := w.vectorType(ctx, tx); err != nil {
		return err
	}
	n := len(records)
	ids, texts, metadata, embeddings := make([]string, n), make([]*string, n), make([]*string, n), make(pgtype.FlatArray[[]byte], n)
	for i, v := range records {
		ids[i], texts[i] = v.ID, v.Text
		if v.Metadata != nil {
			m := string(v.Metadata)
			metadata[i] = &m
		}
		var err error
		if embeddings[i], err = w.layout.Append(nil, v.Embedding); err != nil {
			return err
		}
	}
	tag, err := tx.Exec(ctx, "INSERT INTO "+w.table+" AS d ("+vectors.Columns+") SELECT i, v, $5::text, pgp_sym_encrypt(t, $6::text),"+
		" CASE WHEN m::jsonb IS NOT NULL THEN pgp_sym_encrypt(m, $6::text) END"+
		" FROM unnest($1::text[], $2::"+w.layout.TypeName()+"[], $3::text[], $4::text[]) AS x(i, v, t, m)"+conflict,
		ids, embeddings, texts, metadata, w.unit.Name, w.cfg.PG.PGCryptoKey.Reveal())
	if err == nil && conflict != "" && tag.RowsAffected() == 0 {
		err = errElsewhere
	}
	return err
}

// vectorType tells the connection that the type's binary form is ready made.
func (w *writer) vectorType(ctx context.Context, tx pgx.Tx) error {
	name, m := w.layout.TypeName(), tx.Conn().TypeMap()
	if _, ok := m.TypeForName(name + "[]"); ok {
		return nil
	}
	var one, many uint32
	if err := tx.QueryRow(ctx, "SELECT oid, typarray FROM pg_type WHERE oid = to_regtype($1)", name).Scan(&one, &many); err != nil {
		return err
	}
	element := &pgtype.Type{Name: name, OID: one, Codec: pgtype.ByteaCodec{}}
	m.RegisterType(element)
	m.RegisterType(&pgtype.Type{Name: name + "[]", OID: many, Codec: &pgtype.ArrayCodec{ElementType: element}})
	return nil
}
