package files

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"outgrow/pipeline"
)

var (
	_ pipeline.Upserter[*pipeline.Object] = (*Sink)(nil)
	_ pipeline.Deleter                    = (*Sink)(nil)
)

// Upsert is Write outside any part; with how.Replace files that differ are
// overwritten, else the record is refused (duplicate).
func (s *Sink) Upsert(ctx context.Context, unit pipeline.Unit, records []*pipeline.Object, how pipeline.Upsert) (pipeline.Outcome, error) {
	return s.write(ctx, unit, records, s.cfg.Replace || how.Replace)
}

// Delete removes files, and flushes their folders. A folder of that name is no file:
// it stays while anything is in it. A folder that gets empty
// stays.
func (s *Sink) Delete(ctx context.Context, unit pipeline.Unit, keys []string) error {
	w := &writer{Sink: s, unit: unit, dirs: map[string]bool{}}
	for _, key := range keys {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name := filepath.FromSlash(key)
		if !filepath.IsLocal(name) || path.Clean(key) != key || !strings.HasPrefix(key, unit.Name+"/") {
			continue // there can be no such file
		}
		err := s.root.Remove(name)
		switch {
		case err == nil:
			w.dirs[filepath.Dir(name)] = true
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EILSEQ):
		default:
			return classify("removing "+key, err)
		}
	}
	if err := w.flush(); err != nil {
		return classify("flushing the folders of "+unit.Name, err)
	}
	return nil
}
