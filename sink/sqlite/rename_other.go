//go:build !linux

package sqlite

import (
	"io/fs"
	"os"
)

// rename gives a file its name, not over another that is there.
func rename(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
	}
	return os.Rename(from, to)
}
