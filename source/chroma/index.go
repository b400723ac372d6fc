package chroma

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"outgrow/pipeline"
)

// errMoved says that a segment was persisted after the database was copied.
var errMoved = errors.New("the store's index files were written since its database was copied")

// Operations of the queue.
const (
	opAdd    = 0
	opUpdate = 1
	opUpsert = 2
	opDelete = 3
)

// record is a row of embeddings and where its vector is.
type record struct {
	row int64
	at  place
}

// change is a row of the queue that embeddings does not hold yet.
type change struct {
	seq int64
	op  int64
}

// pending is a record that exists in the queue only.
type pending struct {
	seq int64 // of its first change; its place in the order
	id  string
	at  place
}

// index is what has to be known of a collection to read it.
type index struct {
	coll    *collection
	dir     string   // of the segment
	seg     *segment // nil when no vector was ever persisted or the files are damaged
	state   segmentState
	records []record // by row
	// changes are those of the queue that are not applied, by id; nearly
	// always none.
	changes map[string][]change
	pending []pending // by seq
	removed int64     // rows of embeddings that the queue deletes
	lost    int64     // records without a vector
	damage  error     // why the HNSW files could not be used
	dim     int       // 0 when nothing says
}

// alive counts the records that there are.
func (x *index) alive() int64 {
	return int64(len(x.records)) - x.removed + int64(len(x.pending))
}

// buildIndex follows the store's own rules for finding the vector of a record.
func (sn *snapshot) buildIndex(ctx context.Context, l *collection) (x *index, err error) {
	x = &index{coll: l, dir: filepath.Join(sn.store, l.vectorSeg), dim: l.dim}
	defer func() {
		if err != nil {
			x.close()
		}
	}()
	if x.state, err = stateOfSegment(x.dir); err != nil {
		return nil, pipeline.Environment("reading the Chroma store", err, "make the folder readable")
	}
	if err := x.unmoved(sn); err != nil {
		return nil, err
	}
	table, synced, err := x.base(l)
	if err != nil {
		return nil, err
	}
	if err := x.overlay(ctx, sn, table, synced); err != nil {
		return nil, fmt.Errorf("reading the queue: %w", err)
	}
	known := map[string]bool{} // of those with changes
	x.records = make([]record, 0, l.records)
	err = each(ctx, sn.db, func(r []driver.Value) error {
		id := str(r[1])
		at, ok := table.get(id)
		if !ok || at == goneHere {
			at = noPlace
		}
		if len(x.changes) > 0 && len(x.changes[id]) > 0 {
			known[id] = true
			if !survives(true, x.changes[id]) {
				x.removed++
				at = goneHere
			}
		}
		if at == noPlace {
			x.lost++
		}
		x.records = append(x.records, record{num(r[0]), at})
		return nil
	}, "SELECT id, embedding_id FROM embeddings WHERE segment_id = ?", l.metaSeg)
	if err != nil {
		return nil, fmt.Errorf("listing embeddings: %w", err)
	}
	slices.SortFunc(x.records, func(a, b record) int {
		if a.row < b.row {
			return -1
		}
		return 1
	})
	x.findPending(known, table)
	return x, x.unmoved(sn)
}

// base reads id -> label -> slot; synced is the seq_id from which the queue
// counts.
func (x *index) base(l *collection) (table *idTable, synced int64, err error) {
	if x.state[0].size < 0 { // no pickle: nothing was persisted
		return newIDTable(0), 0, nil
	}
	table, synced, err = x.persisted(l)
	if err == nil {
		return table, synced, nil
	}
	if !errors.Is(err, errPickle) && !errors.Is(err, errSegment) {
		return nil, 0, fmt.Errorf("reading the index files: %w", err)
	}
	// What the queue still has is all there is.
	x.damage = err
	x.close()
	return newIDTable(0), 0, nil
}

func (x *index) persisted(l *collection) (*idTable, int64, error) {
	seg, err := openSegment(x.dir, l.cosine)
	if err != nil {
		return nil, 0, err
	}
	x.seg = seg
	labels, err := seg.labels()
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(filepath.Join(x.dir, filePickle))
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	table := newIDTable(int(min(seg.used, x.state[0].size/8)))
	maxSeq, err := readPickle(f, x.state[0].size, func(id string, label uint64) error {
		at := noPlace
		if slot, ok := slotOf(labels, label); ok {
			at = place(slot)
		}
		table.put(id, at)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	if x.dim == 0 {
		x.dim = seg.dim
	}
	if l.hasSynced {
		maxSeq = l.synced
	}
	return table, maxSeq, nil
}

// overlay replays the queue after synced onto the table, and notes what is not
// applied to embeddings yet.
func (x *index) overlay(ctx context.Context, sn *snapshot, table *idTable, synced int64) error {
	runs := merged(x.coll.tail, 64)
	if x.coll.hasSynced && synced < min(x.coll.synced, x.coll.applied) {
		// Damage: older rows, which the catalog did not note, count as well.
		runs = append([]run{{0, min(x.coll.synced, x.coll.applied)}}, runs...)
	}
	for _, rn := range runs {
		err := each(ctx, sn.db, func(r []driver.Value) error {
			seq, op, id := num(r[0]), num(r[1]), str(r[2])
			if seq > synced {
				replay(table, seq, op, id, r[3] != nil)
			}
			if seq > x.coll.applied {
				if x.changes == nil {
					x.changes = map[string][]change{}
				}
				x.changes[id] = append(x.changes[id], change{seq, op})
			}
			return nil
		}, "SELECT seq_id, operation, id, length(vector) FROM embeddings_queue WHERE seq_id BETWEEN ? AND ? AND topic = ? ORDER BY seq_id",
			rn.lo, rn.hi, x.coll.topic)
		if err != nil {
			return err
		}
	}
	return nil
}

// replay applies one row of the queue to the places of the vectors.
func replay(table *idTable, seq, op int64, id string, vector bool) {
	at, ok := table.get(id)
	present := ok && at != goneHere
	switch {
	case op == opDelete:
		table.put(id, goneHere)
	case !vector:
	case op == opAdd && !present, op == opUpdate && present, op == opUpsert:
		table.put(id, inQueue(seq))
	}
}

// survives reports whether a record exists after the changes.
func survives(exists bool, changes []change) bool {
	for _, c := range changes {
		switch c.op {
		case opAdd, opUpsert:
			exists = true
		case opDelete:
			exists = false
		}
	}
	return exists
}

// findPending lists the records that only the queue knows.
func (x *index) findPending(known map[string]bool, table *idTable) {
	for id, changes := range x.changes {
		if known[id] || !survives(false, changes) {
			continue
		}
		at, ok := table.get(id)
		if !ok || at == goneHere {
			at = noPlace
			x.lost++
		}
		x.pending = append(x.pending, pending{changes[0].seq, id, at})
	}
	slices.SortFunc(x.pending, func(a, b pending) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
}

// unmoved checks that the segment's files are those that belong to the copy of
// the database.
func (x *index) unmoved(sn *snapshot) error {
	if x.coll.vectorSeg == "" {
		return nil
	}
	now, err := stateOfSegment(x.dir)
	if err != nil {
		return err
	}
	if now != x.state || now != sn.segmentState(x.coll.vectorSeg) {
		return pipeline.Transient(&pipeline.Error{
			Op: "reading collection", Unit: x.coll.name, Err: errMoved,
			Hint: "stop Open WebUI, or try again when nobody uploads files",
		})
	}
	return nil
}

// mismatch tells of a segment whose dimension is not the collection's.
func (x *index) mismatch() error {
	if x.seg == nil || x.seg.used == 0 || x.seg.dim == x.dim {
		return nil
	}
	return fmt.Errorf("the collection says %d dimensions, its index files have %d", x.dim, x.seg.dim)
}

func (x *index) close() {
	if x != nil && x.seg != nil {
		x.seg.Close()
		x.seg = nil
	}
}

// merged joins runs that lie close together; rows between them belong to other
// collections.
func merged(runs []run, gap int64) []run {
	var out []run
	for _, r := range runs {
		if n := len(out); n > 0 && r.lo-out[n-1].hi <= gap {
			out[n-1].hi = r.hi
		} else {
			out = append(out, r)
		}
	}
	return out
}
