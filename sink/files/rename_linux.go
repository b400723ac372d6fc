package files

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// rename gives the file its name, atomically, and never over another file
// unless that is asked for. Where the file system cannot promise that (NFS), a
// look beforehand has to do.
func (w *writer) rename(dir *os.File, temp, name string) error {
	if !w.replace {
		fd := int(dir.Fd())
		err := unix.Renameat2(fd, filepath.Base(temp), fd, filepath.Base(name), unix.RENAME_NOREPLACE)
		if err == nil || !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
		if _, err := w.root.Lstat(name); err == nil {
			return unix.EEXIST
		}
	}
	return w.root.Rename(temp, name)
}
