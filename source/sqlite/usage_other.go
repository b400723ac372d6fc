//go:build !linux

package sqlite

import "os"

// inUse knows only about the -shm here; a database with one counts as in use.
func inUse(path string) usage {
	_, err := os.Stat(path + "-shm")
	return usage{shm: err == nil}
}
