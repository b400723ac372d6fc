package chroma

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"math"
	"path/filepath"

	"outgrow/mappings/chromahttp"
	"outgrow/pipeline"
)

var (
	_ pipeline.Upserter[*pipeline.Vector] = (*Sink)(nil)
	_ pipeline.Dropper                    = (*Sink)(nil)
)

// Upsert writes records in place of what has their ids. A collection that is
// missing is made.
func (s *Sink) Upsert(ctx context.Context, u pipeline.Unit, records []*pipeline.Vector, _ pipeline.Upsert) (pipeline.Outcome, error) {
	if err := s.ensure(ctx, u); err != nil {
		return pipeline.Outcome{}, err
	}
	return s.write(ctx, u, records)
}

func (s *Sink) ensure(ctx context.Context, u pipeline.Unit) error {
	if chromahttp.NameProblem(u.Name) != "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.store(ctx)
	if err != nil || st.collections[u.Name] != nil {
		return err
	}
	return s.failed(ctx, "making a collection", st.create(ctx, u.Name))
}

// Drop removes a collection with all that is in it, Chroma's index too.
func (s *Sink) Drop(ctx context.Context, u pipeline.Unit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	const op = "removing a collection"
	if p, err := s.look(); err != nil || p == (place{}) {
		return s.failed(ctx, op, err)
	}
	st, err := s.store(ctx)
	if err != nil {
		return err
	}
	l := st.collections[u.Name]
	if l == nil {
		return nil
	}
	if err := st.remove(ctx, l); err != nil {
		return s.failed(ctx, op, err)
	}
	delete(st.collections, u.Name)
	// Without its rows the folder means nothing, should this fail.
	if err := removeSegment(filepath.Join(s.cfg.Dir, l.vectorSeg)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.failed(ctx, op, err)
	}
	return nil
}

// remove takes a collection out of every table.
func (st *store) remove(ctx context.Context, l *collection) error {
	return st.tx(ctx, func(tx *sql.Tx) error {
		text := int64(math.MaxInt64)
		if st.partial {
			if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM embedding_fulltext_search_docsize").Scan(&text); err != nil {
				return err
			}
		}
		const rows = "IN (SELECT id FROM embeddings WHERE segment_id = ?)"
		for _, q := range []struct {
			text string
			args []any
		}{
			{"DELETE FROM embedding_fulltext_search WHERE rowid IN (SELECT id FROM embeddings WHERE segment_id = ? AND id <= ?)", []any{l.metaSeg, text}},
			{"DELETE FROM embedding_metadata WHERE id " + rows, []any{l.metaSeg}},
			{"DELETE FROM embedding_metadata_array WHERE id " + rows, []any{l.metaSeg}},
			{"DELETE FROM embeddings WHERE segment_id = ?", []any{l.metaSeg}},
			{"DELETE FROM embeddings_queue WHERE topic = ?", []any{l.topic()}},
			{"DELETE FROM max_seq_id WHERE segment_id IN (?, ?)", []any{l.metaSeg, l.vectorSeg}},
			{"DELETE FROM segment_metadata WHERE segment_id IN (?, ?)", []any{l.metaSeg, l.vectorSeg}},
			{"DELETE FROM segments WHERE collection = ?", []any{l.id}},
			{"DELETE FROM collection_metadata WHERE collection_id = ?", []any{l.id}},
			{"DELETE FROM collections WHERE id = ?", []any{l.id}},
		} {
			if _, err := tx.ExecContext(ctx, q.text, q.args...); err != nil {
				return err
			}
		}
		return nil
	})
}
