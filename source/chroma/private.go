package chroma

import (
	"os"
	"path/filepath"
)

// privatePattern names the folders of private copies.
const privatePattern = "outgrow-chroma-"

// privateFolder makes a folder for a private copy below parent ("" for the
// system's) and holds it locked until release is called. Where the operator
// named the parent, copies that killed processes left behind are removed: they
// hold people's documents.
func privateFolder(parent string) (dir string, release func(), err error) {
	if parent != "" {
		if err := os.MkdirAll(parent, 0o700); err != nil {
			return "", nil, err
		}
		left, err := filepath.Glob(filepath.Join(parent, privatePattern+"*"))
		if err != nil {
			return "", nil, err
		}
		for _, old := range left {
			if unlock, ok := lockFolder(old); ok {
				_ = os.RemoveAll(old) // the next run tries again
				unlock()
			}
		}
	}
	if dir, err = os.MkdirTemp(parent, privatePattern); err != nil {
		return "", nil, err
	}
	release, ok := lockFolder(dir)
	if !ok {
		release = func() {}
	}
	return dir, release, nil
}
