package sqlite

import (
	"fmt"
	"strings"
	"unsafe"

	"modernc.org/libc"
	_ "modernc.org/sqlite" // patches the library on some platforms before its first use
	lib "modernc.org/sqlite/lib"
)

// The database is spoken to through the driver's own layer, SQLite's C
// interface (https://www.sqlite.org/c3ref/intro.html), for two reasons that
// were measured: a connection of its own without SQLite's mutexes, and one
// allocation per batch in place of one per value, halve the time of a scan.

// database is one connection; the caller serialises its use.
type database struct {
	tls *libc.TLS
	db  uintptr
}

// sqliteError is an error of SQLite's.
type sqliteError struct {
	code int // extended result code
	text string
}

// Error gives SQLite's message and code.
func (e *sqliteError) Error() string { return fmt.Sprintf("%s (SQLite %d)", e.text, e.code) }

// openDatabase opens a URI for reading.
func openDatabase(uri string) (*database, error) {
	if err := registerVFS(); err != nil {
		return nil, err
	}
	d := &database{tls: libc.NewTLS()}
	name, err := libc.CString(uri)
	if err != nil {
		d.tls.Close()
		return nil, err
	}
	defer libc.Xfree(d.tls, name)
	out := libc.Xcalloc(d.tls, 1, 8)
	defer libc.Xfree(d.tls, out)
	const flags = lib.SQLITE_OPEN_READONLY | lib.SQLITE_OPEN_URI | lib.SQLITE_OPEN_NOMUTEX | lib.SQLITE_OPEN_EXRESCODE
	rc := lib.Xsqlite3_open_v2(d.tls, name, out, flags, 0)
	d.db = *at[uintptr](out)
	if rc != lib.SQLITE_OK {
		err := d.error(rc)
		_ = d.close() // it was never open
		return nil, err
	}
	return d, nil
}

func (d *database) error(rc int32) error {
	text := "out of memory"
	if d.db != 0 {
		text = libc.GoString(lib.Xsqlite3_errmsg(d.tls, d.db))
	}
	return &sqliteError{int(rc), text}
}

func (d *database) close() error {
	defer d.tls.Close()
	if d.db == 0 {
		return nil
	}
	if rc := lib.Xsqlite3_close_v2(d.tls, d.db); rc != lib.SQLITE_OK {
		return d.error(rc)
	}
	return nil
}

// interrupt makes the running statement end; it may be called from any
// goroutine while the connection is open.
func (d *database) interrupt() {
	tls := libc.NewTLS()
	defer tls.Close()
	lib.Xsqlite3_interrupt(tls, d.db)
}

// statement is a prepared statement.
type statement struct {
	d     *database
	sql   string
	p     uintptr
	width int
	texts []uintptr // what is bound
}

func (d *database) prepare(sql string) (*statement, error) {
	text, err := libc.CString(sql)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(d.tls, text)
	out := libc.Xcalloc(d.tls, 1, 8)
	defer libc.Xfree(d.tls, out)
	if rc := lib.Xsqlite3_prepare_v2(d.tls, d.db, text, int32(len(sql)), out, 0); rc != lib.SQLITE_OK {
		return nil, d.error(rc)
	}
	st := &statement{d: d, sql: sql, p: *at[uintptr](out)}
	st.width = int(lib.Xsqlite3_column_count(d.tls, st.p))
	return st, nil
}

// bind binds parameters: int64 or string. The statement must be reset.
func (st *statement) bind(args []any) error {
	st.free()
	for i, a := range args {
		n := int32(i + 1)
		var rc int32
		switch a := a.(type) {
		case int64:
			rc = lib.Xsqlite3_bind_int64(st.d.tls, st.p, n, a)
		case string:
			c, err := libc.CString(a)
			if err != nil {
				return err
			}
			st.texts = append(st.texts, c)
			rc = lib.Xsqlite3_bind_text(st.d.tls, st.p, n, c, int32(len(a)), 0)
		default:
			return fmt.Errorf("binding parameter %d: %T is not supported", n, a)
		}
		if rc != lib.SQLITE_OK {
			return st.d.error(rc)
		}
	}
	return nil
}

func (st *statement) free() {
	for _, c := range st.texts {
		libc.Xfree(st.d.tls, c)
	}
	st.texts = nil
}

// step gives false at the end.
func (st *statement) step() (bool, error) {
	switch rc := lib.Xsqlite3_step(st.d.tls, st.p); rc {
	case lib.SQLITE_ROW:
		return true, nil
	case lib.SQLITE_DONE:
		return false, nil
	default:
		return false, st.d.error(rc)
	}
}

func (st *statement) reset() { lib.Xsqlite3_reset(st.d.tls, st.p) }

func (st *statement) finalize() {
	lib.Xsqlite3_finalize(st.d.tls, st.p)
	st.free()
}

// arena is where the texts of a batch lie; a string in it keeps all of it.
type arena struct{ buf []byte }

const arenaBlock = 64 << 10

// copy puts bytes in the arena; long ones get a place of their own.
func (a *arena) copy(p uintptr, n int) []byte {
	from := unsafe.Slice(at[byte](p), n)
	if n > arenaBlock/4 {
		return append([]byte(nil), from...)
	}
	if cap(a.buf)-len(a.buf) < n {
		a.buf = make([]byte, 0, arenaBlock)
	}
	start := len(a.buf)
	a.buf = append(a.buf, from...)
	return a.buf[start:len(a.buf):len(a.buf)]
}

// column gives a value in its storage class: nil, int64, float64, string (any
// bytes, NULs included) or []byte.
func (st *statement) column(i int, a *arena) any {
	tls := st.d.tls
	v := lib.Xsqlite3_column_value(tls, st.p, int32(i))
	switch lib.Xsqlite3_value_type(tls, v) {
	case lib.SQLITE_INTEGER:
		return lib.Xsqlite3_value_int64(tls, v)
	case lib.SQLITE_FLOAT:
		return lib.Xsqlite3_value_double(tls, v)
	case lib.SQLITE_TEXT:
		p := lib.Xsqlite3_value_text(tls, v)
		n := int(lib.Xsqlite3_value_bytes(tls, v))
		if p == 0 || n == 0 {
			return ""
		}
		b := a.copy(p, n)
		return unsafe.String(unsafe.SliceData(b), len(b))
	case lib.SQLITE_BLOB:
		p := lib.Xsqlite3_value_blob(tls, v)
		n := int(lib.Xsqlite3_value_bytes(tls, v))
		if p == 0 || n == 0 {
			return []byte{}
		}
		return a.copy(p, n)
	}
	return nil
}

// integer is column for one that is known to be an integer.
func (st *statement) integer(i int) int64 {
	return lib.Xsqlite3_value_int64(st.d.tls, lib.Xsqlite3_column_value(st.d.tls, st.p, int32(i)))
}

// at views C memory.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// ident quotes a name.
func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal quotes a text.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
