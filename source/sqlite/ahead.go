package sqlite

import (
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// SQLite asks the system for every page by itself, which took more than a third of
// the time of a scan. Of a database that nobody writes to, pages are read many at a
// time as long as they are asked for in order.
const (
	aheadBytes = 64 << 10
	// aheadGap is how far a page may lie behind the last one to be in order still:
	// inner pages and those of other tables lie between.
	aheadGap = 32 << 10
)

// ahead is what follows SQLite's own structure of a file. Its methods are the
// file's with two of them replaced, which is how xRead and xClose find it.
type ahead struct {
	methods lib.Tsqlite3_io_methods
	own     uintptr // the methods of SQLite's own
	buf     uintptr // aheadBytes of the file
	base, n int64   // what of it is in buf
	last    int64   // where the last read ended
	size    int64   // of the file
}

type (
	readFunc  = func(tls *libc.TLS, file, buf uintptr, n int32, at int64) int32
	closeFunc = func(tls *libc.TLS, file uintptr) int32
	sizeFunc  = func(tls *libc.TLS, file, size uintptr) int32
)

func (a *ahead) original() *lib.Tsqlite3_io_methods { return at[lib.Tsqlite3_io_methods](a.own) }

// readAhead lets an open file read ahead; where there is no memory for that it stays
// as it is.
func readAhead(tls *libc.TLS, file, size uintptr) {
	f, a := at[lib.Tsqlite3_file](file), at[ahead](file+size)
	own := f.FpMethods
	if own == 0 {
		return
	}
	*a = ahead{own: own, methods: *at[lib.Tsqlite3_io_methods](own)}
	out := libc.Xcalloc(tls, 1, 8)
	if out == 0 {
		return
	}
	defer libc.Xfree(tls, out)
	if rc := (*(*sizeFunc)(unsafe.Pointer(&struct{ uintptr }{a.methods.FxFileSize})))(tls, file, out); rc != lib.SQLITE_OK {
		return
	}
	a.size = *at[int64](out)
	if a.buf = libc.Xmalloc(tls, aheadBytes); a.buf == 0 {
		return
	}
	a.methods.FxRead = *(*uintptr)(unsafe.Pointer(&struct{ f readFunc }{readPages}))
	a.methods.FxClose = *(*uintptr)(unsafe.Pointer(&struct{ f closeFunc }{closeAhead}))
	f.FpMethods = file + size
}

// aheadOf finds it by the file's methods, which it begins with.
func aheadOf(file uintptr) *ahead { return at[ahead](at[lib.Tsqlite3_file](file).FpMethods) }

func readPages(tls *libc.TLS, file, buf uintptr, n int32, from int64) int32 {
	a := aheadOf(file)
	read := *(*readFunc)(unsafe.Pointer(&struct{ uintptr }{a.original().FxRead}))
	size := int64(n)
	inOrder := from >= a.last && from-a.last <= aheadGap
	a.last = from + size
	if from < a.base || from+size > a.base+a.n {
		fill := min(aheadBytes, a.size-from)
		if !inOrder || size > fill {
			return read(tls, file, buf, n, from)
		}
		a.n = 0
		if rc := read(tls, file, a.buf, int32(fill), from); rc != lib.SQLITE_OK {
			return read(tls, file, buf, n, from) // that tells what is wrong
		}
		a.base, a.n = from, fill
	}
	copy(unsafe.Slice(at[byte](buf), n), unsafe.Slice(at[byte](a.buf+uintptr(from-a.base)), n))
	return lib.SQLITE_OK
}

func closeAhead(tls *libc.TLS, file uintptr) int32 {
	a := aheadOf(file)
	f := at[lib.Tsqlite3_file](file)
	f.FpMethods = a.own
	libc.Xfree(tls, a.buf)
	a.buf = 0
	return (*(*closeFunc)(unsafe.Pointer(&struct{ uintptr }{at[lib.Tsqlite3_io_methods](a.own).FxClose})))(tls, file)
}
