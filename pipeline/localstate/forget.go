package localstate

import (
	"context"
	"os"

	"outgrow/pipeline"
)

var _ pipeline.Forgetter = (*Store)(nil)

// Forget takes the lane's lock and removes its folder with everything in it. The
// store is closed by it.
func (s *Store) Forget(context.Context) error {
	if err := s.acquire(); err != nil {
		return err
	}
	s.epoch.Store(0)
	err := s.db.Close()
	if err == nil {
		err = os.RemoveAll(s.dir)
	}
	s.release()
	if err != nil {
		return pipeline.Environment("removing the state", err, "let this user write to the state folder")
	}
	return nil
}
