package files

import (
	"context"
	"errors"
	"io"
	"path"
)

// list calls f with every name in one folder, in no order.
func (w *walker) list(ctx context.Context, dir string, f func(rel string, isDir bool)) error {
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
			if !skipped(e.Name()) {
				f(path.Join(dir, e.Name()), e.IsDir())
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
