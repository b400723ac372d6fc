package fstype

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func of(path string) (Type, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Type{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	t := Type{Magic: Magic(uint32(st.Type))} //nolint:gosec // the kernel's type differs between machines; the number has 32 bits
	if t.Magic != FUSE {
		return t, nil
	}
	var file unix.Stat_t
	if err := unix.Stat(path, &file); err != nil {
		return t, nil
	}
	// Without /proc it stays FUSE.
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		t.Mount = mountType(string(mounts), fmt.Sprintf("%d:%d", unix.Major(uint64(file.Dev)), unix.Minor(uint64(file.Dev)))) //nolint:unconvert // types differ between machines
	}
	return t, nil
}

// mountType finds the type of a device's mount in the text of mountinfo,
// proc_pid_mountinfo(5): the third field is the device, the type follows a
// field "-".
func mountType(mounts, device string) string {
	for line := range strings.Lines(mounts) {
		front, back, ok := strings.Cut(line, " - ")
		fields := strings.Fields(front)
		if !ok || len(fields) < 5 || fields[2] != device {
			continue
		}
		if tail := strings.Fields(back); len(tail) > 0 {
			return tail[0]
		}
	}
	return ""
}
