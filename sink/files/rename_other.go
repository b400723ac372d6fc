//go:build !linux

package files

import (
	"io/fs"
	"os"
)

// rename gives the file its name, not over another file that is there.
func (w *writer) rename(_ *os.File, temp, name string) error {
	if !w.replace {
		if _, err := w.root.Lstat(name); err == nil {
			return fs.ErrExist
		}
	}
	return w.root.Rename(temp, name)
}
