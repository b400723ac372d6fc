package sqlite

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"slices"
	"strings"

	"outgrow/pipeline"
)

// glance looks at rows of a table in the file itself, which takes less than half the
// time that SQLite needs to step through them. It serves only to find rows that are
// known: what it makes out of one that it misunderstands has another origin than the
// row had when SQLite read it, and then SQLite reads the row.
type glance struct {
	files   []*os.File
	tree    tree
	table   *pipeline.Table
	columns []place // of the table, as asked for
	missing int     // at least as many columns are in every record that it reads
	values  []value
	row     pipeline.Row // for keys that are no text

	// aside: SQLite reads, until so many rows in turn were the same.
	aside  bool
	turn   int
	enough int
	run    int // rows since it is not aside
}

// place says where a column is in a row's record.
type place struct {
	at    int
	rowid bool // it is the rowid, and NULL in the record
	real  bool // an integer in the record stands for a real one
}

// How many rows in turn are to be the same before the file itself is looked at again.
const (
	enoughFirst = 0
	enoughMost  = 512
	// fewPassed is how many rows are to be passed in turn, or it was not worth while.
	fewPassed = 2
)

// glance is nil where the table, or the database, is not of the plainest kind, or is
// not understood.
func (s *Source) glance(ctx context.Context, h *pipeline.Table) *glance {
	if s.mode != Stopped || s.cfg.plain {
		return nil
	}
	g := &glance{table: h, enough: enoughFirst, row: pipeline.Row{Table: h, Values: make([]any, len(h.Columns))}}
	if !s.layout(ctx, g) || !s.openPages(ctx, g) {
		g.close()
		return nil
	}
	return g
}

// layout finds where a table's root is and its columns are.
func (s *Source) layout(ctx context.Context, g *glance) bool {
	root, err := s.number(ctx, "SELECT rootpage FROM main.sqlite_schema WHERE type = 'table' AND name = "+literal(g.table.Name))
	if err != nil || root < 2 || root > math.MaxUint32 {
		return false
	}
	g.tree.root = uint32(root)
	var names, types []string
	var keys []int
	plain := true
	err = s.each(ctx, "SELECT name, type, pk, hidden, dflt_value FROM pragma_table_xinfo("+literal(g.table.Name)+") ORDER BY cid", func(v []any) error {
		if pk, _ := v[2].(int64); pk > 0 {
			keys = append(keys, len(names))
		}
		names, types = append(names, asText(v[0])), append(types, asText(v[1]))
		plain = plain && v[3] == int64(0) // not generated
		if v[4] != nil {
			g.missing = len(names) // a record without it stands for the default
		}
		return nil
	})
	if err != nil || !plain {
		return false
	}
	indexes, err := s.number(ctx, "SELECT count(*) FROM pragma_index_list("+literal(g.table.Name)+") WHERE origin = 'pk'")
	if err != nil {
		return false
	}
	for _, c := range g.table.Columns {
		i := slices.Index(names, c)
		if i < 0 {
			return false
		}
		g.columns = append(g.columns, place{i, indexes == 0 && slices.Equal(keys, []int{i}), realAffinity(types[i])})
	}
	g.values = make([]value, len(names))
	return true
}

// realAffinity follows https://www.sqlite.org/datatype3.html section 3.1, but for
// abridged names.
func realAffinity(declared string) bool {
	declared = strings.ToUpper(declared)
	has := func(part string) bool { return strings.Contains(declared, part) }
	return (has("REAL") || has("FLOAT") || has("DOUBLE")) && !slices.ContainsFunc([]string{"INT", "CHAR", "CLOB", "TEXT", "BLOB"}, has)
}

// openPages opens the database, and its -wal where SQLite reads that too.
func (s *Source) openPages(ctx context.Context, g *glance) bool {
	p := &pages{}
	open := func(path string, w *window, size, mtime int64) bool {
		f, err := os.Open(path) // closing it drops no lock: there is none
		if err != nil {
			return false
		}
		g.files = append(g.files, f)
		info, err := f.Stat()
		w.file, w.bytes = f, size
		return err == nil && info.Size() == size && info.ModTime().UnixNano() == mtime
	}
	count, err := s.number(ctx, "PRAGMA page_count")
	if err != nil || count > math.MaxUint32 || !open(s.path, &p.file, s.first.size, s.first.mtime) {
		return false
	}
	p.count = uint32(count)
	if s.first.frames > 0 {
		x, err := s.wal()
		if err != nil || x.count > 0 && x.count != p.count || !open(s.path+"-wal", &p.wal, s.first.walSize, s.first.walMtime) {
			return false
		}
		p.size, p.frames = x.size, x.frames
	}
	return g.header(p)
}

// header reads the database's header, https://www.sqlite.org/fileformat2.html section 1.3.
func (g *glance) header(p *pages) bool {
	const bytes, utf8 = 100, 1
	h, err := p.file.at(0, bytes, 0)
	if err != nil {
		return false
	}
	size := int64(binary.BigEndian.Uint16(h[16:]))
	if size == 1 {
		size = 65536
	}
	if size < 512 || size&(size-1) != 0 || p.frames != nil && p.size != size {
		return false
	}
	p.size = size
	if h, err = p.page(1, 0); err != nil { // it may be newer in the -wal
		return false
	}
	g.tree.pages, g.tree.usable = p, int(size)-int(h[20])
	return g.tree.usable >= 480 && binary.BigEndian.Uint32(h[56:]) == utf8
}

func (g *glance) close() {
	if g == nil {
		return
	}
	for _, f := range g.files {
		_ = f.Close() // it was only read
	}
	g.files = nil
}
