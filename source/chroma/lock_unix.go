//go:build linux || darwin || freebsd

package chroma

import (
	"os"
	"syscall"
)

// lockFolder locks a folder for as long as this process lives or until unlock;
// ok is false while another process has it.
func lockFolder(dir string) (unlock func(), ok bool) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, false
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, false
	}
	return func() {
		// At once, even if a program that is just being started still holds a copy.
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		_ = f.Close()
	}, true
}
