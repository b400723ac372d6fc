package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"outgrow/pipeline"
)

// folder opens the folder, and makes it and those above it where they are
// missing. It is flushed with the batch; what is made belongs to the target's
// owner. The caller closes it.
func (w *writer) folder(dir string) (*os.File, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.folderLocked(dir)
}

func (w *writer) folderLocked(dir string) (*os.File, error) {
	f, err := w.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) && dir != "." {
		return w.makeFolder(dir)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "opening", Path: dir, Err: syscall.ENOTDIR}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	w.dirs[dir] = true
	return f, nil
}

// makeFolder makes a folder that is as open as the one above it.
func (w *writer) makeFolder(dir string) (*os.File, error) {
	up, err := w.folderLocked(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	info, err := up.Stat()
	if cerr := up.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	mode := info.Mode()&(fs.ModePerm|fs.ModeSetgid) | 0o700
	if err := w.root.Mkdir(dir, mode.Perm()); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	w.dirs[dir] = true
	f, err := w.root.Open(dir)
	if err != nil {
		return nil, err
	}
	c, err := w.chown(w.wrap(f), dir)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	if c != nil {
		w.out.Changed = append(w.out.Changed, *c)
	}
	_ = f.Chmod(mode) // past the umask; a share without modes refuses
	return f, nil
}

// flush makes the names in the batch's folders durable.
func (w *writer) flush() error {
	for dir := range w.dirs {
		f, err := w.root.Open(dir)
		if err == nil {
			// Some shares cannot flush a folder, and need not.
			if err = f.Sync(); errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
				err = nil
			}
			_ = f.Close()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	return nil
}

// list calls f with every name in one folder, in no order.
func (s *Sink) list(ctx context.Context, dir string, f func(fs.DirEntry)) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // only read
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		entries, err := d.ReadDir(512)
		for _, e := range entries {
			f(e)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// classify turns a failure of the target into one with a way out.
func classify(op string, err error) error {
	var pe *pipeline.Error
	switch {
	case err == nil, errors.As(err, &pe), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return pipeline.Environment(op, err, "free space on the target's disk or raise its quota, then run the same command")
	case errors.Is(err, syscall.EROFS):
		return pipeline.Environment(op, err, "mount the target for writing, then run the same command")
	case errors.Is(err, fs.ErrPermission):
		return pipeline.Environment(op, err, "let this user write below the target's data folder, then run the same command")
	case errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR), errors.Is(err, syscall.ETIMEDOUT):
		return pipeline.Transient(fmt.Errorf("%s: %w", op, err))
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.EHOSTDOWN), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return pipeline.Environment(op, err, "look at the target's disk or mount, then run the same command")
	}
	return fmt.Errorf("%s: %w", op, err)
}
