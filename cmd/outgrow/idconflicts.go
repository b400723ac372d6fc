package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"outgrow/mappings/vectors"
	"outgrow/pipeline"
	"outgrow/source/chroma"
)

// What --id-conflicts may say.
const (
	failOnIDs = "fail"
	mapIDs    = "uuid5"
)

// idCollision is the reason of the finding.
const idCollision pipeline.Reason = "id-collision"

// maxConflicts bounds the ids that are held in memory to be mapped.
const maxConflicts = 200_000

// shownCollisions bounds how many equal ids are listed; one is enough to stop.
const shownCollisions = 20

// idConflicts is what is known of ids that two collections hold and the target
// has one place for.
type idConflicts struct {
	mapped map[string]bool // collection and id, of those that get another one
	total  int64           // ids that more than one collection holds
	shown  []collision
}

// collision is an id and the collections of one id space that hold it.
type collision struct {
	id          string
	collections []string // sorted; the first one keeps the id
}

func conflictKey(collection, id string) string { return collection + pipeline.KeySeparator + id }

// transform gives a conflicting record another id. It stands before the
// store's own transform.
func (c *idConflicts) transform(u pipeline.Unit, v *pipeline.Vector) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
	if !c.mapped[conflictKey(u.Name, v.ID)] {
		return v, nil, nil
	}
	out := *v
	out.ID = vectors.MappedID(u.Name, v.ID)
	return &out, []pipeline.Change{{Unit: u.ID(), Key: v.ID, Column: "id", Reason: vectors.IDMapped, Before: pipeline.Digest(v.ID), After: pipeline.Digest(out.ID),
		Note: "another collection holds the id; it became " + out.ID}}, nil
}

// findConflicts looks for equal ids that the target cannot hold; nil when there
// can be none.
func (o *opener) findConflicts(from, to vectorStore, l *lane[*pipeline.Vector]) (*idConflicts, error) {
	source := func(name string) string {
		if from.repeats {
			return name
		}
		return from.space(o.from.Vector, name)
	}
	names := contested(l.units, source, func(name string) string { return to.space(o.to.Vector, name) })
	if len(names) == 0 {
		return nil, nil
	}
	c := &idConflicts{mapped: map[string]bool{}}
	add := func(id string, collections []string) error {
		bySpace := map[string][]string{}
		for _, name := range collections {
			space := to.space(o.to.Vector, name)
			bySpace[space] = append(bySpace[space], name)
		}
		for _, list := range bySpace {
			if len(list) < 2 {
				continue
			}
			slices.Sort(list)
			if c.total++; c.total <= shownCollisions {
				c.shown = append(c.shown, collision{id, list})
			}
			if o.idConflicts != mapIDs {
				continue
			}
			for _, name := range list[1:] {
				c.mapped[conflictKey(name, id)] = true
			}
			if len(c.mapped) > maxConflicts {
				return pipeline.Usage("looking for equal ids", fmt.Errorf("more than %d records have an id that another collection holds too", maxConflicts),
					"whole collections were copied: reindex them in Open WebUI, which gives new ids, then run the same command")
			}
		}
		return nil
	}
	var err error
	if src, ok := l.source.(*chroma.Source); ok {
		for found, cerr := range src.Collisions(o.ctx) {
			if err = cerr; err == nil {
				err = add(found.ID, found.Collections)
			}
			if err != nil {
				break
			}
		}
	} else {
		err = o.listedCollisions(l, names, add)
	}
	if err != nil {
		return nil, err
	}
	if c.total == 0 {
		return nil, nil
	}
	return c, nil
}

// contested lists the collections whose ids may meet on the target though they
// do not on the source.
func contested(units []pipeline.Unit, source, target func(string) string) []string {
	bySpace := map[string]map[string]bool{}
	for _, u := range units {
		t := target(u.Name)
		if bySpace[t] == nil {
			bySpace[t] = map[string]bool{}
		}
		bySpace[t][source(u.Name)] = true
	}
	var out []string
	for _, u := range units {
		if len(bySpace[target(u.Name)]) > 1 {
			out = append(out, u.Name)
		}
	}
	return out
}

// conflictFindings says what was found, and what becomes of it.
func (s *session) conflictFindings() []pipeline.Finding {
	c := s.conflicts
	if c == nil {
		return nil
	}
	if s.idConflicts == mapIDs {
		return []pipeline.Finding{{Severity: pipeline.Note, Reason: idCollision, Count: c.total,
			Text: fmt.Sprintf("%s held by several collections: the first by name keeps it, %s other ids by uuid5, each with a line in the ledger",
				plural(c.total, "id")+" are", records(len(c.mapped), "record gets", "records get"))}}
	}
	var out []pipeline.Finding
	for _, x := range c.shown {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: idCollision, Unit: string(pipeline.Vectors) + "/" + x.collections[0], Key: x.id,
			Text: fmt.Sprintf("the id is held by %d collections (%s), and the target has one place for it", len(x.collections), strings.Join(x.collections, ", ")),
			Fix:  "say --id-conflicts=uuid5 (the first collection keeps the id, records of the others get another one), or reindex one of them in Open WebUI"})
	}
	if c.total > int64(len(c.shown)) {
		out = append(out, pipeline.Finding{Severity: pipeline.Refuse, Reason: idCollision, Count: c.total, Text: fmt.Sprintf("%s in all are held by several collections", plural(c.total, "id"))})
	}
	return out
}

func records(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(int64(n)) + " " + many
}

var errNoKeys = errors.New("the source cannot list its ids")

// listedCollisions finds equal ids with a table on disk, so memory does not grow
// with the records.
func (o *opener) listedCollisions(l *lane[*pipeline.Vector], names []string, add func(string, []string) error) error {
	keys, ok := l.source.(pipeline.KeyLister)
	if !ok {
		return pipeline.Usage("looking for equal ids", errNoKeys, "")
	}
	t, err := newIDTable(o.ctx, o.private())
	if err != nil {
		return pipeline.Environment("looking for equal ids", err, "free disk space in the state folder, or name another one with --state")
	}
	defer t.close()
	byName := map[string]pipeline.Unit{}
	for _, u := range l.units {
		byName[u.Name] = u
	}
	for _, name := range names {
		if err := t.add(o.ctx, name, keys.Keys(o.ctx, byName[name])); err != nil {
			return fmt.Errorf("looking for equal ids: %w", err)
		}
	}
	return t.collisions(o.ctx, add)
}
