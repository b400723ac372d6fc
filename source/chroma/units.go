package chroma

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"outgrow/pipeline"
)

// chosen reports whether the collection is of the database that is read.
func (s *Source) chosen(l *collection) bool {
	return l.tenant == s.cfg.Tenant && l.database == s.cfg.Database
}

// names gives every collection that is a unit its name: that of the collection.
// With AllDatabases, a name that the chosen database has too, or that several
// other ones have, is qualified with tenant and database.
func (s *Source) names(sn *snapshot) map[string]*collection {
	names := map[string]*collection{}
	if sn == nil {
		return names
	}
	times := map[string]int{}
	for _, l := range sn.catalog.collections {
		times[l.name]++
	}
	for _, l := range sn.catalog.collections {
		switch {
		case s.chosen(l):
			names[l.name] = l
		case !s.cfg.AllDatabases:
		case times[l.name] > 1:
			names[l.tenant+"/"+l.database+"/"+l.name] = l
		default:
			names[l.name] = l
		}
	}
	return names
}

func (s *Source) find(sn *snapshot, unit pipeline.Unit) *collection {
	return s.names(sn)[unit.Name]
}

// Units lists the collections in the order in which they were made. Records is
// exact but for what a killed server left in the queue only.
func (s *Source) Units(context.Context) ([]pipeline.Unit, error) {
	sn, done, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	if sn == nil {
		return nil, nil
	}
	byName := map[*collection]string{}
	total := int64(0)
	for name, l := range s.names(sn) {
		byName[l] = name
	}
	for _, l := range sn.catalog.collections {
		total += l.records
	}
	var units []pipeline.Unit
	for _, l := range sn.catalog.collections {
		name, ok := byName[l]
		if !ok {
			continue
		}
		units = append(units, pipeline.Unit{
			Lane: pipeline.Vectors, Name: name, Dim: l.dim,
			Records: l.records + l.unapplied,
			// Half of the database is the full text index.
			Bytes: l.records*int64(4*l.dim) + sn.catalog.pageBytes/2*l.records/max(1, total),
		})
	}
	return units, nil
}

// Count counts the records of a collection, those without a vector included; one
// that is not there has none.
func (s *Source) Count(ctx context.Context, unit pipeline.Unit) (int64, error) {
	_, x, done, err := s.open(ctx, unit)
	if errors.Is(err, errNoCollection) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer done()
	return x.alive(), nil
}

// Identity names the store by Config.Stable, or its oldest collection. The state is that of the
// database file and its journals now, and the last number of the queue.
func (s *Source) Identity(context.Context) (pipeline.Identity, error) {
	sn, done, err := s.acquire()
	if err != nil {
		return pipeline.Identity{}, err
	}
	defer done()
	id := pipeline.Identity{Stable: "chroma " + s.cfg.Tenant + "/" + s.cfg.Database, State: "none"}
	if s.cfg.Stable != "" {
		id.Stable += " of " + s.cfg.Stable
	}
	if sn == nil {
		return id, nil
	}
	if s.cfg.Stable == "" && len(sn.catalog.collections) > 0 {
		id.Stable += " " + sn.catalog.collections[0].id
	}
	now, err := stateOfDB(sn.store)
	if err != nil {
		return id, pipeline.Environment("reading the Chroma store", err, "")
	}
	id.State = fmt.Sprintf("queue %d, changes %d", sn.catalog.maxSeq, now[0].changes())
	for i, f := range now {
		if f.size >= 0 {
			id.State += fmt.Sprintf(", %s %d %d", []string{"file", "journal", "wal"}[i], f.size, f.mtime.UnixNano())
		}
	}
	return id, nil
}

// queueOnly reads the ids of a collection's records that only the queue has. It looks at the copy alone: the index files
// of a live store may have moved on.
func (sn *snapshot) queueOnly(ctx context.Context, l *collection, fn func(id string)) error {
	if l.unapplied == 0 {
		return nil
	}
	changes := map[string][]change{}
	err := each(ctx, sn.db, func(r []driver.Value) error {
		id := str(r[2])
		changes[id] = append(changes[id], change{num(r[0]), num(r[1])})
		return nil
	}, "SELECT seq_id, operation, id FROM embeddings_queue WHERE seq_id > ? AND topic = ? ORDER BY seq_id", l.applied, l.topic)
	if err != nil {
		return err
	}
	for id, c := range changes {
		if !survives(false, c) {
			continue
		}
		_, known, err := one(ctx, sn.db, "SELECT 1 FROM embeddings WHERE segment_id = ? AND embedding_id = ?", l.metaSeg, id)
		if err != nil {
			return err
		}
		if !known {
			fn(id)
		}
	}
	return nil
}

// ids reads the ids of a collection's records.
func (x *index) ids(ctx context.Context, sn *snapshot, fn func(id string) error) error {
	err := each(ctx, sn.db, func(r []driver.Value) error {
		id := str(r[0])
		if c := x.changes[id]; len(c) > 0 && !survives(true, c) {
			return nil
		}
		return fn(id)
	}, "SELECT embedding_id FROM embeddings WHERE segment_id = ?", x.coll.metaSeg)
	if err != nil {
		return err
	}
	for _, p := range x.pending {
		if err := fn(p.id); err != nil {
			return err
		}
	}
	return nil
}
