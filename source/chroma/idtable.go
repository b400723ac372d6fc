package chroma

import (
	"encoding/binary"
	"hash/maphash"
	"math"
)

// place says where the vector of a record is: a slot of data_level0.bin (>= 0),
// or a row of the queue (-seq_id), or nowhere.
type place int64

// noPlace marks a record without a vector, goneHere one that the queue deleted.
const (
	noPlace  place = math.MinInt64
	goneHere place = math.MinInt64 + 1
)

func inQueue(seq int64) place { return place(-seq) }

// queued gives the seq_id of a place in the queue.
func (p place) queued() (int64, bool) {
	return int64(-p), p < 0 && p > goneHere
}

const arenaChunk = 256 << 10

// idTable maps ids to places in about 25 bytes an id plus the id itself: the ids
// lie in an arena, an open table of 32 bit numbers finds them.
type idTable struct {
	seed   maphash.Seed
	table  []uint32 // number of the entry + 1, 0 is free; a power of two long
	refs   []uint64 // chunk << 32 | position
	places []place
	chunks [][]byte
}

// newIDTable makes a table for about n ids.
func newIDTable(n int) *idTable {
	size := 16
	for size*3 < n*4 {
		size *= 2
	}
	return &idTable{
		seed: maphash.MakeSeed(), table: make([]uint32, size),
		refs: make([]uint64, 0, n), places: make([]place, 0, n),
	}
}

// id gives the bytes of entry i.
func (t *idTable) id(i int) []byte {
	c := t.chunks[t.refs[i]>>32][uint32(t.refs[i]):]
	n, w := binary.Uvarint(c)
	return c[w : w+int(n)]
}

// find gives the entry of an id and where in the table it is or would be.
func (t *idTable) find(id string) (entry int, at int) {
	mask := len(t.table) - 1
	at = int(maphash.String(t.seed, id)) & mask
	for t.table[at] != 0 {
		if e := int(t.table[at]) - 1; string(t.id(e)) == id {
			return e, at
		}
		at = (at + 1) & mask
	}
	return -1, at
}

// get gives the place of an id, ok false when the table does not hold it.
func (t *idTable) get(id string) (place, bool) {
	e, _ := t.find(id)
	if e < 0 {
		return noPlace, false
	}
	return t.places[e], true
}

// put sets the place of an id.
func (t *idTable) put(id string, p place) {
	e, at := t.find(id)
	if e >= 0 {
		t.places[e] = p
		return
	}
	if 4*(len(t.refs)+1) > 3*len(t.table) {
		t.grow()
		_, at = t.find(id)
	}
	t.refs = append(t.refs, t.store(id))
	t.places = append(t.places, p)
	t.table[at] = uint32(len(t.refs))
}

func (t *idTable) grow() {
	t.table = make([]uint32, 2*len(t.table))
	mask := len(t.table) - 1
	for e := range t.refs {
		at := int(maphash.Bytes(t.seed, t.id(e))) & mask
		for t.table[at] != 0 {
			at = (at + 1) & mask
		}
		t.table[at] = uint32(e + 1)
	}
}

// store puts an id into the arena. Ids do not cross chunks.
func (t *idTable) store(id string) uint64 {
	var head [binary.MaxVarintLen64]byte
	w := binary.PutUvarint(head[:], uint64(len(id)))
	last := len(t.chunks) - 1
	if last < 0 || cap(t.chunks[last])-len(t.chunks[last]) < w+len(id) {
		size := arenaChunk
		if last < 0 {
			size = min(arenaChunk, max(1024, cap(t.refs)*40))
		}
		t.chunks = append(t.chunks, make([]byte, 0, max(size, w+len(id))))
		last++
	}
	c := t.chunks[last]
	ref := uint64(last)<<32 | uint64(len(c))
	t.chunks[last] = append(append(c, head[:w]...), id...)
	return ref
}
