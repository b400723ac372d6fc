package chroma

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"outgrow/pipeline"
)

var errNotDir error = syscall.ENOTDIR

// makeFolders makes vector_db, as open as the folder above it and of the same
// owner, and in it the folder of the partial store, for this user only.
func (s *Sink) makeFolders() error {
	switch err := os.Mkdir(s.cfg.Dir, 0o700); {
	case err == nil:
		if err := s.permit(s.cfg.Dir, true); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	if err := os.Mkdir(filepath.Dir(s.partial()), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// flushFolders makes the names of the partial store durable.
func (s *Sink) flushFolders() error {
	return errors.Join(syncFolder(filepath.Dir(s.partial())), syncFolder(s.cfg.Dir), syncFolder(filepath.Dir(s.cfg.Dir)))
}

// permit gives a file or folder the owner of the data folder and its mode, a
// file without the right to execute it. An owner that this user cannot give is
// told of by Check.
func (s *Sink) permit(name string, folder bool) error {
	parent := filepath.Dir(s.cfg.Dir)
	var up, st unix.Stat_t
	if err := errors.Join(unix.Stat(parent, &up), unix.Stat(name, &st)); err != nil {
		return err
	}
	if up.Uid != st.Uid || up.Gid != st.Gid {
		if err := os.Chown(name, int(up.Uid), int(up.Gid)); errors.Is(err, fs.ErrPermission) {
			s.cfg.Log.Warn("this user may not give the file to the owner of the data folder", "file", name, "uid", up.Uid, "gid", up.Gid)
		} else if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	mode := fs.FileMode(up.Mode).Perm() | 0o700
	if !folder {
		mode = mode&0o664 | 0o600
	}
	if err := os.Chmod(name, mode); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

func syncFolder(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	// Some file systems cannot flush a folder, and need not.
	if err = f.Sync(); errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// failed names what failed and tells whose fault it is; nil stays nil.
func (s *Sink) failed(ctx context.Context, op string, err error) error {
	var pe *pipeline.Error
	switch {
	case err == nil, errors.As(err, &pe):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return pipeline.Environment(op, err, "free space on the target's disk or raise its quota, then run the same command")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return pipeline.Environment(op, err, "let this user write below "+filepath.Dir(s.cfg.Dir)+", then run the same command")
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", op, err)
	}
	switch e.Code() & 0xff {
	case lib.SQLITE_FULL:
		return pipeline.Environment(op, err, "free space on the target's disk, and in the folder for temporary files (TMPDIR), then run the same command")
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return pipeline.Environment(op, pipeline.Transient(err), "stop Open WebUI, then run the same command")
	case lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN, lib.SQLITE_PERM, lib.SQLITE_AUTH:
		return pipeline.Environment(op, err, "let this user write below "+filepath.Dir(s.cfg.Dir)+", then run the same command")
	case lib.SQLITE_IOERR, lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return pipeline.Environment(op, err, "look at the target's disk; then run migrate with --replace, which writes the store anew")
	}
	return fmt.Errorf("%s: %w", op, err)
}
