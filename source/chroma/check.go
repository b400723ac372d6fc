package chroma

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"

	"outgrow/mappings/fstype"
	"outgrow/pipeline"
)

// Reasons of the findings of Check that are no records' fault.
const (
	ReasonDimension     pipeline.Reason = "dimension"      // collection and index files disagree
	ReasonOtherDatabase pipeline.Reason = "other-database" // collections that are not of the chosen database
	ReasonDeleted       pipeline.Reason = "deleted-data"   // what chromadb leaves of deleted collections
	ReasonInfinite      pipeline.Reason = "infinite"       // metadata that JSON cannot spell
)

// Check opens every collection and says which have lost vectors, what cannot be
// read, and what lies in the store that is no unit.
func (s *Source) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	var out []pipeline.Finding
	if s.fs.Network() {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: fstype.Network,
			Text: "vector_db lies on a network file system (" + s.fs.String() + "): it can be read only while nobody writes, on any machine",
			Fix:  "keep Open WebUI stopped everywhere until the copy is verified"})
	}
	for _, u := range units {
		if u.Lane != pipeline.Vectors {
			continue
		}
		f, err := s.checkUnit(ctx, u)
		if err != nil {
			return nil, err
		}
		out = append(out, f...)
	}
	sn, done, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	if sn == nil {
		return out, nil
	}
	out = append(out, s.otherDatabases(sn)...)
	f, err := sn.leftovers(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for leftovers in the Chroma store: %w", err)
	}
	return append(out, f...), nil
}

func (s *Source) checkUnit(ctx context.Context, u pipeline.Unit) ([]pipeline.Finding, error) {
	_, x, done, err := s.open(ctx, u)
	if err != nil {
		return nil, err
	}
	defer done()
	var out []pipeline.Finding
	if err := x.mismatch(); err != nil {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: ReasonDimension, Unit: u.ID(), Text: err.Error(),
			Fix: "the folder may be put together from two stores: take vector_db from one backup"})
	}
	if x.damage != nil {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: pipeline.Unreadable, Unit: u.ID(),
			Text: fmt.Sprintf("the index files of the collection cannot be read: %v; only the vectors that the log still holds are left", x.damage),
			Fix:  "take the folder " + x.coll.vectorSeg + " from a backup if there is one"})
	}
	if x.lost > 0 {
		out = append(out, pipeline.Finding{Severity: pipeline.Accept, Reason: pipeline.NeedsEmbedding, Unit: u.ID(), Count: x.lost,
			Text: fmt.Sprintf("%d of %d records have lost their vector (documents and metadata are kept in the quarantine)", x.lost, x.alive()),
			Fix:  "embed them again: reindex the knowledge bases in Open WebUI after the move, or accept the loss"})
	}
	return out, nil
}

// otherDatabases reports the collections that are no units.
func (s *Source) otherDatabases(sn *snapshot) []pipeline.Finding {
	if s.cfg.AllDatabases {
		return nil
	}
	type place struct{ tenant, database string }
	names := map[place][]string{}
	records := map[place]int64{}
	var order []place
	for _, l := range sn.catalog.collections {
		p := place{l.tenant, l.database}
		if s.chosen(l) {
			continue
		}
		if names[p] == nil {
			order = append(order, p)
		}
		names[p] = append(names[p], l.name)
		records[p] += l.records
	}
	var out []pipeline.Finding
	for _, p := range order {
		list := names[p]
		if len(list) > 5 {
			list = append(slices.Clone(list[:5]), "…")
		}
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: ReasonOtherDatabase, Count: int64(len(names[p])),
			Text: fmt.Sprintf("%d collections with %d records are of tenant %s, database %s, and stay behind: %s",
				len(names[p]), records[p], p.tenant, p.database, strings.Join(list, ", ")),
			Fix: "set CHROMA_TENANT and CHROMA_DATABASE on the source side to move those instead"})
	}
	return out
}

// leftovers reports what belongs to no collection, and infinite numbers.
func (sn *snapshot) leftovers(ctx context.Context) ([]pipeline.Finding, error) {
	var out []pipeline.Finding
	used := map[string]bool{}
	for _, l := range sn.catalog.collections {
		used[l.vectorSeg] = true
	}
	entries, err := os.ReadDir(sn.store)
	if err != nil {
		return nil, err
	}
	folders := int64(0)
	for _, e := range entries {
		if st := sn.segmentState(e.Name()); e.IsDir() && !used[e.Name()] && (st[1].size >= 0 || st[2].size >= 0) {
			folders++
		}
	}
	if folders > 0 {
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: ReasonDeleted, Count: folders,
			Text: fmt.Sprintf("the source still holds data of deleted collections: %d folders with vectors; they are not moved", folders)})
	}
	row, _, err := one(ctx, sn.db, "SELECT count(*) FROM embeddings WHERE segment_id NOT IN (SELECT id FROM segments)")
	if err != nil {
		return nil, err
	}
	if n := num(row[0]); n > 0 {
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: ReasonDeleted, Count: n,
			Text: fmt.Sprintf("the source still holds data of deleted collections: %d records in its database; they are not moved", n)})
	}
	row, _, err = one(ctx, sn.db, "SELECT count(*) FROM embedding_metadata WHERE abs(float_value) > 1.7976931348623157e308")
	if err != nil {
		return nil, err
	}
	if n := num(row[0]); n > 0 {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: ReasonInfinite, Count: n,
			Text: fmt.Sprintf("%d metadata values are infinite, which JSON cannot spell: they are moved as the number 1e999", n)})
	}
	return out, nil
}

// Collision is an id that several collections hold, which a target with one
// key for all of them cannot.
type Collision struct {
	ID          string
	Collections []string // Unit.Name, sorted
}

// Collisions finds the ids that more than one of the units holds. The database
// sorts, on disk where it must; memory does not grow with the records.
func (s *Source) Collisions(ctx context.Context) iter.Seq2[Collision, error] {
	return func(yield func(Collision, error) bool) {
		sn, done, err := s.acquire()
		if err != nil {
			yield(Collision{}, err)
			return
		}
		defer done()
		if sn == nil {
			return
		}
		err = s.collisions(ctx, sn, func(c Collision) error {
			if !yield(c, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Collision{}, fmt.Errorf("looking for equal ids in the Chroma store: %w", err))
		}
	}
}

func (s *Source) collisions(ctx context.Context, sn *snapshot, fn func(Collision) error) error {
	bySegment := map[string]string{}
	byID := map[string][]string{} // of the ids that only the queue has
	for name, l := range s.names(sn) {
		bySegment[l.metaSeg] = name
		err := sn.queueOnly(ctx, l, func(id string) { byID[id] = append(byID[id], name) })
		if err != nil {
			return err
		}
	}
	var stop error
	// Segments of other databases are dropped here rather than in SQL, so that
	// the same rows are looked at whatever the configuration.
	err := each(ctx, sn.db, func(r []driver.Value) error {
		c := Collision{ID: str(r[0])}
		for seg := range strings.SplitSeq(str(r[1]), ",") {
			if name, ok := bySegment[seg]; ok {
				c.Collections = append(c.Collections, name)
			}
		}
		c.Collections = append(c.Collections, byID[c.ID]...)
		delete(byID, c.ID)
		if len(c.Collections) < 2 {
			return nil
		}
		slices.Sort(c.Collections)
		stop = fn(c)
		return stop
	}, "SELECT embedding_id, group_concat(segment_id) FROM embeddings GROUP BY embedding_id HAVING count(*) > 1")
	if err != nil || stop != nil {
		return errors.Join(err, stop)
	}
	for id, names := range byID {
		c := Collision{ID: id, Collections: names}
		for seg, name := range bySegment {
			_, found, err := one(ctx, sn.db, "SELECT 1 FROM embeddings WHERE segment_id = ? AND embedding_id = ?", seg, id)
			if err != nil {
				return err
			}
			if found {
				c.Collections = append(c.Collections, name)
			}
		}
		if len(c.Collections) < 2 {
			continue
		}
		slices.Sort(c.Collections)
		if err := fn(c); err != nil {
			return err
		}
	}
	return nil
}
