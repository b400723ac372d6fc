package sqlite

import "outgrow/pipeline"

// filling is a batch that is being read.
type filling struct {
	*reader
	b    pipeline.Batch[*pipeline.Row]
	last int64 // rowid of the last row that was read
	held int64 // bytes of the rows that are handed over
	// Slabs, so that a row costs no allocation of its own.
	values []any
	heads  []pipeline.Row
	texts  arena
}

// batch reads rows with at < rowid <= to up to the limits.
func (rd *reader) batch(at, to int64) (b pipeline.Batch[*pipeline.Row], last int64, more bool, err error) {
	f := &filling{reader: rd, last: at}
	for more = true; more && f.room(); {
		if rd.glance != nil && !rd.glance.aside {
			err = f.pass(to)
		} else {
			more, err = f.step(to)
		}
		if err != nil {
			return b, 0, false, err
		}
	}
	return f.b, f.last, more, rd.s.quiet()
}

// passedOver is how many times the bytes that a batch may hold are read for it, where
// most rows are the same and nothing of them is held.
const passedOver = 16

func (f *filling) room() bool {
	limits := f.s.cfg.Limits
	return f.b.Read < limits.Records && f.held < limits.Bytes && f.b.Bytes < passedOver*limits.Bytes
}

// pass goes past rows that are the same, without SQLite, which takes over at the
// first other one and at the end: that there are no more rows is for it to say.
func (f *filling) pass(to int64) error {
	g := f.glance
	if err := g.tree.seek(f.last); err != nil {
		f.distrust()
		return nil
	}
	for f.room() {
		more, err := g.tree.next()
		if err == nil && (!more || g.tree.last > to) {
			break
		}
		if err != nil {
			f.distrust()
			return nil
		}
		key, origin, size, ok, err := g.look(f.sift.origins)
		if err != nil {
			f.distrust()
			return nil
		}
		if ok {
			if ok, err = f.sift.same(key, origin); err != nil {
				return err
			}
		}
		if !ok {
			break
		}
		f.last = g.tree.last
		f.b.Read, f.b.Same, f.b.Bytes = f.b.Read+1, f.b.Same+1, f.b.Bytes+int64(size)
		g.run++
	}
	if f.room() {
		g.stepAside()
	}
	return nil
}

// distrust leaves what follows of the part to SQLite.
func (f *filling) distrust() {
	f.glance.close()
	f.reader.glance = nil
}

// step reads rows with SQLite. It gives false at the end.
func (f *filling) step(to int64) (bool, error) {
	st, free, err := f.s.borrow(f.sql)
	if err != nil {
		return false, err
	}
	defer free()
	if err := st.bind([]any{f.last, to}); err != nil {
		return false, err
	}
	defer st.reset()
	for f.room() && (f.glance == nil || f.glance.aside) {
		if more, err := st.step(); err != nil || !more {
			return false, err
		}
		f.last = st.integer(0)
		f.b.Read++
		if f.sift != nil {
			origin, size, same, err := f.sift.look(st, f.table)
			if err != nil {
				return false, err
			}
			f.glance.saw(same)
			if same {
				f.b.Same, f.b.Bytes = f.b.Same+1, f.b.Bytes+int64(size)
				continue
			}
			f.b.Origins = append(f.b.Origins, origin)
		}
		f.take(st)
	}
	return true, nil
}

// take copies the row that the statement is at.
func (f *filling) take(st *statement) {
	width := len(f.table.Columns)
	if len(f.values) < width {
		f.values, f.heads = make([]any, 32*width), make([]pipeline.Row, 32)
	}
	row := &f.heads[0]
	row.Table, row.Values = f.table, f.values[:width:width]
	f.values, f.heads = f.values[width:], f.heads[1:]
	for i := range row.Values {
		row.Values[i] = st.column(i+1, &f.texts)
	}
	f.b.Records = append(f.b.Records, row)
	size := int64(row.Size())
	f.b.Bytes, f.held = f.b.Bytes+size, f.held+size
}

// stepAside lets SQLite read, the longer the less there was to pass.
func (g *glance) stepAside() {
	if g.run < max(g.enough, fewPassed) {
		g.enough = min(max(2*g.enough, 1), enoughMost)
	} else {
		g.enough = enoughFirst
	}
	g.aside, g.turn, g.run = true, 0, 0
}

// saw notes a row that SQLite read.
func (g *glance) saw(same bool) {
	if g == nil {
		return
	}
	if g.turn++; !same {
		g.turn = 0
	}
	g.aside = g.turn < g.enough
}
