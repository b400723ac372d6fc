package digests

import (
	"encoding/binary"
	"os"
	"slices"
	"sort"
	"sync/atomic"

	"outgrow/pipeline"
)

// view is what cursors read without a lock: the log that there was when the file was
// opened, or written anew.
type view struct {
	file       *os.File
	gone, seen marks
	ruledAt    int64
	units      map[string]*portion
}

// portion is what a view has of a unit.
type portion struct {
	id      uint64
	blocks  []int64
	dropped atomic.Bool
	cursors []*cursor // guarded by the store
}

// look makes the view of the log as it is.
func (s *Store) look() {
	s.seen.reach(s.size)
	s.gone.reach(s.size)
	v := &view{s.file, s.gone, s.seen, s.ruledAt, map[string]*portion{}}
	for name, u := range s.units {
		v.units[name] = &portion{id: u.id, blocks: slices.Clip(u.blocks)}
	}
	s.view.Store(v)
}

// cursor looks keys up where they are expected in the log: a pass meets records in
// the order in which they were kept, in stretches. It serves one goroutine, and while
// it finds what it looks for it does not wait for others.
type cursor struct {
	store *Store
	unit  string
	view  *view
	in    *portion     // of the view, nil where it has nothing of the unit
	met   atomic.Int64 // so many were seen which the unit counts as unseen
	// The one that served last is the first.
	places [placesMost]*place
}

const (
	placesMost = 16
	// How much of the log a place reads at a time, at first and in the end.
	placeLeast, placeMost = 1 << 10, 16 << 10
)

// unchanged is what [Store.Unchanged] gives.
func (c *cursor) unchanged(key string, origin pipeline.Sum) (bool, error) {
	if found, unchanged := c.expected(key, origin); found {
		return unchanged, nil
	}
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	c.follow()
	u := s.units[c.unit]
	if u == nil || s.broken != nil {
		return false, s.broken
	}
	e, there, err := s.lookup(u, key, func(o slot) (entry, error) { return s.windows.single(s.file, s.size, o.at()) })
	if !there || err != nil {
		return false, err
	}
	c.expect(e.at)
	if !same(e, origin, s.ruledAt) {
		return false, nil
	}
	s.see(u, e)
	return true, nil
}

// follow goes over to the store's view. What was met in the one before was counted
// when that ended.
func (c *cursor) follow() {
	v := c.store.view.Load()
	if c.view == v {
		return
	}
	c.view, c.in, c.places = v, nil, [placesMost]*place{}
	c.met.Store(0)
	if v == nil {
		return
	}
	if c.in = v.units[c.unit]; c.in != nil {
		c.in.cursors = append(c.in.cursors, c)
	}
}

// fold counts what cursors have met.
func (s *Store) fold(u *unit) {
	v := s.view.Load()
	if v == nil || v.units[u.name] == nil || v.units[u.name].id != u.id {
		return
	}
	for _, c := range v.units[u.name].cursors {
		u.unseen -= c.met.Swap(0)
	}
}

// expected looks at the entries that are expected next. Not found: the key is to be
// looked up.
func (c *cursor) expected(key string, origin pipeline.Sum) (found, unchanged bool) {
	v := c.view
	if c.in == nil || c.in.dropped.Load() || v != c.store.view.Load() {
		return false, false
	}
	for i, p := range c.places {
		if p == nil {
			break
		}
		e, ok := p.peek(v.file, c.in)
		if !ok || string(e.key) != key {
			continue
		}
		p.advance()
		copy(c.places[1:], c.places[:i])
		c.places[0] = p
		if v.gone.has(e.at) {
			return false, false // another stands for the key
		}
		ok = same(e, origin, v.ruledAt)
		if ok && v.seen.add(e.at) {
			c.met.Add(1)
		}
		// A mark that was made while the log was written anew may be lost.
		return v == c.store.view.Load(), ok
	}
	return false, false
}

// expect expects what was kept behind the entry at this offset, if the view has that.
func (c *cursor) expect(at int64) {
	if c.in == nil {
		return
	}
	block := sort.Search(len(c.in.blocks), func(i int) bool { return c.in.blocks[i] > at }) - 1
	if block < 0 {
		return
	}
	p := c.places[placesMost-1]
	if p == nil {
		p = &place{}
	}
	copy(c.places[1:], c.places[:])
	c.places[0] = p
	p.block, p.buf, p.size, p.want = block-1, p.buf[:0], 0, placeLeast
	if !p.enter(c.view.file, c.in) {
		return
	}
	if p.at = at; at >= p.end { // of a block that came later
		p.at = p.end
	} else if _, ok := p.peek(c.view.file, c.in); ok {
		p.advance()
	}
}

// place is where in a portion the next entry with a sum is expected.
type place struct {
	block   int   // number of
	at, end int64 // the next entry of the block and the block's end, in the log
	buf     []byte
	base    int64 // of buf in the log
	next    entry
	size    int   // of next in the log, 0 if it was not read yet
	want    int64 // how much to read
}

// peek gives the next entry, which is valid until another is read. What cannot be
// read is not expected.
func (p *place) peek(f *os.File, in *portion) (entry, bool) {
	for p.size == 0 {
		if p.at == p.end && !p.enter(f, in) {
			return entry{}, false
		}
		from := p.at - p.base
		if from < 0 || from > int64(len(p.buf)) {
			from = int64(len(p.buf))
		}
		e, n := decode(p.buf[from:])
		if n == 0 {
			whole := len(p.buf) == placeMost || p.base+int64(len(p.buf)) == p.end
			if from == 0 && len(p.buf) > 0 && whole || !p.fill(f) {
				return entry{}, false // a very long key
			}
			continue
		}
		if !summed(e.kind) {
			p.at += int64(n)
			continue
		}
		if e.unit != in.id {
			return entry{}, false
		}
		e.at = p.at
		p.next, p.size = e, n
	}
	return p.next, true
}

func (p *place) advance() {
	p.at += int64(p.size)
	p.size = 0
}

// enter goes to the next block.
func (p *place) enter(f *os.File, in *portion) bool {
	if p.block+1 >= len(in.blocks) {
		return false
	}
	at := in.blocks[p.block+1]
	var head [blockHead]byte
	if _, err := f.ReadAt(head[:], at); err != nil {
		return false
	}
	p.block++
	p.at = at + blockHead
	p.end = p.at + int64(binary.LittleEndian.Uint32(head[:]))
	return true
}

// fill reads from the next entry on.
func (p *place) fill(f *os.File) bool {
	p.base = p.at
	if n := min(p.end-p.at, p.want); n > int64(cap(p.buf)) {
		p.buf = make([]byte, n)
	} else {
		p.buf = p.buf[:n]
	}
	p.want = min(2*p.want, placeMost)
	if _, err := f.ReadAt(p.buf, p.base); err != nil {
		p.buf = p.buf[:0]
	}
	return len(p.buf) > 0
}

// same reports whether an entry says that the target holds what a record of this
// origin becomes under the rules of now.
func same(e entry, origin pipeline.Sum, ruledAt int64) bool {
	k := known(e, ruledAt)
	return !k.Refused && !k.Doubt && k.Origin == origin && origin != (pipeline.Sum{})
}
