package sqlite

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Where SQLite locks, https://www.sqlite.org/src/file/src/os_unix.c: every
// connection in WAL mode holds a shared lock on byte 128 of the -shm (the
// deadman switch); locks on the database file begin at byte 0x40000000.
const (
	shmDeadman  = 128
	pendingByte = 0x40000000
	lockBytes   = 512
)

// inUse looks for other users of the database without taking a lock. It opens
// and closes the files: never call it while this process has them open.
func inUse(path string) usage {
	u := usage{certain: true}
	test := func(name string, from, n int64, locked *bool) {
		f, err := os.Open(name)
		if err != nil {
			u.certain = u.certain && os.IsNotExist(err)
			return
		}
		defer f.Close()
		l := syscall.Flock_t{Type: syscall.F_WRLCK, Start: from, Len: n}
		if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil {
			u.certain = false
		} else if l.Type != syscall.F_UNLCK {
			*locked = true
		}
	}
	if _, err := os.Stat(path + "-shm"); err == nil {
		u.shm = true
		test(path+"-shm", shmDeadman, 1, &u.shmLocked)
	}
	test(path, pendingByte, lockBytes, &u.locked)
	u.held = heldByOther(path)
	return u
}

// heldByOther looks through the descriptors of the processes that this one may
// see. In a container others are often hidden; their locks are not. One that
// was opened for reading alone is no user: it is a backup, or another outgrow,
// and to take its database for live would make this one open it for locking.
func heldByOther(path string) bool {
	type inode struct{ dev, ino uint64 }
	mine := map[inode]bool{}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		var st unix.Stat_t
		if unix.Stat(path+suffix, &st) == nil {
			mine[inode{st.Dev, st.Ino}] = true
		}
	}
	self := strconv.Itoa(os.Getpid())
	procs, _ := os.ReadDir("/proc")
	for _, p := range procs {
		if _, err := strconv.Atoi(p.Name()); err != nil || p.Name() == self {
			continue
		}
		dir := filepath.Join("/proc", p.Name(), "fd")
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			var st unix.Stat_t
			// Only regular files: asking about a descriptor of a dead mount could block.
			name := filepath.Join(dir, fd.Name())
			link, err := os.Readlink(name)
			if err != nil || !filepath.IsAbs(link) || filepath.Base(link) == "null" {
				continue
			}
			if base := filepath.Base(link); base != filepath.Base(path) && base != filepath.Base(path)+"-wal" && base != filepath.Base(path)+"-shm" {
				continue
			}
			if unix.Stat(name, &st) == nil && mine[inode{st.Dev, st.Ino}] && !readOnly(filepath.Join(filepath.Dir(dir), "fdinfo", fd.Name())) {
				return true
			}
		}
	}
	return false
}

// readOnly reads the mode of a descriptor in /proc/PID/fdinfo, proc(5): octal
// flags of open(2). What cannot be read counts as open for writing.
func readOnly(info string) bool {
	body, err := os.ReadFile(info)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(body)) {
		if text, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseInt(strings.TrimSpace(text), 8, 64)
			return err == nil && flags&unix.O_ACCMODE == unix.O_RDONLY
		}
	}
	return false
}
