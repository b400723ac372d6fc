package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"outgrow/pipeline"
)

// replaced is what an old database is called that was moved aside.
const replaced = ".replaced-"

// Empty makes room for a new database, for --replace: an unfinished one is
// deleted, a webui.db that is there is moved aside with its log, for the operator
// to keep or to delete. The application must be stopped: its writes would follow
// the old file.
func (s *Sink) Empty(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return classify("emptying the target", s.empty(ctx))
}

func (s *Sink) empty(ctx context.Context) error {
	if s.closed {
		return errClosed
	}
	if err := s.disconnect(); err != nil {
		return err
	}
	// The marks go first: without them what is there is nobody's.
	for _, m := range []string{markReleased, markReleasing, markFinished, markMade, markToken, markIndexes, markVersion} {
		if err := s.cfg.Journal.Mark(ctx, m, ""); err != nil {
			return err
		}
	}
	for _, p := range append([]string{s.partial}, companions(s.partial)...) {
		if err := os.Remove(p); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	if err := s.moveAside(); err != nil {
		return err
	}
	return flush(filepath.Dir(s.path))
}

// moveAside renames the database last: as long as it has its name, what belongs
// to it is found under the same number again.
func (s *Sink) moveAside() error {
	aside, err := s.aside()
	if err != nil {
		return err
	}
	db, err := inode(s.path)
	if err != nil {
		return err
	}
	whole := db != ""
	for _, p := range append(companions(s.path), s.path) {
		there, err := present(p)
		if err != nil {
			return err
		}
		if len(there) > 0 {
			to := aside + strings.TrimPrefix(p, s.path)
			if !whole { // it must not become another database's
				to = p + strings.TrimPrefix(aside, s.path)
			}
			if err := rename(p, to); err != nil {
				return pipeline.Environment("moving the old database aside", err, "move "+p+" away by hand, then run the same command")
			}
		}
	}
	return nil
}

// aside is the first name that no database has.
func (s *Sink) aside() (string, error) {
	for n := 1; ; n++ {
		name := s.path + replaced + strconv.Itoa(n)
		there, err := present(name)
		if err != nil || len(there) == 0 {
			return name, err
		}
	}
}

func (s *Sink) replacing(t Target) string {
	if t.State == Foreign {
		return s.partial + ", the unfinished database of another run, is deleted first"
	}
	name, err := s.aside()
	if err != nil {
		name = s.path + replaced + "1"
	}
	return fmt.Sprintf("%s is moved aside first, with what belongs to it, to %s", s.path, name)
}
