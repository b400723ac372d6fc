package localstate

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"outgrow/pipeline"
)

// acquire locks the file "lock". The system releases it with the process,
// however that ends; the file itself stays, as removing it would let two
// processes lock two files of one name.
func (s *Store) acquire() error {
	if s.lock.Load() != nil {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return pipeline.Environment("opening the lock", err, "let this user write to the state folder")
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case err == nil:
		s.lock.Store(f)
		return nil
	case errors.Is(err, unix.EWOULDBLOCK):
		err = &pipeline.Error{Op: "taking the lock of " + s.dir, Err: pipeline.ErrLocked, Exit: pipeline.ExitEnvironment,
			Hint: "wait for the other run to end or stop it, then run the same command"}
	default:
		err = pipeline.Environment("taking the lock", err, "pass --state DIR on a file system that can lock files")
	}
	_ = f.Close()
	return err
}

// release gives the lock back at once, even if a program that is just being
// started still holds a copy of the file.
func (s *Store) release() {
	if f := s.lock.Swap(nil); f != nil {
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
		_ = f.Close()
	}
}
