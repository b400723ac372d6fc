package sqlite

import (
	"errors"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// SQLite opens a -wal for writing and creates or removes an empty one even
// for a connection that may only read. A VFS (https://www.sqlite.org/vfs.html)
// in front of its own opens every file read-only and removes none.

// The names of the VFSs: with SQLite's locks, and without any.
const (
	vfsLocking = "outgrow-readonly"
	vfsNoLocks = "outgrow-readonly-none"
)

// registerVFS registers both, once in a process.
var registerVFS = sync.OnceValue(func() error {
	tls := libc.NewTLS()
	defer tls.Close()
	if rc := lib.Xsqlite3_initialize(tls); rc != lib.SQLITE_OK {
		return &sqliteError{int(rc), "SQLite does not start"}
	}
	for name, base := range map[string]string{vfsLocking: "unix", vfsNoLocks: "unix-none"} {
		if err := putInFront(tls, name, base); err != nil {
			return err
		}
	}
	return nil
})

// readOnlyVFS is the C structure of a VFS with the xOpen it stands in front of,
// the bytes of the files of that, behind which there are our own, and whether it
// reads ahead.
type readOnlyVFS struct {
	vfs   lib.Tsqlite3_vfs
	xOpen uintptr
	size  uintptr
	ahead bool
}

type openFunc = func(tls *libc.TLS, vfs, path, file uintptr, flags int32, outFlags uintptr) int32

func putInFront(tls *libc.TLS, name, base string) error {
	zBase, err := libc.CString(base)
	if err != nil {
		return err
	}
	defer libc.Xfree(tls, zBase)
	found := lib.Xsqlite3_vfs_find(tls, zBase)
	if found == 0 {
		return errors.New("SQLite has no file access " + base + " on this system")
	}
	zName, err := libc.CString(name) // belongs to the VFS, which is never removed
	if err != nil {
		return err
	}
	p := libc.Xcalloc(tls, 1, lib.Tsize_t(unsafe.Sizeof(readOnlyVFS{})))
	if p == 0 {
		return errors.New("out of memory")
	}
	v := at[readOnlyVFS](p)
	v.vfs = *at[lib.Tsqlite3_vfs](found)
	v.xOpen, v.ahead = v.vfs.FxOpen, name == vfsNoLocks
	v.vfs.FpNext, v.vfs.FzName = 0, zName
	v.size = (uintptr(v.vfs.FszOsFile) + 15) &^ 15
	v.vfs.FszOsFile = int32(v.size + unsafe.Sizeof(ahead{}))
	v.vfs.FxOpen = *(*uintptr)(unsafe.Pointer(&struct{ f openFunc }{openReadOnly}))
	v.vfs.FxDelete = *(*uintptr)(unsafe.Pointer(&struct {
		f func(*libc.TLS, uintptr, uintptr, int32) int32
	}{deleteNothing}))
	if rc := lib.Xsqlite3_vfs_register(tls, p, 0); rc != lib.SQLITE_OK {
		return &sqliteError{int(rc), "registering the read-only file access"}
	}
	return nil
}

func openReadOnly(tls *libc.TLS, vfs, path, file uintptr, flags int32, outFlags uintptr) int32 {
	const own = lib.SQLITE_OPEN_DELETEONCLOSE // SQLite's own temporary files
	if flags&own == 0 {
		flags = flags&^(lib.SQLITE_OPEN_READWRITE|lib.SQLITE_OPEN_CREATE|lib.SQLITE_OPEN_EXCLUSIVE) | lib.SQLITE_OPEN_READONLY
	}
	v := at[readOnlyVFS](vfs)
	rc := (*(*openFunc)(unsafe.Pointer(&struct{ uintptr }{v.xOpen})))(tls, vfs, path, file, flags, outFlags)
	if rc == lib.SQLITE_OK && v.ahead && flags&lib.SQLITE_OPEN_MAIN_DB != 0 {
		readAhead(tls, file, v.size)
	}
	return rc
}

func deleteNothing(*libc.TLS, uintptr, uintptr, int32) int32 { return lib.SQLITE_READONLY }
