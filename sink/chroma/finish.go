package chroma

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"outgrow/pipeline"
)

// rowsAStep is how many records the full-text index takes in one transaction.
const rowsAStep = 10_000

// Finish makes the full-text index and the plain indexes, and gives the file its
// name. It resumes where it stopped; a store that has its name is left alone.
func (s *Sink) Finish(ctx context.Context, step func(string)) (pipeline.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const op = "finishing the Chroma store"
	if err := ctx.Err(); err != nil {
		return pipeline.Outcome{}, context.Cause(ctx)
	}
	if p, err := s.look(); err != nil || p == (place{}) {
		return pipeline.Outcome{}, s.failed(ctx, op, err)
	}
	st, err := s.store(ctx)
	if err != nil || !st.partial {
		return pipeline.Outcome{}, err
	}
	if err := st.fulltext(ctx, step); err != nil {
		return pipeline.Outcome{}, s.failed(ctx, "making the full-text index", err)
	}
	for _, q := range strings.Split(strings.TrimSpace(indexesSQL), "\n\n") {
		name := strings.Fields(strings.TrimPrefix(q, "CREATE INDEX IF NOT EXISTS "))[0]
		step("index " + name)
		err := st.tx(ctx, func(tx *sql.Tx) error { _, err := tx.ExecContext(ctx, q); return err })
		if err != nil {
			return pipeline.Outcome{}, s.failed(ctx, "making the index "+name, err)
		}
	}
	step("giving the store its name")
	return pipeline.Outcome{}, s.failed(ctx, op, s.seal(ctx))
}

// fulltext indexes the documents that are not indexed yet. The rows of the index
// are those of embeddings, so the last one tells how far it is.
func (st *store) fulltext(ctx context.Context, step func(string)) error {
	var at, last int64
	err := st.db.QueryRowContext(ctx, "SELECT coalesce((SELECT max(id) FROM embedding_fulltext_search_docsize), 0), coalesce((SELECT max(id) FROM embeddings), 0)").Scan(&at, &last)
	if err != nil {
		return err
	}
	for at < last {
		step(fmt.Sprintf("full-text index, %d %%", 100*at/last))
		to := min(at+rowsAStep, last)
		err := st.tx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO embedding_fulltext_search (rowid, string_value)
				SELECT id, string_value FROM embedding_metadata WHERE id > ? AND id <= ? AND key = 'chroma:document' ORDER BY id`, at, to)
			return err
		})
		if err != nil {
			return err
		}
		at = to
	}
	return nil
}

// seal gives the file its name, never over another one. Meanwhile nobody can
// write to it under its old name.
func (s *Sink) seal(ctx context.Context) error {
	if err := s.permit(s.partial(), false); err != nil {
		return err
	}
	conn, err := s.st.db.Conn(ctx)
	if err != nil {
		return err
	}
	// A deleted journal, unlike an empty one, need not be taken along.
	for _, q := range []string{"PRAGMA journal_mode = DELETE", "BEGIN EXCLUSIVE"} {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	err = link(s.partial(), s.final())
	if err == nil {
		err = syncFolder(s.cfg.Dir)
	}
	if err == nil {
		err = s.unlinkPartial()
	}
	_, rollback := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	return errors.Join(err, rollback, conn.Close(), s.drop())
}

// link gives a file a second name that is not taken. Where there are no hard
// links it is renamed, after a look.
func link(from, to string) error {
	err := os.Link(from, to)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return pipeline.Usage("giving the Chroma store its name", fmt.Errorf("%s was made by something else meanwhile", to),
			"stop Open WebUI, move that file and the folders beside it away, then run the same command")
	case !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EMLINK):
		return err
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fs.ErrExist, err)
	}
	return os.Rename(from, to)
}

// unlinkPartial removes the old name of a store that has its own.
func (s *Sink) unlinkPartial() error {
	if err := os.Remove(s.partial()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.removePartial()
}

// removePartial removes the partial store and its folder.
func (s *Sink) removePartial() error {
	for _, name := range []string{fileSQLite + "-journal", fileSQLite, ""} {
		if err := os.Remove(filepath.Join(s.cfg.Dir, partialDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotDir) {
			return err
		}
	}
	if err := syncFolder(s.cfg.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
