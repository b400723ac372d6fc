//go:build linux || darwin || freebsd

package chroma

import "syscall"

// freeSpace gives the bytes that this user may still write in the file system
// of dir; ok false when that cannot be known.
func freeSpace(dir string) (n int64, ok bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true //nolint:unconvert // Bsize has another type on other systems.
}
