//go:build !linux && !darwin && !freebsd

package chroma

// freeSpace cannot be known here.
func freeSpace(string) (n int64, ok bool) { return 0, false }
