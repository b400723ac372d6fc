package sqlite

import (
	"context"
	"math"
	"slices"
	"strings"

	"outgrow/pipeline"
)

// glance looks at rows of a table in the file itself, which takes less than half the
// time that SQLite needs to step through them. It serves only to find rows that are
// known: what it makes out of one that it misunderstands has another origin than the
// row had when SQLite read it, and then SQLite reads the row.
type glance struct {
	*layout
	tree   tree
	table  *pipeline.Table
	values []value
	row    pipeline.Row // for keys that are no text
	free   func()       // gives the pages back

	// aside: SQLite reads, until so many rows in turn were the same.
	aside  bool
	turn   int
	enough int
	run    int // rows since it is not aside
}

// layout says where the rows of a table are, and where in them its columns.
type layout struct {
	root    uint32
	columns []place // as asked for
	width   int     // how many columns the table has
	missing int     // at least as many columns are in every record that can be read
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
	l := s.layout(ctx, h)
	if l == nil {
		return nil
	}
	p, free, ok := s.openPages(ctx)
	if !ok {
		return nil
	}
	return &glance{layout: l, tree: tree{pages: p, usable: p.usable, root: l.root}, table: h, values: make([]value, l.width), free: free,
		enough: enoughFirst, row: pipeline.Row{Table: h, Values: make([]any, len(h.Columns))}}
}

// layout is nil where a table cannot be read here. It is asked for once.
func (s *Source) layout(ctx context.Context, h *pipeline.Table) *layout {
	name := strings.Join(append([]string{h.Name}, h.Columns...), "\x00")
	s.mu.Lock()
	l, known := s.layouts[name]
	s.mu.Unlock()
	if known {
		return l
	}
	l = s.layoutOf(ctx, h)
	if ctx.Err() == nil {
		s.mu.Lock()
		s.layouts[name] = l
		s.mu.Unlock()
	}
	return l
}

func (s *Source) layoutOf(ctx context.Context, h *pipeline.Table) *layout {
	root, err := s.number(ctx, "SELECT rootpage FROM main.sqlite_schema WHERE type = 'table' AND name = "+literal(h.Name))
	if err != nil || root < 2 || root > math.MaxUint32 {
		return nil
	}
	l := &layout{root: uint32(root)}
	var names, types []string
	var keys []int
	plain := true
	err = s.each(ctx, "SELECT name, type, pk, hidden, dflt_value FROM pragma_table_xinfo("+literal(h.Name)+") ORDER BY cid", func(v []any) error {
		if pk, _ := v[2].(int64); pk > 0 {
			keys = append(keys, len(names))
		}
		names, types = append(names, asText(v[0])), append(types, asText(v[1]))
		plain = plain && v[3] == int64(0) // not generated
		if v[4] != nil {
			l.missing = len(names) // a record without it stands for the default
		}
		return nil
	})
	if err != nil || !plain {
		return nil
	}
	indexes, err := s.number(ctx, "SELECT count(*) FROM pragma_index_list("+literal(h.Name)+") WHERE origin = 'pk'")
	if err != nil {
		return nil
	}
	for _, c := range h.Columns {
		i := slices.Index(names, c)
		if i < 0 {
			return nil
		}
		l.columns = append(l.columns, place{i, indexes == 0 && slices.Equal(keys, []int{i}), realAffinity(types[i])})
	}
	l.width = len(names)
	return l
}

// realAffinity follows https://www.sqlite.org/datatype3.html section 3.1, but for
// abridged names.
func realAffinity(declared string) bool {
	declared = strings.ToUpper(declared)
	has := func(part string) bool { return strings.Contains(declared, part) }
	return (has("REAL") || has("FLOAT") || has("DOUBLE")) && !slices.ContainsFunc([]string{"INT", "CHAR", "CLOB", "TEXT", "BLOB"}, has)
}

func (g *glance) close() {
	if g != nil && g.free != nil {
		g.free()
		g.free = nil
	}
}
