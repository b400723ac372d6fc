package localstate

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"outgrow/pipeline"
)

// Lock locks a file, which it makes. The system releases the lock with the
// process, however that ends. Whoever holds the lock may remove the file: a file
// that is not the one of that name any more counts as locked.
func Lock(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, pipeline.Environment("opening the lock", err, "let this user write to the state folder")
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && !same(f, path) {
		err = unix.EWOULDBLOCK
	}
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		err = locked("taking the lock of " + dir)
	default:
		err = pipeline.Environment("taking the lock", err, "pass --state DIR on a file system that can lock files")
	}
	_ = f.Close()
	return nil, err
}

func locked(op string) error {
	return &pipeline.Error{Op: op, Err: pipeline.ErrLocked, Exit: pipeline.ExitEnvironment,
		Hint: "wait for the other run to end or stop it, then run the same command"}
}

// Unlock gives a lock back at once, even if a program that is just being started
// still holds a copy of the file.
func Unlock(f *os.File) {
	_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
	_ = f.Close()
}

func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// acquire locks the file "lock"; it stays.
func (s *Store) acquire() error {
	if s.lock.Load() != nil {
		return nil
	}
	f, err := Lock(filepath.Join(s.dir, "lock"))
	if err == nil {
		s.lock.Store(f)
	}
	return err
}

func (s *Store) release() {
	if f := s.lock.Swap(nil); f != nil {
		Unlock(f)
	}
}
