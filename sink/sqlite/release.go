package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	"outgrow/pipeline"
)

// Release writes the revision, takes this package's own tables out and gives the
// file its name: from then on Open WebUI may start on it. The file is in Open
// WebUI's journal mode, and no log lies beside it. Release refuses until Finish is
// through, and does nothing the second time.
func (s *Sink) Release(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return classify("releasing the target", s.release(ctx))
}

func (s *Sink) release(ctx context.Context) error {
	if s.closed {
		return errClosed
	}
	t, marks, err := s.inspect(ctx)
	if err != nil {
		return err
	}
	if t.State == Released {
		if marks[markVersion] == "" {
			return nil
		}
		return s.cfg.Journal.Mark(ctx, markVersion, "") // it was stopped just before
	}
	if f := s.refuse(t, false); f != nil {
		return asError(f)
	}
	if marks[markFinished] == "" || t.State != Ours && t.State != Renamed {
		return &pipeline.Error{Op: "releasing the target", Err: errors.New("it is not finished"), Hint: "run migrate to its end first"}
	}
	if t.State == Ours {
		if err := s.strip(ctx, marks); err != nil {
			return err
		}
		if err := s.name(ctx); err != nil {
			return err
		}
	}
	if err := flush(filepath.Dir(s.path)); err != nil {
		return err
	}
	for _, m := range [][2]string{{markReleased, s.cfg.Head}, {markVersion, ""}} {
		if err := s.cfg.Journal.Mark(ctx, m[0], m[1]); err != nil {
			return err
		}
	}
	return nil
}

// strip makes the content what it is to be. The journal knows the file by its
// inode from before: without this package's tables it does not say whose it is.
func (s *Sink) strip(ctx context.Context, marks map[string]string) error {
	id, err := inode(s.partial)
	if err != nil {
		return err
	}
	if marks[markReleasing] != id {
		if err := s.cfg.Journal.Mark(ctx, markReleasing, id); err != nil {
			return err
		}
	}
	s.about("strip")
	if err := s.connect(ctx, s.partial); err != nil {
		return err
	}
	return s.tx(ctx, func() error {
		is, err := s.owner(ctx, s.conn)
		if err != nil || is == "" { // done before
			return err
		}
		if is != marks[markToken] {
			return pipeline.ErrFenced
		}
		_, err = s.conn.ExecContext(ctx, "DELETE FROM "+versionTable+"; INSERT INTO "+versionTable+" (version_num) VALUES (?); DROP TABLE "+ownTable+"; DROP TABLE "+partTable, s.cfg.Head)
		return err
	})
}

// name carries the log into the file, closes it and gives it its name.
func (s *Sink) name(ctx context.Context) error {
	var busy, frames, carried int
	if err := each(ctx, s.conn, "PRAGMA wal_checkpoint(TRUNCATE)", nil, func(r *sql.Rows) error { return r.Scan(&busy, &frames, &carried) }); err != nil {
		return err
	}
	if err := s.disconnect(); err != nil {
		return err
	}
	s.about("closed")
	left, err := present(companions(s.partial)...)
	if err != nil {
		return err
	}
	if busy != 0 || len(left) > 0 {
		return pipeline.Transient(pipeline.Environment("releasing the target", fmt.Errorf("another program has %s open", s.partial), "stop it, then run the same command"))
	}
	if err := like(s.partial); err != nil {
		return err
	}
	if err := flush(s.partial); err != nil {
		return err
	}
	s.about("rename")
	// Once more: Open WebUI may have been started on the folder meanwhile.
	if there, err := present(append(companions(s.path), s.path)...); err != nil || len(there) > 0 {
		if err == nil {
			err = asError(s.refuse(Target{State: InUse, There: there}, false))
		}
		return err
	}
	if err := rename(s.partial, s.path); err != nil {
		return pipeline.Environment("giving the target database its name", err, "look at what was made at "+s.path+" meanwhile, then run the same command")
	}
	s.about("renamed")
	return nil
}
