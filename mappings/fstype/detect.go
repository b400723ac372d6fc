package fstype

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// links bounds how many links to nowhere are followed, as the kernel does.
const links = 40

// Of gives the type of the file system on which path lies, or would lie once it
// is made: that of its nearest parent that is there. Of a system other than
// Linux it is unknown.
func Of(path string) (Type, error) {
	path, err := nearest(path)
	if err != nil {
		return Type{}, err
	}
	return of(path)
}

// nearest gives the path, or the nearest parent of it that is there.
func nearest(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for followed := 0; ; {
		_, err := os.Stat(path)
		up := filepath.Dir(path)
		switch {
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) || up == path:
			return "", err
		}
		// What is made through a link to nowhere is made at its other end.
		to, err := os.Readlink(path)
		if err != nil || followed == links {
			path = up
			continue
		}
		followed++
		if path = to; !filepath.IsAbs(to) {
			path = filepath.Join(up, to)
		}
	}
}
