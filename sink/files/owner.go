package files

import (
	"io/fs"
	"syscall"
)

// ids gives a file's owner and group.
func ids(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return -1, -1
}
