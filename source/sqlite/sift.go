package sqlite

import (
	"context"
	"iter"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"outgrow/pipeline"
)

var _ pipeline.Sifter[*pipeline.Row] = (*Source)(nil)

// Sift is Read without the rows that are the same, of which nothing is copied. Of a
// database in no use most of them are not even read by SQLite.
func (s *Source) Sift(ctx context.Context, part pipeline.Part, after pipeline.Cursor, seed uint64, same pipeline.Same) iter.Seq2[pipeline.Batch[*pipeline.Row], error] {
	return s.read(ctx, part, after, &sifter{origins: pipeline.NewOrigins(seed), same: same})
}

// sifter tells rows that are known from others, while they lie in SQLite's memory.
type sifter struct {
	origins *pipeline.Origins
	same    pipeline.Same
}

// look looks at the row that the statement is at, whose values begin behind the
// rowid. size is as [pipeline.Row.Size] counts it.
func (f *sifter) look(st *statement, t *pipeline.Table) (origin pipeline.Sum, size int, same bool, err error) {
	f.origins.Begin(t)
	for i := range t.Columns {
		size += 16 + st.trace(i+1, f.origins)
	}
	origin = f.origins.Sum()
	same, err = f.same(st.key(t), origin)
	return origin, size, same, err
}

// trace adds a value to an origin, where it is, and tells the bytes of a text or
// blob.
func (st *statement) trace(i int, o *pipeline.Origins) int {
	tls := st.d.tls
	v := lib.Xsqlite3_column_value(tls, st.p, int32(i))
	switch lib.Xsqlite3_value_type(tls, v) {
	case lib.SQLITE_INTEGER:
		o.Integer(lib.Xsqlite3_value_int64(tls, v))
	case lib.SQLITE_FLOAT:
		o.Real(lib.Xsqlite3_value_double(tls, v))
	case lib.SQLITE_TEXT:
		b := content(tls, v, lib.Xsqlite3_value_text)
		o.Text(unsafe.String(unsafe.SliceData(b), len(b)))
		return len(b)
	case lib.SQLITE_BLOB:
		b := content(tls, v, lib.Xsqlite3_value_blob)
		o.Blob(b)
		return len(b)
	default:
		o.Null()
	}
	return 0
}

// content is a text's or blob's bytes in SQLite's memory, until the next step.
func content(tls *libc.TLS, v uintptr, pointer func(*libc.TLS, uintptr) uintptr) []byte {
	p := pointer(tls, v)
	n := int(lib.Xsqlite3_value_bytes(tls, v))
	if p == 0 || n == 0 {
		return nil
	}
	return unsafe.Slice(at[byte](p), n)
}

// key is that of the row that the statement is at, valid until the next step.
func (st *statement) key(t *pipeline.Table) string {
	if len(t.Key) == 1 {
		tls := st.d.tls
		if v := lib.Xsqlite3_column_value(tls, st.p, int32(t.Key[0]+1)); lib.Xsqlite3_value_type(tls, v) == lib.SQLITE_TEXT {
			b := content(tls, v, lib.Xsqlite3_value_text)
			return unsafe.String(unsafe.SliceData(b), len(b))
		}
	}
	row := pipeline.Row{Table: t, Values: make([]any, len(t.Columns))}
	var texts arena
	for _, k := range t.Key {
		row.Values[k] = st.column(k+1, &texts)
	}
	return row.Key()
}
