// Package milvus reads the vector lane from the collections of Open WebUI's two
// Milvus clients. A unit is a logical collection, under Open WebUI's own name.
// Records come in the order of their ids, page by page behind the last id read,
// with consistency Strong: what was acknowledged before is seen.
//
// Milvus can only read a collection that it has loaded into memory. One that is
// not is loaded, as Open WebUI does before it reads, and stays so. Nothing else
// is changed.
package milvus

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"outgrow/mappings/env"
	layout "outgrow/mappings/milvus"
	"outgrow/pipeline"
)

// Config says what to read.
type Config struct {
	Store  env.MilvusConfig
	Log    *slog.Logger    // may be nil
	Limits pipeline.Limits // of a batch; 1000 records or 8 MiB by default
	// Readers is how many pages are asked for at the same time; 0 means 4.
	Readers int
	// IDs lists ids of Open WebUI's relational database, to recover names in
	// which _ may stand for -; nil where it is not to be had.
	IDs layout.IDs
}

// Source is the reader. It is safe for concurrent use.
type Source struct {
	cfg   Config
	store *layout.Store
	slots chan struct{}

	mu     sync.Mutex
	ready  map[string]*layout.Collection // loaded, by physical name
	closed bool
}

var (
	_ pipeline.Source[*pipeline.Vector] = (*Source)(nil)
	_ pipeline.Getter[*pipeline.Vector] = (*Source)(nil)
	_ pipeline.Counter                  = (*Source)(nil)
	_ pipeline.KeyLister                = (*Source)(nil)
	_ pipeline.Splitter                 = (*Source)(nil)
	_ pipeline.Searcher                 = (*Source)(nil)
	_ pipeline.Checker                  = (*Source)(nil)
	_ pipeline.Identifier               = (*Source)(nil)
)

// Open connects.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	if cfg.Readers <= 0 {
		cfg.Readers = 4
	}
	cfg.Limits = cfg.Limits.WithDefaults(1000, 8<<20)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	store, err := layout.Dial(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, store: store, slots: make(chan struct{}, cfg.Readers), ready: map[string]*layout.Collection{}}, nil
}

// Layout is the server's.
func (s *Source) Layout() layout.Layout { return s.store.Layout }

// Close ends the connection.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.store.Close()
}

// slot waits until a page may be asked for.
func (s *Source) slot(ctx context.Context) (func(), error) {
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// collection is the unit's collection, loaded; nil when there is none.
func (s *Source) collection(ctx context.Context, u pipeline.Unit) (*layout.Collection, error) {
	return s.load(ctx, layout.Physical(s.cfg.Store, u.Name))
}

func (s *Source) load(ctx context.Context, name string) (*layout.Collection, error) {
	s.mu.Lock()
	c := s.ready[name]
	s.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := s.store.Look(ctx, name)
	if err != nil || c == nil {
		return nil, err
	}
	if c.Shared() != s.cfg.Store.Multitenancy || !c.Ours() {
		return nil, nil
	}
	if err := s.store.Load(ctx, name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.ready[name] = c
	s.mu.Unlock()
	return c, nil
}

// Units lists the collections by name.
func (s *Source) Units(ctx context.Context) ([]pipeline.Unit, error) {
	own, _, err := s.store.Own(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.store.LoadAll(ctx, own); err != nil {
		return nil, err
	}
	var units []pipeline.Unit
	if s.cfg.Store.Multitenancy {
		units, err = s.sharedUnits(ctx, own)
	} else {
		units, err = s.plainUnits(ctx, own)
	}
	slices.SortFunc(units, func(a, b pipeline.Unit) int { return strings.Compare(a.Name, b.Name) })
	return units, err
}

func (s *Source) plainUnits(ctx context.Context, own []*layout.Collection) ([]pipeline.Unit, error) {
	names, _, err := s.recover(ctx, own)
	if err != nil {
		return nil, err
	}
	var units []pipeline.Unit
	for _, c := range own {
		if !c.Ours() {
			continue
		}
		u := pipeline.Unit{Lane: pipeline.Vectors, Name: names[stripped(c)], Dim: c.Dim}
		if u.Records, err = s.store.Count(ctx, c.Name, ""); err != nil {
			return nil, err
		}
		if err := s.weigh(ctx, c, &u); err != nil {
			return nil, err
		}
		units = append(units, u)
	}
	return units, nil
}

func stripped(c *layout.Collection) string { return strings.TrimPrefix(c.Name, layout.Prefix+"_") }

func (s *Source) recover(ctx context.Context, own []*layout.Collection) (map[string]string, []string, error) {
	var list []string
	for _, c := range own {
		if c.Ours() {
			list = append(list, stripped(c))
		}
	}
	names, unsure, err := layout.Recover(ctx, list, s.cfg.IDs)
	if err != nil {
		return nil, nil, fmt.Errorf("recovering the names of the collections: %w", err)
	}
	return names, unsure, nil
}

// sharedUnits counts the records of each logical collection.
func (s *Source) sharedUnits(ctx context.Context, own []*layout.Collection) ([]pipeline.Unit, error) {
	var units []pipeline.Unit
	for _, c := range own {
		if !c.Shared() || !c.Ours() {
			continue
		}
		counts, err := s.tenants(ctx, c)
		if err != nil {
			return nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			u := pipeline.Unit{Lane: pipeline.Vectors, Name: name, Records: counts[name], Dim: c.Dim}
			if layout.Physical(s.cfg.Store, name) != c.Name {
				continue // Open WebUI does not look for it here: see Check
			}
			if err := s.weigh(ctx, c, &u); err != nil {
				return nil, err
			}
			units = append(units, u)
		}
	}
	return units, nil
}

// tenants counts the distinct ids of each logical collection in a shared one.
func (s *Source) tenants(ctx context.Context, c *layout.Collection) (map[string]int64, error) {
	counts := map[string]int64{}
	for p, err := range s.store.Pages(ctx, c.Name, "", []string{layout.FieldID, layout.FieldResource}, layout.Bounds{}, layout.MaxPage) {
		if err != nil {
			return nil, err
		}
		for i := range p.Len() {
			counts[strings.Clone(p.Resource(i))]++
		}
	}
	return counts, nil
}

// sampled is how many records are weighed for the estimate of a unit's bytes.
const sampled = 32

func (s *Source) weigh(ctx context.Context, c *layout.Collection, u *pipeline.Unit) error {
	if u.Records == 0 {
		return nil
	}
	p, err := s.store.Query(ctx, c.Name, layout.Bounds{}.Expr(layout.Filter(s.cfg.Store, u.Name)), layout.Columns(c), sampled, 0)
	if err != nil {
		return err
	}
	total := int64(0)
	for i := range p.Len() {
		v, err := p.Record(i)
		if err != nil {
			continue
		}
		total += int64(v.Size())
	}
	if n := int64(p.Len()); n > 0 {
		u.Bytes = total * u.Records / n
	}
	return nil
}

// Count counts the ids of a collection, one by one: an id that Open WebUI has
// inserted twice is one record.
func (s *Source) Count(ctx context.Context, u pipeline.Unit) (int64, error) {
	n := int64(0)
	for _, err := range s.Keys(ctx, u) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// Keys lists a collection's ids in their order.
func (s *Source) Keys(ctx context.Context, u pipeline.Unit) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		c, err := s.collection(ctx, u)
		if err != nil {
			yield("", err)
			return
		}
		if c == nil {
			return
		}
		for p, err := range s.store.Pages(ctx, c.Name, layout.Filter(s.cfg.Store, u.Name), []string{layout.FieldID}, layout.Bounds{}, layout.MaxPage) {
			if err != nil {
				yield("", err)
				return
			}
			for i := range p.Len() {
				if !yield(p.ID(i), nil) {
					return
				}
			}
		}
	}
}

// getPage is how many records are fetched by id at once: with the longest ones
// about 35 MB.
const getPage = 250

// Get fetches records by id.
func (s *Source) Get(ctx context.Context, u pipeline.Unit, keys []string) (map[string]*pipeline.Vector, error) {
	out := make(map[string]*pipeline.Vector, len(keys))
	if len(keys) == 0 {
		return out, nil
	}
	c, err := s.collection(ctx, u)
	if err != nil || c == nil {
		return out, err
	}
	now, err := s.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	for ids := range slices.Chunk(keys, getPage) {
		expr, ok := layout.Among(ids)
		if !ok {
			continue
		}
		p, err := s.store.Query(ctx, c.Name, layout.And(expr, layout.Filter(s.cfg.Store, u.Name)), layout.Columns(c), 0, now)
		if err != nil {
			return nil, err
		}
		for i := range p.Len() {
			v, err := p.Record(i)
			if err != nil {
				return nil, &pipeline.Error{Op: "reading", Unit: u.ID(), Key: v.ID, Err: err}
			}
			out[v.ID] = v
		}
	}
	return out, nil
}
