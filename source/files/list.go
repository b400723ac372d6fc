package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// each calls visit with every entry of the unit, in no order, which takes one
// listing of each folder however large it is; visit says whether to go on.
func (w *walker) each(ctx context.Context, visit func(entry) (bool, error)) error {
	if w.single != "" {
		return w.walk(ctx, visit)
	}
	return w.eachBelow(ctx, ".", visit)
}

func (w *walker) eachBelow(ctx context.Context, dir string, visit func(entry) (bool, error)) error {
	var dirs []string
	err := w.list(ctx, dir, func(e fs.DirEntry) (err error) {
		rel := path.Join(dir, e.Name())
		if e.IsDir() {
			dirs = append(dirs, rel)
			return nil
		}
		w.done, err = step(visit, entry{rel: rel, mode: e.Type()})
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist): // removed since
		return nil
	case errors.Is(err, fs.ErrPermission) && dir != ".":
		w.done, err = step(visit, entry{rel: dir, mode: fs.ModeDir, err: err})
	case err != nil:
		return fmt.Errorf("listing %s: %w", w.name(dir), err)
	}
	for _, d := range dirs {
		if err != nil || w.done {
			break
		}
		err = w.eachBelow(ctx, d, visit)
	}
	return err
}

// list calls f with every entry of one folder, in no order, until w.done.
func (w *walker) list(ctx context.Context, dir string, f func(fs.DirEntry) error) error {
	d, err := w.root.Open(dir)
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
			if skipped(e.Name()) {
				continue
			}
			if err := f(e); err != nil || w.done {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
